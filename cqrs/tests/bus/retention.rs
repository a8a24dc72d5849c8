//! Streams that end, and streams that begin late.

use std::sync::Arc;

use cqrs::{Commands, Event, Evolve, Fate, Keys, Projector, SendError, Settings, View};
use es_core::{
    AppendId, EventStore, Expected, Position, Recorded, Retention, SnapshotPolicy, Snapshotting,
    Version, World,
    memory::{MemorySnapshots, MemoryStore, MemoryViews},
};
use serde::{Deserialize, Serialize};

use crate::{
    bank::{
        Account, Answer, Open, balance, cached, deposit, history, is_rejected, rename, stream,
        withdraw,
    },
    faulty::Faulty,
    together::Transfer,
};

fn is_gone(answer: &Answer) -> bool {
    matches!(answer, Err(SendError::Gone { stream: gone }) if *gone == stream("ada"))
}

fn open(amount: i64) -> Open {
    Open { account: "ada".into(), amount }
}

async fn delete(store: &MemoryStore) {
    store.delete(&stream("ada"), Expected::Any).await.unwrap();
}

async fn tombstone(store: &MemoryStore) {
    store.tombstone(&stream("ada"), Expected::Any).await.unwrap();
}

#[tokio::test]
async fn what_a_node_remembers_of_a_deleted_aggregate_is_decided_anew() {
    let store = MemoryStore::new();
    let (one, other) = (cached(store.clone()), cached(store.clone()));
    for commands in [&one, &other] {
        commands.send(deposit("ada", 50)).await.unwrap();
    }
    delete(&store).await;
    assert!(is_rejected(&one.send(withdraw("ada", 1)).await));
    assert_eq!(one.send(deposit("ada", 3)).await.unwrap().version, Version::new(4));
    assert!(is_rejected(&other.send(withdraw("ada", 4)).await));
    other.send(withdraw("ada", 3)).await.unwrap();
    assert_eq!(balance(&store, "ada").await, 0);
}

#[tokio::test]
async fn a_conflict_with_a_deletion_needs_no_load() {
    let store = MemoryStore::new();
    let faulty = Faulty::new(store.clone());
    let commands = cached(faulty.clone());
    commands.send(deposit("ada", 50)).await.unwrap();
    let elsewhere = Commands::new(store.clone());
    elsewhere.send(deposit("ada", 50)).await.unwrap();
    elsewhere.send(deposit("ada", 50)).await.unwrap();
    delete(&store).await;
    let reads = faulty.reads();
    assert_eq!(commands.send(deposit("ada", 3)).await.unwrap().version, Version::new(5));
    assert_eq!(faulty.reads(), reads);
    assert_eq!(balance(&store, "ada").await, 3);
}

#[tokio::test]
async fn a_deleted_aggregate_can_be_created_again() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    commands.send(open(5)).await.unwrap();
    assert!(is_rejected(&commands.send(open(6)).await));
    delete(&store).await;
    assert_eq!(commands.send(open(7)).await.unwrap().version, Version::new(3));
    assert_eq!(balance(&store, "ada").await, 7);
}

#[tokio::test]
async fn a_value_of_a_deleted_aggregate_is_free() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    commands.send(rename("ada", "countess")).await.unwrap();
    assert!(commands.send(rename("bob", "countess")).await.is_err());
    delete(&store).await;
    commands.send(rename("bob", "countess")).await.unwrap();
}

#[tokio::test]
async fn a_command_to_a_tombstoned_aggregate_is_refused_at_once() {
    let store = MemoryStore::new();
    let faulty = Faulty::new(store.clone());
    for commands in [cached(faulty.clone()), Commands::new(faulty.clone())] {
        let _ = commands.send(deposit("ada", 5)).await;
        let _ = store.tombstone(&stream("ada"), Expected::Any).await;
        let appends = faulty.appends();
        let answer = commands.send(deposit("ada", 5)).await;
        assert!(is_gone(&answer), "{answer:?}");
        assert_eq!(faulty.appends(), appends + 1);
        assert_eq!(answer.unwrap_err().kind(), "gone");
        assert!(is_gone(&commands.send(open(5)).await));
    }
}

#[tokio::test]
async fn a_decision_with_a_tombstoned_aggregate_is_refused() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    commands.send(deposit("bob", 5)).await.unwrap();
    tombstone(&store).await;
    let transfer = Transfer { from: "bob".into(), to: "ada".into(), amount: 2 };
    let answer = commands.send_together(transfer).await;
    assert!(is_gone(&answer), "{answer:?}");
    assert_eq!(balance(&store, "bob").await, 5);
}

#[tokio::test]
async fn a_command_that_was_carried_out_before_a_deletion_has_its_first_result() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let id: AppendId = World::real().append_id();
    let first = commands.once(id).send(deposit("ada", 5)).await.unwrap();
    delete(&store).await;
    let again = commands.once(id).send(deposit("ada", 5)).await.unwrap();
    assert!(again.repeated);
    assert_eq!((again.version, again.position), (first.version, first.position));
    tombstone(&store).await;
    assert!(commands.once(id).send(deposit("ada", 5)).await.unwrap().repeated);
}

#[tokio::test]
async fn what_a_node_remembers_from_before_a_cut_is_loaded_anew() {
    let store = MemoryStore::new();
    let snapshots = Arc::new(MemorySnapshots::new());
    let snapshotting = Snapshotting::new(snapshots, SnapshotPolicy::every(1), World::real());
    let settings = Settings::<Account>::new().cache(10).snapshots(snapshotting.clone());
    let commands = Commands::builder(store.clone()).aggregate(settings).unwrap().build();
    commands.send(deposit("ada", 1)).await.unwrap();
    let elsewhere = Commands::new(store.clone());
    for _ in 0..5 {
        elsewhere.send(deposit("ada", 1)).await.unwrap();
    }
    snapshotting.load::<Account, _>(&store, &stream("ada")).await.unwrap();
    while snapshotting.counts().written == 0 {
        tokio::task::yield_now().await;
    }
    store.truncate(&stream("ada"), Version::new(6)).await.unwrap();
    // Rejected on the state that is remembered, which cannot be brought up.
    commands.send(withdraw("ada", 6)).await.unwrap();
    assert_eq!(history(&store, "ada").await.len(), 3);
}

/// The events of an account, and its end.
#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum Life {
    Deposited {
        amount: i64,
    },
    #[event(name = "gesta.deleted")]
    Deleted,
    #[event(name = "gesta.tombstoned")]
    Tombstoned,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Balance {
    amount: i64,
}

impl Evolve for Balance {
    type Event = Life;

    fn evolve(&mut self, event: &Life) {
        if let Life::Deposited { amount } = event {
            self.amount += amount;
        }
    }
}

impl View for Balance {
    const NAME: &'static str = "balances";
    type Key = String;

    fn keys(event: Recorded<'_, Life>) -> Keys<String> {
        Keys::from((event.stream.category() == "account").then(|| event.stream.id().to_owned()))
    }

    fn apply(&mut self, _: &String, event: Recorded<'_, Life>) -> Fate {
        self.evolve(event.event);
        match event.event {
            Life::Deposited { .. } => Fate::Keep,
            Life::Deleted | Life::Tombstoned => Fate::Delete,
        }
    }
}

#[tokio::test]
async fn a_view_that_names_the_markers_deletes_its_rows() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let projector = Projector::new(store.clone(), MemoryViews::new()).view::<Balance>();
    for account in ["ada", "bob", "cy"] {
        commands.send(deposit(account, 5)).await.unwrap();
    }
    projector.catch_up().await.unwrap();
    delete(&store).await;
    commands.send(deposit("ada", 2)).await.unwrap();
    store.tombstone(&stream("bob"), Expected::Any).await.unwrap();
    projector.catch_up().await.unwrap();
    let mut rows = Vec::new();
    for account in ["ada", "bob", "cy"] {
        let row = projector.get::<Balance>(&account.to_owned()).await.unwrap();
        rows.push(row.map(|row| row.amount));
    }
    assert_eq!(rows, [Some(2), None, Some(5)]);
    assert_eq!(projector.progress().borrow().position, Position::new(6));
    assert!(store.abilities().claims);
}
