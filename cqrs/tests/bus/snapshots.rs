//! Loading through snapshots.

use std::sync::Arc;

use cqrs::{Commands, Settings};
use es_core::{
    Aggregate, AggregateStoreExt, ContentType, EventStore, Snapshot, SnapshotPolicy, Snapshots,
    Snapshotting, Version, World,
    memory::{MemorySnapshots, MemoryStore},
};
use es_sqlite::SqliteStore;
use futures_util::future::BoxFuture;

use crate::{
    bank::{Account, balance, deposit, is_rejected, rename, stream, withdraw},
    faulty::{Faulty, with},
};

/// Runs tasks at once, so that a snapshot is written when its load returns.
#[derive(Debug)]
struct AtOnce;

impl es_core::Spawn for AtOnce {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        futures_util::FutureExt::now_or_never(task).expect("it does not wait");
    }
}

fn snapshotting(snapshots: Arc<dyn Snapshots>) -> Snapshotting {
    let world = World::real().with_spawner(AtOnce);
    Snapshotting::new(snapshots, SnapshotPolicy::every(1), world)
}

fn bus(store: impl EventStore, snapshotting: &Snapshotting) -> Commands {
    with(store, Settings::new().snapshots(snapshotting.clone()))
}

#[tokio::test]
async fn a_snapshot_and_the_tail_equal_the_full_replay() {
    let store = Faulty::new(MemoryStore::new());
    let snapshotting = snapshotting(Arc::new(MemorySnapshots::new()));
    let commands = bus(store.clone(), &snapshotting);
    for amount in 1..=20 {
        commands.send(deposit("ada", amount)).await.unwrap();
        commands.send(rename("ada", &amount.to_string())).await.unwrap();
        let through: es_core::Loaded<Account> =
            snapshotting.load(&store.inner, &stream("ada")).await.unwrap();
        let full = store.inner.load::<Account>(&"ada".to_owned()).await.unwrap();
        assert_eq!(through.state, full.state);
        assert_eq!((through.version, through.position), (full.version, full.position));
    }
    let counts = snapshotting.counts();
    assert!(counts.used > 30 && counts.passed_over == 0 && counts.failed == 0, "{counts:?}");
}

#[tokio::test]
async fn a_decision_through_a_snapshot_is_made_on_the_true_state() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    let snapshots = Arc::new(store.clone());
    let kept = Snapshot::new(
        Version::new(1),
        Account::FINGERPRINT,
        ContentType::JSON,
        r#"{"balance":5,"name":null}"#,
    );
    Commands::new(store.clone()).send(deposit("ada", 5)).await.unwrap();
    Snapshots::save(&*snapshots, &stream("ada"), kept).await.unwrap();
    let policy = SnapshotPolicy::every(1_000);
    let snapshotting = Snapshotting::new(snapshots, policy, World::real());
    let commands = bus(store.clone(), &snapshotting);
    assert!(is_rejected(&commands.send(withdraw("ada", 6)).await));
    commands.send(withdraw("ada", 5)).await.unwrap();
    assert!(is_rejected(&commands.send(withdraw("ada", 1)).await));
    assert_eq!(snapshotting.counts().used, 3);
}

/// One that lies: only what the bus does with it can show that it was used.
fn lie(version: u64) -> Snapshot {
    let state = r#"{"balance":1000000,"name":null}"#;
    Snapshot::new(Version::new(version), Account::FINGERPRINT, ContentType::JSON, state)
}

async fn passes_over(snapshot: Snapshot) {
    let store = MemoryStore::new();
    Commands::new(store.clone()).send(deposit("ada", 5)).await.unwrap();
    let snapshots = Arc::new(MemorySnapshots::new());
    snapshots.save(&stream("ada"), snapshot).await.unwrap();
    let policy = SnapshotPolicy::every(1_000);
    let snapshotting = Snapshotting::new(snapshots, policy, World::real());
    let commands = bus(store.clone(), &snapshotting);
    assert!(is_rejected(&commands.send(withdraw("ada", 6)).await));
    let counts = snapshotting.counts();
    assert_eq!((counts.used, counts.passed_over), (0, 1));
    assert_eq!(balance(&store, "ada").await, 5);
}

/// The control: an intact snapshot is believed.
#[tokio::test]
async fn an_intact_snapshot_is_used() {
    let store = MemoryStore::new();
    Commands::new(store.clone()).send(deposit("ada", 5)).await.unwrap();
    let snapshots = Arc::new(MemorySnapshots::new());
    snapshots.save(&stream("ada"), lie(1)).await.unwrap();
    let commands = bus(store, &snapshotting(snapshots));
    commands.send(withdraw("ada", 6)).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_with_any_flipped_byte_is_passed_over_and_counted() {
    for at in 0..lie(1).state.len() {
        let mut snapshot = lie(1);
        let mut state = snapshot.state.to_vec();
        state[at] ^= 1;
        snapshot.state = state.into();
        passes_over(snapshot).await;
    }
    let mut truncated = lie(1);
    truncated.state = truncated.state.slice(..10);
    passes_over(truncated).await;
}

#[tokio::test]
async fn a_snapshot_of_another_version_or_shape_than_it_was_made_for_is_passed_over() {
    let mut moved = lie(1);
    moved.version = Version::new(2);
    passes_over(moved).await;
    let state = lie(1).state;
    let other = Account::FINGERPRINT ^ 1;
    passes_over(Snapshot::new(Version::new(1), other, ContentType::JSON, state)).await;
    let text = ContentType::new(es_core::Name::from_static("text/plain"));
    let state = lie(1).state;
    passes_over(Snapshot::new(Version::new(1), Account::FINGERPRINT, text, state)).await;
}

#[tokio::test]
async fn a_snapshot_ahead_of_the_log_is_passed_over() {
    passes_over(lie(2)).await;
    passes_over(lie(u64::MAX)).await;
}

#[tokio::test]
async fn a_broken_snapshot_is_replaced_by_a_sound_one() {
    let store = MemoryStore::new();
    let plain = Commands::new(store.clone());
    for _ in 0..3 {
        plain.send(deposit("ada", 5)).await.unwrap();
    }
    let snapshots = Arc::new(MemorySnapshots::new());
    let mut broken = lie(2);
    broken.checksum ^= 1;
    snapshots.save(&stream("ada"), broken).await.unwrap();
    let snapshotting = snapshotting(snapshots.clone());
    bus(store, &snapshotting).send(withdraw("ada", 15)).await.unwrap();
    let kept = snapshots.load(&stream("ada")).await.unwrap().unwrap();
    assert!(kept.is_intact() && kept.version == Version::new(3));
}
