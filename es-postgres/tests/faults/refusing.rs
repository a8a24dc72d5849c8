//! A server that takes nothing more: it may only be read, or its disk is full.

use es_core::{
    AppendError, Batch, ContentType, EventStore, EventStoreExt, Name, Random, Read, StoreErrorKind,
};
use es_postgres::PostgresStore;
use es_testkit::{SeededRandom, fake, servers::PrivatePostgres};

use crate::{
    load::{assert_log, kind},
    private::{Watch, given, server},
};

fn batch(bytes: usize) -> Batch {
    let random = SeededRandom::new(7);
    let noise = (0..bytes / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect::<Vec<_>>();
    let bytes = ContentType::new(Name::new("application/octet-stream").expect("a name"));
    let event = fake::event("thing.kept").content_type(bytes).payload(noise).build();
    Batch::to(fake::stream("thing-1")).event(event).append_id(fake::append_id())
}

#[tokio::test]
async fn a_server_that_may_only_be_read_refuses_appends_and_goes_on_reading() {
    let Some(server) = server(&[]) else { return };
    let mut watch = Watch::over(&server).await;
    let store = PostgresStore::open(server.url()).await.expect("a store");
    store.append(batch(16)).await.expect("an append");
    watch.run("ALTER SYSTEM SET default_transaction_read_only = on").await;
    watch.run("SELECT pg_reload_conf()").await;
    let late = batch(16);
    // A session takes a moment to hear of it.
    let mut before = 1;
    let refused = loop {
        match store.append(late.clone()).await {
            Ok(appended) if !appended.repeated => before += 1,
            Ok(_) => {}
            refused => break refused,
        }
    };
    assert_eq!(kind(refused), StoreErrorKind::ReadOnly);
    let several = Batch::to(fake::stream("thing-2")).events(fake::events(3));
    assert_eq!(kind(store.append(several).await), StoreErrorKind::ReadOnly);
    assert_eq!(store.events(Read::all()).await.expect("a read").len(), before);
    let opened = PostgresStore::open(server.url()).await.expect("a store that may be read");
    assert_eq!(opened.events(Read::all()).await.expect("a read").len(), before);

    watch.run("SET default_transaction_read_only = off").await;
    watch.run("ALTER SYSTEM RESET default_transaction_read_only").await;
    watch.run("SELECT pg_reload_conf()").await;
    while let Err(error) = store.append(late.clone()).await {
        assert_eq!(kind(Err(error)), StoreErrorKind::ReadOnly);
    }
}

#[tokio::test]
async fn a_full_disk_keeps_what_was_acknowledged_and_takes_more_when_there_is_room() {
    let small = PrivatePostgres::start_on_small_disk(&[]);
    let Some(server) = given(small) else { return };
    let store = PostgresStore::open(server.url()).await.expect("a store");
    let mut acked = Vec::new();
    for _ in 0..5 {
        let batch = batch(16);
        acked.push((batch.clone(), store.append(batch).await.expect("an append")));
    }
    server.fill().expect("a full disk");
    let large = batch(1_000_000);
    assert_eq!(kind(store.append(large.clone()).await), StoreErrorKind::Full);
    assert_log(&store.events(Read::all()).await.expect("a read"), &acked);

    server.make_room().expect("room");
    acked.push((large.clone(), store.append(large).await.expect("an append")));
    assert_log(&store.events(Read::all()).await.expect("a read"), &acked);
}

/// Fills the file of the log but for what a few appends take; each of its pages
/// has a head.
const MOST_OF_THE_FILE: &str = "SELECT pg_logical_emit_message(false, '', repeat('x', \
     ((left_over - 4000) * 8168 / 8192)::int)) FROM (SELECT 16777216 \
     - (pg_current_wal_insert_lsn() - '0/0') % 16777216 AS left_over) AS file \
     WHERE left_over > 100000";

/// The server dies of it: what it says then is no answer to the append.
#[tokio::test]
async fn a_server_that_dies_of_a_full_disk_leaves_the_outcome_open() {
    let small =
        PrivatePostgres::start_on_small_disk(&[("autovacuum", "off"), ("wal_writer_delay", "10s")]);
    let Some(mut server) = given(small) else { return };
    let store = PostgresStore::open(server.url()).await.expect("a store");
    let mut watch = Watch::over(&server).await;
    // The tables have room for a few more.
    let first = batch(16);
    let mut acked = vec![(first.clone(), store.append(first).await.expect("an append"))];
    server.fill().expect("a full disk");
    let (last, failed) = loop {
        // Soon one begins a new file of the log, for which there is no room.
        watch.run(MOST_OF_THE_FILE).await;
        let batch = batch(16);
        match store.append(batch.clone()).await {
            Ok(appended) => acked.push((batch, appended)),
            failed => break (batch, failed),
        }
    };
    assert_eq!(kind(failed), StoreErrorKind::Unknown);

    server.make_room().expect("room");
    server.restart().expect("a server that starts again");
    let again = loop {
        match store.append(last.clone()).await {
            Ok(appended) => break appended,
            Err(AppendError::Store(error)) => assert!(error.is_transient(), "{error}"),
            Err(error) => panic!("{error}"),
        }
    };
    acked.push((last, again));
    assert_log(&store.events(Read::all()).await.expect("a read"), &acked);
}
