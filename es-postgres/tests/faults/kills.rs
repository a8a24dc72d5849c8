use std::time::Duration;

use es_core::{
    BuildChange, Builds, Changes, Checkpoint, Checkpoints, Name, Part, Slices, StoreErrorKind,
    Taking, Views,
};
use es_postgres::PostgresStore;
use es_testkit::servers::{PrivatePostgres, Proxy};
use futures_util::future::try_join_all;

use crate::{
    load::Load,
    private::{Watch, server},
    times,
};

/// Sessions of everybody but who asks.
pub(crate) const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_and_doubles_nothing() {
    let Some(mut server) = server(&[]) else { return };
    let store = PostgresStore::open(server.url()).await.expect("a store");
    let load = Load::on(&store, 12);
    for _ in 0..times("GESTA_SERVER_KILLS", 3) {
        load.goes_on(200).await;
        server.restart().expect("a server that starts again");
    }
    load.goes_on(200).await;
    load.ends_well().await;
    store.close().await;
}

/// However many connections stood idle while the server was away.
#[tokio::test]
async fn what_stood_idle_over_a_restart_fails_once_at_most() {
    let Some(mut server) = server(&[]) else { return };
    let store = PostgresStore::open(server.url()).await.expect("a store");
    let name = Name::new("projection").expect("a name");
    store
        .change(BuildChange::begin(name.clone(), 1).parts(Slices::split(8)))
        .await
        .expect("a build");
    let parts = Slices::split(8).into_iter().map(|slices| Part::new(name.clone(), 1, slices));
    let parts: Vec<_> = parts.collect();
    let part = parts[0].clone();
    let take = |part| store.take(part, &name, Duration::ZERO, Taking::IfFree);
    let mut restart = async || {
        let taken = try_join_all(parts.iter().map(take)).await.expect("eight connections");
        assert!(taken.iter().all(Option::is_some));
        server.restart().expect("a server that starts again");
    };

    restart().await;
    let (seen, next) = (Checkpoint::default(), Checkpoint::default().taken_over());
    let error = Checkpoints::save(&store, &name, seen, next).await.expect_err("a dead connection");
    assert_eq!(error.kind(), StoreErrorKind::Unknown);
    Checkpoints::save(&store, &name, seen, next).await.expect("a save");

    restart().await;
    let (mut tx, seen) = store.begin(&part).await.expect("a transaction");
    tx.run(sqlx::query("SELECT 1"));
    let committed = store.commit(&part, tx, Changes::default(), seen, seen).await;
    committed.expect("a commit, as nothing was begun before");

    restart().await;
    assert_eq!(take(&part).await.expect_err("a dead connection").kind(), StoreErrorKind::Unknown);
    assert!(take(&part).await.expect("an answer").is_some());

    restart().await;
    let discard = || store.change(BuildChange::discard(name.clone(), 2));
    assert_eq!(discard().await.expect_err("a dead connection").kind(), StoreErrorKind::Unknown);
    discard().await.expect("a change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_sessions_lose_and_double_nothing() {
    let Some(server) = server(&[]) else { return };
    let mut watch = Watch::over(&server).await;
    let store = PostgresStore::open(server.url()).await.expect("a store");
    let load = Load::on(&store, 12);
    for _ in 0..20 {
        load.goes_on(50).await;
        watch.run(TERMINATE).await;
    }
    load.goes_on(50).await;
    load.ends_well().await;
    store.close().await;
    watch.settled(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_goes_on_where_it_was_moved_to() {
    let Some(old) = server(&[]) else { return };
    let new = PrivatePostgres::start().expect("a second server");
    let address = |server: &PrivatePostgres| ([127, 0, 0, 1], server.port()).into();
    let proxy = Proxy::postgres(address(&old)).expect("a port");
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let store = PostgresStore::open(url).await.expect("a store");
    let load = Load::on(&store, 4);
    load.goes_on(50).await;
    let acked = load.ends_well().await;

    new.restore_from(&old.dump().expect("a dump")).expect("a copy");
    proxy.to(address(&new));
    proxy.cut();
    let before = acked.len();
    let load = Load::after(acked, &store, 4);
    load.goes_on(100).await;
    load.ends_well().await;
    let count = |server: &PrivatePostgres| server.psql("SELECT count(*) FROM gesta.appends");
    assert_eq!(count(&old).expect("a count").trim(), before.to_string());
    assert_ne!(count(&new).expect("a count").trim(), before.to_string());
}
