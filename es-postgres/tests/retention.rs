//! What is removed leaves no row behind, and no lock.

use std::{sync::Arc, time::Duration};

use es_core::{
    Batch, Claim, ContentType, EventStore, EventStoreExt, Expected, Read, Retention, Snapshot,
    Snapshots, StreamId, Version,
};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{contract::Place, fake, servers::postgres_url};
use sqlx::{Connection, Executor, PgConnection, Row};

/// A store in a schema whose name asks for quotes, and a session beside it.
struct Scene {
    store: PostgresStore,
    schema: String,
    beside: PgConnection,
}

impl Scene {
    async fn open() -> Self {
        let place = Place::new(es_core::World::real());
        let schema = format!("it's \"odd\" $$ {}", place.name());
        // What is not found by an index does not come to an end in this time.
        let patience = Duration::from_secs(10);
        let options = PostgresOptions::new(postgres_url()).schema(&schema).patience(patience);
        let store = options.open().await.expect("a server with a database");
        let beside = PgConnection::connect(&postgres_url()).await.expect("a server");
        let schema = format!("\"{}\"", schema.replace('"', "\"\""));
        Self { store, schema, beside }
    }

    async fn count(&mut self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {}.{table}", self.schema);
        let row = sqlx::query(&sql).fetch_one(&mut self.beside).await;
        row.and_then(|row| row.try_get(0)).expect("a number")
    }

    async fn leave(mut self) {
        self.store.close().await;
        let drop = format!("DROP SCHEMA {} CASCADE", self.schema);
        self.beside.execute(drop.as_str()).await.expect("a schema that can be dropped");
    }
}

const CORRELATIONS: [&str; 6] =
    ["", "a", "caf\u{e9} \u{1f600}", "nul \0", "\\u0000 \"quoted\" \\", "\u{1}\n\t\u{7f}"];

async fn have(store: &PostgresStore, it: &StreamId) {
    for (at, correlation) in CORRELATIONS.iter().enumerate() {
        let told = fake::event("thing.told").tag("a", "1").tag("b", &at.to_string());
        let batch = Batch::to(it.clone()).event(told.correlated(correlation).build());
        store.append(batch.append_id(fake::append_id())).await.expect("an append");
    }
}

#[tokio::test]
async fn no_row_is_left_of_what_is_removed() {
    let mut scene = Scene::open().await;
    let (cut, deleted, entombed) =
        (fake::stream("thing-1"), fake::stream("thing-2"), fake::stream("thing-3"));
    for it in [&cut, &deleted, &entombed] {
        have(&scene.store, it).await;
        let claim = Claim::take("name", it.id(), it.clone()).expect("a claim");
        let last = Batch::to(it.clone()).events(fake::events(1)).claim(claim);
        scene.store.append(last).await.expect("an append");
        let snapshot = Snapshot::new(Version::new(2), 1, ContentType::JSON, "{}");
        scene.store.save(it, snapshot).await.expect("a snapshot");
    }
    assert!(scene.count("event_tags").await > 9 && scene.count("event_correlations").await > 9);
    scene.store.truncate(&cut, Version::new(u64::MAX)).await.expect("a truncation");
    scene.store.delete(&deleted, Expected::Any).await.expect("a deletion");
    scene.store.tombstone(&entombed, Expected::Any).await.expect("a tombstone");
    let mut left = Vec::new();
    for table in ["event_tags", "event_correlations", "events", "claims", "snapshots"] {
        left.push(scene.count(table).await);
    }
    assert_eq!(left, [0, 0, 4, 1, 1]);
    scene.leave().await;
}

#[tokio::test]
async fn a_long_stream_is_cut_by_its_index() {
    let mut scene = Scene::open().await;
    let it = fake::stream("thing-1");
    for _ in 0..20 {
        let told = || fake::event("thing.told").tag("a", "1").correlated("one and the same");
        let events = (0..500).map(|_| told().build());
        scene.store.append(Batch::to(it.clone()).events(events)).await.expect("an append");
    }
    let removed = scene.store.truncate(&it, Version::new(9_990)).await.expect("a truncation");
    assert_eq!((removed, scene.count("event_correlations").await), (9_989, 11));
    scene.leave().await;
}

/// One that waits for another session's lock gives way, and others are not
/// in its way.
#[tokio::test]
async fn a_truncation_waits_for_the_appends_under_way_to_its_stream_alone() {
    let scene = Scene::open().await;
    let store = Arc::new(scene.store.clone());
    let (it, other) = (fake::stream("thing-1"), fake::stream("thing-2"));
    for stream in [&it, &other] {
        let batch = Batch::to(stream.clone()).events(fake::events(3));
        store.append(batch).await.expect("an append");
    }
    let mut holding = PgConnection::connect(&postgres_url()).await.expect("a server");
    let mut tx = holding.begin().await.expect("a transaction");
    let append = Batch::to(it.clone()).events(fake::events(1));
    store.append_in(&mut tx, append).await.expect("an append");
    let mut waiting = Box::pin(store.truncate(&it, Version::new(3)));
    let waits = tokio::select! {
        biased;
        _ = &mut waiting => false,
        done = store.truncate(&other, Version::new(3)) => done.expect("a truncation") == 2,
    };
    assert!(waits, "it has to wait for the row of its stream");
    tx.commit().await.expect("a commit");
    assert_eq!(waiting.await.expect("a truncation"), 2);
    assert_eq!(
        store.append(Batch::to(it).events(fake::events(1))).await.expect("an append").version(),
        Version::new(5)
    );
    drop(store);
    scene.leave().await;
}

/// The number of the store, as its locks bear it.
fn number(schema: &str) -> i32 {
    let hash = schema.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i32::try_from(0x8000 | hash & 0x7fff).expect("sixteen bits")
}

/// It has drawn its position, and what was drawn later is not read before it.
#[tokio::test]
async fn nobody_reads_past_a_deletion_under_way() {
    let scene = Scene::open().await;
    let (it, other) = (fake::stream("thing-1"), fake::stream("thing-2"));
    let one = |stream: &StreamId| Batch::to(stream.clone()).events(fake::events(1));
    scene.store.append(one(&it)).await.expect("an append");
    let plain = scene.schema.trim_matches('"').replace("\"\"", "\"");
    let mut holding = PgConnection::connect(&postgres_url()).await.expect("a server");
    let mut tx = holding.begin().await.expect("a transaction");
    let end = format!(
        "SELECT {}.end_stream($1, 'default', now(), 7, 'thing-1', -1, 'gesta.deleted', \
         gen_random_uuid())",
        scene.schema
    );
    sqlx::query(&end).bind(number(&plain)).execute(&mut *tx).await.expect("a deletion");
    let later = scene.store.append(one(&other)).await.expect("an append").position;
    let seen = scene.store.events(Read::all()).await.expect("a read");
    assert!(seen.iter().all(|event| event.position < later), "{seen:?}");
    tx.commit().await.expect("a commit");
    let seen = scene.store.events(Read::all()).await.expect("a read");
    assert_eq!((seen[0].event_type.as_str(), seen[1].position), ("gesta.deleted", later));
    scene.leave().await;
}
