//! What holds for any sequence of commands, and for every load of an aggregate.

use std::sync::Arc;

use bytes::Bytes;
use es_core::{
    Aggregate, AggregateStoreExt, ContentType, EventStore, Loaded, Snapshot, SnapshotPolicy,
    Snapshots, Snapshotting, StreamId, Version, World, memory::MemorySnapshots, stream_of,
};

use super::scene::Log;
use crate::{
    SeededRandom, model,
    sample::{Account, AccountEvent},
};

/// Random commands have the same answers here and in a log so simple that it
/// can be believed.
pub async fn random_commands_agree_with_the_model(log: &Log) {
    model::agrees_with_the_model(log).await;
}

/// A load folds the stream; a commit at its version goes through.
pub async fn an_aggregate_is_the_fold_of_its_stream(log: &Log) {
    let (ada, mut due) = ("ada".to_owned(), Account::default());
    let random = SeededRandom::new(1);
    for round in 0..30 {
        let store = log.share();
        let loaded = store.load::<Account>(&ada).await.expect("a load");
        assert_eq!((&loaded.state, loaded.version), (&due, Version::new(round)));
        let event = deposit(&random);
        es_core::Evolve::evolve(&mut due, &event);
        store.commit::<Account>(&ada, loaded.version, &[event]).await.expect("a commit");
    }
}

fn deposit(random: &SeededRandom) -> AccountEvent {
    AccountEvent::Deposited { amount: random.below(1_000) as u64 }
}

async fn lives(log: &Log, id: &str, events: usize, seed: u64) -> StreamId {
    let random = SeededRandom::new(seed);
    let id = id.to_owned();
    let version = log.share().load::<Account>(&id).await.expect("a load").version;
    let events: Vec<_> = (0..events).map(|_| deposit(&random)).collect();
    log.share().commit::<Account>(&id, version, &events).await.expect("a commit");
    stream_of::<Account>(&id).expect("a stream")
}

/// What may be kept of an account at a version: whole, or harmed.
fn kept(loaded: &Loaded<Account>, harm: usize) -> Snapshot {
    let state = serde_json::to_vec(&loaded.state).expect("a state");
    let (version, print, json) = (loaded.version, Account::FINGERPRINT, ContentType::JSON);
    let mut whole = Snapshot::new(version, print, json.clone(), state.clone());
    match harm {
        0 => {}
        1 => whole.fingerprint = 1,
        2 => return Snapshot::new(version, 1, json, state),
        3 => whole.state = Bytes::from_static(br#"{"balance":1,"trail":1}"#),
        4 => whole.checksum = !whole.checksum,
        5 => return Snapshot::new(version.plus(1_000), print, json, state),
        6 => whole.version = version.plus(1),
        _ => return Snapshot::new(version, print, json, "no JSON"),
    }
    whole
}

async fn load_through(log: &Log, stream: &StreamId, snapshot: Snapshot) -> Loaded<Account> {
    let snapshots = Arc::new(MemorySnapshots::new());
    snapshots.save(stream, snapshot).await.expect("a place for a snapshot");
    let snapshotting = Snapshotting::new(snapshots, SnapshotPolicy::every(10), World::real());
    let store: Arc<dyn EventStore> = log.share();
    snapshotting.load::<Account, _>(&*store, stream).await.expect("a snapshot causes no failure")
}

/// A snapshot and the events after it are the whole stream: whether it is
/// fresh, stale, of another shape, damaged, or ahead of the log (D11 to D14).
pub async fn snapshot_and_tail_equal_a_full_replay(log: &Log) {
    let random = SeededRandom::new(14);
    for round in 0..24 {
        let id = format!("ada-{round}");
        lives(log, &id, 1 + random.below(30), round).await;
        let early = log.share().load::<Account>(&id).await.expect("a load");
        let stream = lives(log, &id, random.below(20) + 1, round + 100).await;
        let whole = log.share().load::<Account>(&id).await.expect("a load");
        for harm in 0..8 {
            let loaded = load_through(log, &stream, kept(&early, harm)).await;
            assert_eq!(loaded.state, whole.state, "round {round}, harm {harm}");
            assert_eq!(
                (loaded.version, loaded.position),
                (whole.version, whole.position),
                "round {round}, harm {harm}"
            );
        }
    }
}

/// A snapshot of the last event leaves nothing to replay.
pub async fn a_snapshot_of_the_last_event_is_the_stream(log: &Log) {
    let stream = lives(log, "ada", 12, 3).await;
    let whole = log.share().load::<Account>(&"ada".to_owned()).await.expect("a load");
    let loaded = load_through(log, &stream, kept(&whole, 0)).await;
    assert_eq!((loaded.state, loaded.version), (whole.state, whole.version));
}

/// A snapshot of a stream that is not there counts for nothing (D12).
pub async fn a_snapshot_of_a_stream_that_is_gone_is_not_used(log: &Log) {
    lives(log, "ada", 5, 3).await;
    let ada = log.share().load::<Account>(&"ada".to_owned()).await.expect("a load");
    let gone = stream_of::<Account>(&"gone".to_owned()).expect("a stream");
    let loaded = load_through(log, &gone, kept(&ada, 0)).await;
    assert_eq!((loaded.state, loaded.version), (Account::default(), Version::NONE));
}
