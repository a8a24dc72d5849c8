//! A command id: whoever sends it again gets the first result.

use cqrs::{Commands, Sent};
use es_core::{AppendId, EventStore, memory::MemoryStore};
use es_sqlite::SqliteStore;

use crate::{
    bank::{balance, cached, deposit, history, is_rejected, withdraw},
    decisions::{TakeSeat, seats_taken},
    faulty::{Faulty, enter},
    together::Transfer,
};

fn id(key: &str) -> AppendId {
    AppendId::derive(key)
}

fn repeated(first: Sent) -> Sent {
    Sent { repeated: true, ..first }
}

async fn a_repetition_gets_the_first_result(store: impl EventStore + Clone) {
    let commands = Commands::new(store.clone());
    let first = commands.once(id("a")).send(deposit("ada", 5)).await.unwrap();
    assert!(!first.repeated);
    commands.send(deposit("ada", 1)).await.unwrap();
    let again = commands.once(id("a")).send(deposit("ada", 5)).await.unwrap();
    assert_eq!(again, repeated(first));
    // Another process, or this one after a restart.
    let later = cached(store.clone()).once(id("a")).send(deposit("ada", 5)).await.unwrap();
    assert_eq!(later, repeated(first));
    assert_eq!(balance(&store, "ada").await, 6);
}

#[tokio::test]
async fn a_repetition_gets_the_first_result_in_memory() {
    a_repetition_gets_the_first_result(MemoryStore::new()).await;
}

#[tokio::test]
async fn a_repetition_gets_the_first_result_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    a_repetition_gets_the_first_result(store).await;
}

#[tokio::test]
async fn a_repetition_gets_the_first_result_from_a_file_that_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bank.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let commands = Commands::new(store.clone());
    let first = commands.once(id("a")).send(deposit("ada", 5)).await.unwrap();
    store.close().await;
    let store = SqliteStore::open(&path).await.unwrap();
    let again = Commands::new(store).once(id("a")).send(deposit("ada", 5)).await.unwrap();
    assert_eq!(again, repeated(first));
}

#[tokio::test]
async fn a_repetition_that_would_be_rejected_now_gets_the_first_result() {
    for commands in [Commands::new(MemoryStore::new()), cached(MemoryStore::new())] {
        commands.send(deposit("ada", 5)).await.unwrap();
        let first = commands.once(id("a")).send(withdraw("ada", 5)).await.unwrap();
        let again = commands.once(id("a")).send(withdraw("ada", 5)).await.unwrap();
        assert_eq!(again, repeated(first));
        assert!(is_rejected(&commands.once(id("b")).send(withdraw("ada", 5)).await));
    }
}

#[tokio::test]
async fn a_rejected_command_may_be_sent_again_and_succeed() {
    let commands = Commands::new(MemoryStore::new());
    assert!(is_rejected(&commands.once(id("a")).send(withdraw("ada", 5)).await));
    commands.send(deposit("ada", 5)).await.unwrap();
    assert!(!commands.once(id("a")).send(withdraw("ada", 5)).await.unwrap().repeated);
}

#[tokio::test]
async fn a_repetition_in_a_folded_group_does_not_disturb_the_others() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let first = commands.once(id("a")).send(deposit("ada", 5)).await.unwrap();
    let folded = store.folded(&commands, "ada", 1, async || {
        [
            enter(&commands, deposit("ada", 10)).await,
            enter(&commands.once(id("a")), deposit("ada", 5)).await,
            enter(&commands, deposit("ada", 20)).await,
        ]
    });
    let [before, again, after] = folded.await;
    assert!(!before.await.unwrap().repeated);
    assert_eq!(again.await.unwrap(), repeated(first));
    assert!(!after.await.unwrap().repeated);
    assert_eq!(balance(&store.inner, "ada").await, 36);
}

#[tokio::test]
async fn a_group_of_repetitions_only_gets_the_first_results() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let mut firsts = Vec::new();
    for key in ["a", "b"] {
        firsts.push(commands.once(id(key)).send(deposit("ada", 5)).await.unwrap());
    }
    let folded = store.folded(&commands, "ada", 1, async || {
        [
            enter(&commands.once(id("b")), deposit("ada", 5)).await,
            enter(&commands.once(id("a")), deposit("ada", 5)).await,
        ]
    });
    let [b, a] = folded.await;
    assert_eq!(a.await.unwrap(), repeated(firsts[0]));
    assert_eq!(b.await.unwrap(), repeated(firsts[1]));
    assert_eq!(balance(&store.inner, "ada").await, 11);
}

async fn the_same_id_twice_in_one_group_happens_once(inner: impl EventStore + Clone) {
    let store = Faulty::new(inner);
    let commands = Commands::new(store.clone());
    let folded = store.folded(&commands, "ada", 1, async || {
        [
            enter(&commands.once(id("a")), deposit("ada", 10)).await,
            enter(&commands.once(id("a")), deposit("ada", 10)).await,
            enter(&commands.once(id("b")), deposit("ada", 100)).await,
            enter(&commands.once(id("a")), deposit("ada", 10)).await,
        ]
    });
    let [first, again, other, later] = folded.await;
    let first = first.await.unwrap();
    assert_eq!(again.await.unwrap(), repeated(first));
    assert!(!other.await.unwrap().repeated);
    assert_eq!(later.await.unwrap(), repeated(first));
    assert_eq!(balance(&store.inner, "ada").await, 111);
}

#[tokio::test]
async fn the_same_id_twice_in_one_group_happens_once_in_memory() {
    the_same_id_twice_in_one_group_happens_once(MemoryStore::new()).await;
}

#[tokio::test]
async fn the_same_id_twice_in_one_group_happens_once_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    the_same_id_twice_in_one_group_happens_once(store).await;
}

async fn a_repeated_decision_gets_the_first_result(store: impl EventStore + Clone) {
    let commands = Commands::new(store.clone());
    let take =
        |student: &str| TakeSeat { course: "rust".into(), student: student.into(), seats: 2 };
    let first = commands.once(id("a")).decide(take("ada")).await.unwrap();
    commands.decide(take("bob")).await.unwrap();
    // The course is full now, and would refuse.
    let again = Commands::new(store.clone()).once(id("a")).decide(take("ada")).await.unwrap();
    assert_eq!(again, repeated(first));
    assert_eq!(seats_taken(&store, "rust").await, 2);
}

#[tokio::test]
async fn a_repeated_decision_gets_the_first_result_in_memory() {
    a_repeated_decision_gets_the_first_result(MemoryStore::new()).await;
}

#[tokio::test]
async fn a_repeated_decision_gets_the_first_result_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    a_repeated_decision_gets_the_first_result(store).await;
}

async fn a_repeated_transfer_gets_the_first_result(store: impl EventStore + Clone) {
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    let transfer = Transfer { from: "ada".into(), to: "bob".into(), amount: 5 };
    let first = commands.once(id("a")).send_together(transfer.clone()).await.unwrap();
    let again = commands.once(id("a")).send_together(transfer).await.unwrap();
    assert_eq!(again, repeated(first));
    assert_eq!((balance(&store, "ada").await, balance(&store, "bob").await), (0, 5));
}

#[tokio::test]
async fn a_repeated_transfer_gets_the_first_result_in_memory() {
    a_repeated_transfer_gets_the_first_result(MemoryStore::new()).await;
}

#[tokio::test]
async fn a_repeated_transfer_gets_the_first_result_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    a_repeated_transfer_gets_the_first_result(store).await;
}

/// The last aggregate of the tuple is only looked at.
async fn a_repeated_decision_with_a_guard_gets_the_first_result(store: impl EventStore + Clone) {
    let commands = Commands::new(store.clone());
    commands.send(deposit("rate", 3)).await.unwrap();
    commands.send(deposit("rate", 4)).await.unwrap();
    let guarded = crate::together::Guarded { account: "ada".into(), guard: "rate".into() };
    let first = commands.once(id("a")).send_together(guarded.clone()).await.unwrap();
    let again = commands.once(id("a")).send_together(guarded).await.unwrap();
    assert_eq!(again, repeated(first));
    assert_eq!(history(&store, "ada").await.len(), 1);
}

#[tokio::test]
async fn a_repeated_decision_with_a_guard_gets_the_first_result_in_memory() {
    a_repeated_decision_with_a_guard_gets_the_first_result(MemoryStore::new()).await;
}

#[tokio::test]
async fn a_repeated_decision_with_a_guard_gets_the_first_result_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    a_repeated_decision_with_a_guard_gets_the_first_result(store).await;
}
