//! Callers that go away at any await point.

use std::{future::poll_fn, task::Poll, time::Duration};

use es_core::{
    AppendId, Batch, Build, BuildChange, Builds, Changes, Checkpoint, Checkpoints, ContentType,
    EventStore, EventStoreExt, Lookup, Name, Part, Position, Read, Row, RowId, Rows, Slices,
    Snapshot, Snapshots, Taking, Tenant, Timer, TimerId, Timers, Version, Views, World,
};
use es_sqlite::SqliteStore;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use tests::batch;

use crate::{Folder, count, fast, stream};

/// The most polls after which a future is dropped.
const POLLS: usize = 8;

/// Polls a future that often and drops it; whether it was ready before.
async fn dropped_after<F: Future>(polls: usize, future: F) -> bool {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let ready = poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready()));
        if ready.await {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test]
async fn a_dropped_append_is_in_the_log_wholly_or_not_at_all_and_a_retry_tells() {
    let folder = Folder::new();
    let store = folder.open().await;
    for round in 0..10 {
        for polls in 0..POLLS {
            let id = AppendId::derive(&format!("{round}/{polls}"));
            let three = || {
                let events = (0..3).map(|_| tests::event("bell.rung", "{}"));
                Batch::to(stream("a")).events(events).append_id(id)
            };
            let acknowledged = dropped_after(polls, store.append(three())).await;
            let again = store.append(three()).await.unwrap();
            assert!(again.repeated || !acknowledged, "an acknowledged append is gone");
            assert!(polls > 0 || !again.repeated, "nobody asked for it");
            let events = store.events(Read::append(id)).await.unwrap();
            assert_eq!(events.len(), 3, "round {round}, {polls} polls");
        }
    }
    assert_eq!(count(&store, "a").await, 10 * POLLS * 3);
}

type Call = Box<dyn Fn(&SqliteStore) -> BoxFuture<'static, ()>>;

macro_rules! calls {
    ($(|$store:ident| $call:expr;)+) => {
        vec![$({
            let call: Call = Box::new(|store| {
                let $store = store.clone();
                async move { drop($call.await) }.boxed()
            });
            (stringify!($call), call)
        }),+]
    };
}

fn name() -> Name {
    Name::from_static("model")
}

fn row() -> RowId {
    RowId::new(Tenant::default(), "key")
}

fn part() -> Part {
    Part::new(name(), 1, Slices::ALL)
}

fn found(rows: Rows) -> Lookup {
    Lookup::new(name(), rows)
}

const LEASE: Duration = Duration::from_secs(3_600);

fn snapshot() -> Snapshot {
    Snapshot::new(Version::new(1), 1, ContentType::JSON, "{}")
}

fn calls() -> Vec<(&'static str, Call)> {
    calls! {
        |store| store.append(batch(&stream("a"), "{}"));
        |store| store.events(Read::all());
        |store| store.events(Read::stream(&stream("a")).backwards().limit(1));
        |store| store.read(Read::all()).next();
        |store| store.follow(Read::all()).take(2).collect::<Vec<_>>();
        |store| store.follow(Read::all().after(Position::new(u64::MAX))).next();
        |store| store.head();
        |store| store.builds(&[name()]);
        |store| store.change(BuildChange::begin(name(), 1));
        |store| store.take(&part(), &name(), LEASE, Taking::Anyway);
        |store| store.renew(&name(), &[(part(), 1)], LEASE);
        |store| store.begin(&part());
        |store| store.rows(found(Rows::These(vec![row()])));
        |store| store.rows(found(Rows::These(vec![row(), RowId::new(Tenant::default(), "other")])));
        |store| store.rows(found(Rows::Of { tenant: Tenant::default(), after: None, limit: 5 }));
        |store| store.rows(found(Rows::Every { after: None, limit: 5 }));
        |store| store.change(BuildChange::discard(name(), 1));
        |store| Checkpoints::load(&store, &name());
        |store| Checkpoints::save(&store, &name(), Checkpoint::default(), Checkpoint::default().taken_over());
        |store| Snapshots::load(&store, &stream("a"));
        |store| Snapshots::save(&store, &stream("a"), snapshot());
        |store| store.take_due(&name(), World::real().now(), World::real().now(), 5);
        |store| store.next_due(&name());
    }
}

#[tokio::test]
async fn no_dropped_call_leaves_anything_half_done() {
    let folder = Folder::with_events(3).await;
    let store = fast(&folder.path()).readers(1).open().await.unwrap();
    for (call, make) in calls() {
        for polls in 0..POLLS {
            dropped_after(polls, make(&store)).await;
            let before = count(&store, "probe").await;
            let appended = tokio::time::timeout(
                Duration::from_secs(10),
                store.append(batch(&stream("probe"), "{}")),
            );
            let appended = appended.await.unwrap_or_else(|_| panic!("{call} hangs the writer"));
            appended.unwrap_or_else(|error| panic!("after {call}: {error}"));
            assert_eq!(count(&store, "probe").await, before + 1, "after {call}");
        }
    }
    store.close().await;
    assert!(folder.raw().is_autocommit());
    let locked = folder.raw().execute_batch("BEGIN EXCLUSIVE; ROLLBACK");
    assert!(locked.is_ok(), "a lock was left behind");
}

#[tokio::test]
async fn a_dropped_commit_of_a_model_is_done_wholly_or_not_at_all() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.change(BuildChange::begin(name(), 1)).await.unwrap();
    for polls in 0..POLLS {
        let (mut tx, seen) = store.begin(&part()).await.unwrap();
        let next = seen.at(Position::new(seen.position.get() + 1));
        tx.run(|connection| {
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS sums (sum INTEGER); INSERT INTO sums VALUES (1)",
            )
        });
        let row_of_it = Row { id: row(), value: Some(next.position.to_string().into()) };
        let changes = Changes::rows([row_of_it.clone()]).parked([row_of_it]);
        dropped_after(polls, store.commit(&part(), tx, changes, seen, next)).await;
        // It waits behind the commit, if there is one.
        store.append(batch(&stream("a"), "{}")).await.unwrap();
        let (_, now) = store.begin(&part()).await.unwrap();
        let done = now == next;
        assert!(done || now == seen);
        for lookup in [found(Rows::These(vec![row()])), found(Rows::These(vec![row()])).parked()] {
            let rows = store.rows(lookup).await.unwrap();
            let value = rows.first().and_then(|row| row.value.clone()).unwrap_or_default();
            assert_eq!(value == next.position.to_string().as_bytes(), done);
        }
        let sums = "SELECT count(*) FROM sums";
        let sum = folder.raw().query_row(sums, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
        assert_eq!(u64::try_from(sum), Ok(now.position.get()));
    }
}

/// A build's number, whether it answers, and its parts.
type Outline = (u64, bool, Vec<(Slices, Checkpoint, bool)>);

/// What the builds look like, but for the time that goes by.
fn outline(builds: &[Build]) -> Vec<Outline> {
    let part = |part: &es_core::PartState| (part.slices, part.checkpoint, part.is_free());
    let parts = |build: &Build| build.parts.iter().map(part).collect();
    builds.iter().map(|build| (build.number, build.serves, parts(build))).collect()
}

#[tokio::test]
async fn a_dropped_change_of_builds_is_made_wholly_or_not_at_all() {
    for polls in 0..POLLS {
        let folder = Folder::new();
        let store = folder.open().await;
        store.change(BuildChange::begin(name(), 1)).await.unwrap();
        store.change(BuildChange::begin(name(), 2).parts(Slices::split(4))).await.unwrap();
        let start = Checkpoint::default();
        let parts = Slices::split(4).into_iter().map(|slices| (slices, start)).collect::<Vec<_>>();
        let taken = start.taken_over();
        let into = vec![Slices::ALL];
        for change in [
            BuildChange::divide(name(), 2, parts, into),
            BuildChange::serve(name(), 2, vec![(Slices::ALL, taken)]),
            BuildChange::discard(name(), 1),
        ] {
            let before = store.builds(&[name()]).await.unwrap();
            let made = dropped_after(polls, store.change(change.clone())).await;
            // It waits behind the change, if there is one.
            store.append(batch(&stream("a"), "{}")).await.unwrap();
            let after = store.builds(&[name()]).await.unwrap();
            if outline(&after) == outline(&before) {
                assert!(!made, "an acknowledged change is gone: {change:?}");
                store.change(change).await.unwrap();
            }
        }
        let due = [(2, true, vec![(Slices::ALL, taken, true)])];
        assert_eq!(outline(&store.builds(&[name()]).await.unwrap()), due);
    }
}

#[tokio::test]
async fn a_dropped_opening_leaves_a_file_that_opens() {
    for polls in 0..POLLS {
        let folder = Folder::new();
        dropped_after(polls, fast(&folder.path()).open()).await;
        let store = folder.open().await;
        store.append(batch(&stream("a"), "{}")).await.unwrap();
    }
}

#[tokio::test]
async fn a_dropped_closing_still_closes() {
    for polls in 1..POLLS {
        let folder = Folder::new();
        let store = folder.open().await;
        store.append(batch(&stream("a"), "{}")).await.unwrap();
        dropped_after(polls, store.close()).await;
        store.close().await;
        assert!(store.append(batch(&stream("a"), "{}")).await.is_err());
        assert_eq!(count(&folder.open().await, "a").await, 1);
    }
}

#[tokio::test]
async fn a_dropped_timer_is_set_or_not() {
    let folder = Folder::new();
    let store = folder.open().await;
    for polls in 0..POLLS {
        let (tenant, owner) = (Tenant::default(), name());
        let id = TimerId { tenant, owner, name: Name::new(format!("timer-{polls}")).unwrap() };
        let timer = Timer { id, due: World::real().now(), payload: "{}".into() };
        dropped_after(polls, Timers::set(&store, timer)).await;
        store.append(batch(&stream("a"), "{}")).await.unwrap();
    }
    let now = World::real().now();
    let due = store.take_due(&name(), now, now, 100).await.unwrap();
    assert!(due.len() < POLLS);
}
