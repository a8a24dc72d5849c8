//! Streams that are loaded at once, in one statement.

use es_core::{Batch, EventStore, EventStoreExt, Read, RecordedEvent, StoreError, StoreErrorKind};
use es_postgres::PostgresStore;
use es_testkit::fake;
use sqlx::PgConnection;

use crate::log::{Begun, Log, begin, numbers, on_a_log, run};

type Loaded = Result<Vec<RecordedEvent>, StoreError>;

/// How many events each stream has: none, a few, more than one statement brings.
const LENGTHS: [usize; 12] = [0, 1, 2, 3, 5, 8, 13, 255, 256, 257, 600, 1];

fn name(stream: usize) -> String {
    format!("loaded-{stream}")
}

async fn fill(log: &Log) {
    for (stream, length) in LENGTHS.into_iter().enumerate().filter(|(_, length)| *length > 0) {
        let batch = Batch::to(fake::stream(&name(stream))).events(fake::events(length));
        log.store.append(batch).await.expect("an append");
    }
}

/// Every stream, from its start and from its middle.
fn requests() -> Vec<Read> {
    let each = LENGTHS.into_iter().enumerate().flat_map(|(stream, length)| {
        let whole = Read::stream(&fake::stream(&name(stream)));
        let middle = whole.clone().after_version(es_core::Version::new(length as u64 / 2));
        [whole, middle]
    });
    each.collect()
}

fn begin_load(store: &PostgresStore, read: Read) -> Begun<Loaded> {
    let store = store.clone();
    begin(async move { store.events(read).await })
}

/// Nobody reads the log until this session ends its transaction.
async fn shut(log: &Log) -> PgConnection {
    let mut session = log.session().await;
    let lock = log.sql("BEGIN; LOCK TABLE {schema}.events IN ACCESS EXCLUSIVE MODE");
    run(&mut session, &lock).await;
    session
}

/// Begins a load that goes by itself, and others behind it that share a statement:
/// no more than two sessions ever wait.
async fn begin_all(log: &Log, reads: Vec<Read>) -> Vec<Begun<Loaded>> {
    let mut loads = vec![begin_load(&log.store, Read::stream(&fake::stream(&name(1))))];
    log.until_waiting(1).await;
    loads.extend(reads.into_iter().map(|read| begin_load(&log.store, read)));
    log.until_waiting(2).await;
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
         AND application_name = '{}'",
        log.sql("{schema}")
    );
    let mut session = log.session().await;
    for _ in 0..50 {
        assert_eq!(numbers(&mut session, &waiting).await, [2], "loads do not share a statement");
    }
    loads
}

#[tokio::test]
async fn who_loads_with_others_gets_all_of_his_own_stream() {
    on_a_log("loading", async |log| {
        fill(log).await;
        let mut expected = Vec::new();
        for read in requests() {
            expected.push(log.store.events(read).await.expect("a load alone"));
        }
        let mut door = shut(log).await;
        let loads = begin_all(log, requests()).await;
        run(&mut door, "COMMIT").await;
        let mut loads = loads.into_iter();
        assert_eq!(loads.next().expect("the first").end().await.expect("a load").len(), 1);
        for (load, expected) in loads.zip(expected) {
            assert!(load.end().await.expect("a load with others") == expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_damaged_event_hurts_only_who_loads_its_stream() {
    on_a_log("damaged", async |log| {
        fill(log).await;
        let damage = "UPDATE {schema}.events SET content_type = '' WHERE stream = 'loaded-5'";
        run(&mut log.session().await, &log.sql(damage)).await;
        let mut door = shut(log).await;
        let loads = begin_all(log, requests()).await;
        run(&mut door, "COMMIT").await;
        for (load, read) in loads.into_iter().skip(1).zip(requests()) {
            let is_damaged = read.scope == es_core::Scope::Stream(fake::stream(&name(5)));
            match load.end().await {
                Ok(_) => assert!(!is_damaged),
                Err(error) => assert!(is_damaged && error.kind() == StoreErrorKind::Corrupt),
            }
        }
    })
    .await;
}

/// More than is kept in memory for one statement: each loads by itself then.
#[tokio::test]
async fn large_streams_are_loaded_whole() {
    on_a_log("large", async |log| {
        for stream in 0..6 {
            for _ in 0..3 {
                let event = fake::event("thing.kept").payload(vec![b' '; 1 << 20]).build();
                let batch = Batch::to(fake::stream(&name(stream))).event(event);
                log.store.append(batch).await.expect("an append");
            }
        }
        let reads: Vec<_> = (0..6).map(|n| Read::stream(&fake::stream(&name(n)))).collect();
        let mut door = shut(log).await;
        let loads = begin_all(log, reads).await;
        run(&mut door, "COMMIT").await;
        for load in loads {
            assert_eq!(load.end().await.expect("a load").len(), 3);
        }
    })
    .await;
}

#[tokio::test]
async fn a_store_that_closes_lets_no_load_wait() {
    on_a_log("closed", async |log| {
        fill(log).await;
        let mut door = shut(log).await;
        let loads = begin_all(log, requests()).await;
        log.store.close().await;
        for load in loads.into_iter().skip(1) {
            let error = load.end().await.expect_err("a store that is closed");
            assert_eq!(error.kind(), StoreErrorKind::Closed);
        }
        run(&mut door, "COMMIT").await;
    })
    .await;
}
