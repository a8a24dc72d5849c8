//! Read models in a file: by whose clock a lease ends, and what is in the file
//! afterwards.

use std::{path::Path, time::Duration};

use chrono::TimeDelta;
use es_core::{
    Build, BuildChange, Builds, Changes, Checkpoint, Lookup, Name, Part, Position, Row, RowId,
    Rows, Slices, StoreErrorKind, Taking, Tenant, Views, World,
};
use es_sqlite::{SqliteOptions, SqliteStore};
use es_testkit::{TestClock, contract::PATIENCE};
use rusqlite::Connection;

const HOUR: Duration = Duration::from_secs(3_600);

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn part() -> Part {
    Part::new(name("m"), 1, Slices::ALL)
}

fn row(value: &str) -> Row {
    let value = Some(value.to_owned().into());
    Row { id: RowId::new(Tenant::default(), "k"), value }
}

async fn open(path: &Path, clock: &TestClock) -> SqliteStore {
    let world = World::real().with_clock(clock.clone());
    SqliteOptions::new(path).world(world).open().await.expect("a file that can be opened")
}

/// A store with one part.
async fn begun(path: &Path, clock: &TestClock) -> SqliteStore {
    let store = open(path, clock).await;
    store.change(BuildChange::begin(name("m"), 1)).await.expect("a build");
    store
}

async fn take(store: &SqliteStore, owner: &str) -> Option<Checkpoint> {
    store.take(&part(), &name(owner), HOUR, Taking::IfFree).await.expect("an answer")
}

async fn build(store: &SqliteStore) -> Build {
    store.builds(&[name("m")]).await.expect("builds").remove(0)
}

async fn leased(store: &SqliteStore) -> Duration {
    build(store).await.parts[0].leased
}

#[tokio::test]
async fn a_lease_ends_by_the_clock_of_the_store() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), TestClock::new());
    let store = begun(&folder.path().join("log.db"), &clock).await;
    let mine = take(&store, "one").await.expect("a free part");
    clock.advance(HOUR - Duration::from_micros(1));
    assert_eq!(leased(&store).await, Duration::from_micros(1));
    assert_eq!(take(&store, "two").await, None);
    clock.advance(Duration::from_micros(1));
    assert!(leased(&store).await.is_zero());
    assert_eq!(take(&store, "two").await, Some(mine.taken_over()));
    store.close().await;
}

#[tokio::test]
async fn a_commit_and_a_renewal_begin_the_lease_anew_by_the_clock_of_the_store() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), TestClock::new());
    let store = begun(&folder.path().join("log.db"), &clock).await;
    let mine = take(&store, "one").await.expect("a free part");
    clock.advance(HOUR / 2);
    let (tx, _) = store.begin(&part()).await.expect("a transaction");
    let next = mine.at(Position::new(1));
    store.commit(&part(), tx, Changes::default(), mine, next).await.expect("a commit");
    assert_eq!(leased(&store).await, HOUR);
    clock.advance(HOUR / 2);
    let held = store.renew(&name("one"), &[(part(), 1)], HOUR * 2).await.expect("an answer");
    assert_eq!((held.len(), leased(&store).await), (1, HOUR * 2));
    store.close().await;
}

/// A clock that is set back does not lengthen what is left beyond the lease, and
/// holds nothing that was handed over.
#[tokio::test]
async fn a_clock_that_goes_back_lengthens_no_lease() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), TestClock::new());
    let store = begun(&folder.path().join("log.db"), &clock).await;
    take(&store, "one").await.expect("a free part");
    clock.set(TestClock::START - TimeDelta::days(30));
    assert_eq!(leased(&store).await, HOUR);
    store.renew(&name("one"), &[(part(), 1)], Duration::ZERO).await.expect("an answer");
    clock.set(TestClock::START - TimeDelta::days(60));
    assert!(take(&store, "two").await.is_some());
    store.close().await;
}

#[tokio::test]
async fn builds_parts_and_leases_are_there_after_a_reopening() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), TestClock::new());
    let path = folder.path().join("log.db");
    let store = begun(&path, &clock).await;
    let next = BuildChange::begin(name("m"), 2).revision(u64::MAX).parts(Slices::split(3));
    store.change(next).await.expect("a build");
    take(&store, "one").await.expect("a free part");
    let before = store.builds(&[name("m")]).await.expect("builds");
    store.close().await;
    let store = open(&path, &clock).await;
    assert_eq!(store.builds(&[name("m")]).await.expect("builds"), before);
    assert_eq!(take(&store, "two").await, None);
    store.close().await;
}

/// Two processes are two stores of one file.
#[tokio::test]
async fn of_two_stores_of_one_file_one_has_a_part() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), TestClock::new());
    let path = folder.path().join("log.db");
    let stores = [begun(&path, &clock).await, open(&path, &clock).await];
    for round in 1..=20 {
        let (one, two) = tokio::join!(take(&stores[0], "one"), take(&stores[1], "two"));
        let (owner, mine) = match (one, two) {
            (Some(mine), None) => ("one", mine),
            (None, Some(mine)) => ("two", mine),
            both => panic!("{both:?}"),
        };
        assert_eq!(mine.epoch, round);
        for store in &stores {
            assert_eq!(build(store).await.parts[0].owner, Some(name(owner)));
        }
        let held = [(part(), mine.epoch)];
        stores[0].renew(&name(owner), &held, Duration::ZERO).await.expect("an answer");
    }
    for store in stores {
        store.close().await;
    }
}

/// What an owner that was robbed does in its transaction does not happen.
#[tokio::test]
async fn a_step_of_an_owner_that_was_robbed_does_not_run() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), TestClock::new());
    let path = folder.path().join("log.db");
    let store = begun(&path, &clock).await;
    let mine = take(&store, "one").await.expect("a free part");
    let (mut tx, _) = store.begin(&part()).await.expect("a transaction");
    tx.run(|connection| connection.execute_batch("CREATE TABLE mine (id INTEGER)"));
    store.take(&part(), &name("two"), HOUR, Taking::Anyway).await.expect("an answer");
    let changes = Changes::rows([row("1")]).parked([row("1")]);
    let late = store.commit(&part(), tx, changes, mine, mine.at(Position::new(1))).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(StoreErrorKind::Fenced));
    store.close().await;
    let beside = Connection::open(path).expect("a file");
    let count = |sql| beside.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a number");
    assert_eq!(count("SELECT count(*) FROM view_rows"), 0);
    assert_eq!(count("SELECT count(*) FROM sqlite_schema WHERE name = 'mine'"), 0);
}

#[tokio::test]
async fn a_file_whose_read_models_are_laid_out_otherwise_is_refused() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), TestClock::new());
    let path = folder.path().join("log.db");
    begun(&path, &clock).await.close().await;
    for sql in [
        "DROP TABLE view_rows; CREATE TABLE view_rows (view TEXT, tenant TEXT, key TEXT, value BLOB)",
        "DROP TABLE builds",
        "DROP INDEX builds_serving",
    ] {
        let altered = folder.path().join("altered.db");
        std::fs::copy(&path, &altered).expect("a copy");
        Connection::open(&altered).and_then(|file| file.execute_batch(sql)).expect("a change");
        let refusal = SqliteStore::open(&altered).await.expect_err("another layout");
        assert_eq!(refusal.kind(), StoreErrorKind::Schema, "{sql}: {refusal}");
    }
}

/// Lookups of the build that answers go on while it is replaced by processes that
/// share the file, and see one build each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lookup_beside_the_swaps_of_another_store_finds_one_build() {
    const KEYS: usize = 20;
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), TestClock::new());
    let path = folder.path().join("log.db");
    let (ours, theirs) = (open(&path, &clock).await, open(&path, &clock).await);
    let ids: Vec<_> = (0..KEYS).map(|n| RowId::new(Tenant::default(), n.to_string())).collect();
    let fill = |number: u64| {
        let (store, ids) = (theirs.clone(), ids.clone());
        async move {
            store.change(BuildChange::begin(name("m"), number)).await?;
            let value = Some(number.to_string().into());
            let rows = ids.into_iter().map(|id| Row { id, value: value.clone() });
            let part = Part::new(name("m"), number, Slices::ALL);
            let (tx, seen) = store.begin(&part).await?;
            store.commit(&part, tx, Changes::rows(rows), seen, seen).await?;
            let parts = vec![(Slices::ALL, seen)];
            store.change(BuildChange::serve(name("m"), number, parts)).await?;
            if number > 1 {
                store.change(BuildChange::discard(name("m"), number - 1)).await?;
            }
            Ok::<_, es_core::StoreError>(())
        }
    };
    fill(1).await.expect("a build");
    let swaps = async {
        for number in 2..=30 {
            fill(number).await.expect("a build");
        }
    };
    let looks = async {
        loop {
            let lookup = Lookup::new(name("m"), Rows::These(ids.clone()));
            let rows = ours.rows(lookup).await.expect("rows");
            assert_eq!(rows.len(), KEYS);
            assert!(rows.iter().all(|row| row.value == rows[0].value), "{rows:?}");
            if rows[0].value.as_deref() == Some(b"30") {
                break;
            }
        }
    };
    let both = async { tokio::join!(swaps, looks) };
    tokio::time::timeout(PATIENCE, both).await.expect("an end");
    ours.close().await;
    theirs.close().await;
}
