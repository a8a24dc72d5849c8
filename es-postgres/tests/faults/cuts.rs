use es_core::{
    AppendId, Batch, Claim, Criteria, EventStore, EventStoreExt, Position, Read, StoreErrorKind,
    Write,
};
use es_postgres::PostgresStore;
use es_testkit::{
    fake,
    servers::{PrivatePostgres, Proxy, containing},
};

use crate::{
    load::{Load, assert_log, kind},
    private::server,
    times,
};

fn proxied(server: &PrivatePostgres) -> (Proxy, String) {
    let proxy = Proxy::postgres(([127, 0, 0, 1], server.port()).into()).expect("a port");
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    (proxy, url)
}

/// One event, several streams, and what asks for more than that.
fn batch(n: usize, id: AppendId) -> Batch {
    let stream = fake::stream(&format!("cut-{}", n % 3));
    let batch = Batch::to(stream.clone()).events(fake::events(1));
    let batch = match n / 2 % 3 {
        0 => batch,
        1 => batch.write(Write::new(fake::stream("cut-other")).events(fake::events(2))),
        _ => batch
            .claim(Claim::take("cut", &n.to_string(), stream).expect("a claim"))
            .unless(Criteria::tag(fake::tag("cut", "never")), Position::START),
    };
    batch.append_id(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_answer_is_cut_off_is_found_again_by_its_id() {
    let Some(server) = server(&[]) else { return };
    let (proxy, url) = proxied(&server);
    let store = PostgresStore::open(url).await.expect("a store");
    let cuts = times("GESTA_CUTS", 50);
    let mut acked = Vec::new();
    for n in 0..cuts {
        let (id, is_done) = (fake::append_id(), n % 2 == 0);
        let batch = batch(n, id);
        let before = store.events(Read::all()).await.expect("a read").len();
        // What is prepared does not have it, only what is carried out.
        let carries_it = containing(id.uuid().as_bytes());
        if is_done {
            proxy.cut_after(1, carries_it)
        } else {
            proxy.cut_before(1, carries_it)
        };
        let cut = store.append(batch.clone()).await;
        assert_eq!(kind(cut), StoreErrorKind::Unknown);
        let again = store.append(batch.clone()).await.expect("the append again");
        assert_eq!(again.repeated, is_done, "cut {n}");
        let after = store.events(Read::all()).await.expect("a read");
        assert_eq!(after.len(), before + batch.len());
        acked.push((batch, again));
    }
    assert_eq!(proxy.cuts(), cuts as u64);
    assert_log(&store.events(Read::all()).await.expect("a read"), &acked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_is_cut_off_is_found_again_by_its_ids() {
    let Some(server) = server(&[]) else { return };
    let (proxy, url) = proxied(&server);
    let store = PostgresStore::open(url).await.expect("a store");
    let load = Load::on(&store, 12);
    for n in 0..times("GESTA_CUTS", 50) / 2 {
        load.goes_on(30).await;
        let cuts = proxy.cuts();
        let appends = containing("load.lifted");
        if n % 2 == 0 {
            proxy.cut_after(2, appends)
        } else {
            proxy.cut_before(2, appends)
        };
        while proxy.cuts() == cuts {
            load.goes_on(1).await;
        }
    }
    load.ends_well().await;
}
