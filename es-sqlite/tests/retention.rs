//! What is removed leaves no row behind.

use es_core::{
    Batch, Claim, ContentType, EventStore, Expected, Retention, Snapshot, Snapshots, Version,
};
use es_sqlite::SqliteStore;
use es_testkit::fake;
use rusqlite::Connection;

#[tokio::test]
async fn no_row_is_left_of_what_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.db");
    let store = SqliteStore::open(&path).await.expect("a file that can be opened");
    let [cut, deleted, entombed] = ["thing-1", "thing-2", "thing-3"].map(fake::stream);
    for it in [&cut, &deleted, &entombed] {
        for correlation in ["", "a", "caf\u{e9}", "nul \0"] {
            let told = fake::event("thing.told").tag("a", "1").tag("b", "2");
            let batch = Batch::to(it.clone()).event(told.correlated(correlation).build());
            store.append(batch.append_id(fake::append_id())).await.expect("an append");
        }
        let claim = Claim::take("name", it.id(), it.clone()).expect("a claim");
        let last = Batch::to(it.clone()).events(fake::events(1)).claim(claim);
        store.append(last).await.expect("an append");
        let snapshot = Snapshot::new(Version::new(2), 1, ContentType::JSON, "{}");
        store.save(it, snapshot).await.expect("a snapshot");
    }
    store.truncate(&cut, Version::new(u64::MAX)).await.expect("a truncation");
    store.delete(&deleted, Expected::Any).await.expect("a deletion");
    store.tombstone(&entombed, Expected::Any).await.expect("a tombstone");
    store.close().await;

    let beside = Connection::open(path).expect("a file");
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        beside.query_row(&sql, [], |row| row.get::<_, i64>(0)).expect("a number")
    };
    let tables =
        ["event_tags", "event_correlations", "events", "stream_runs", "claims", "snapshots"];
    assert_eq!(tables.map(count), [0, 0, 4, 4, 1, 1]);
}
