//! Answers that are lost on the way, and stores that fail for a while.

use cqrs::{Commands, Failure, SendError, Settings};
use es_core::{StoreErrorKind, memory::MemoryStore};

use crate::{
    bank::{Answer, balance, cached, deposit, history, withdraw},
    decisions::{TakeSeat, seats_taken},
    faulty::{Fault, Faulty, enter, with},
    together::Transfer,
};

fn failed_with(answer: &Answer, kind: StoreErrorKind) -> bool {
    matches!(answer, Err(SendError::Store(Failure::Store(error))) if error.kind() == kind)
}

#[tokio::test]
async fn a_command_whose_answer_is_lost_is_done_once_and_told_so() {
    for make in [Commands::new, cached] {
        let store = Faulty::new(MemoryStore::new());
        let commands = make(store.clone());
        commands.send(deposit("ada", 5)).await.unwrap();
        store.plan(Fault::Lost);
        commands.send(withdraw("ada", 5)).await.unwrap();
        assert_eq!(history(&store.inner, "ada").await.len(), 2);
        assert_eq!(balance(&store.inner, "ada").await, 0);
    }
}

#[tokio::test]
async fn a_command_whose_answer_is_lost_again_and_again_is_done_once() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    for _ in 0..4 {
        store.plan(Fault::Lost);
    }
    commands.send(withdraw("ada", 5)).await.unwrap();
    assert_eq!(history(&store.inner, "ada").await.len(), 2);
}

/// The second decision sees what the first one did, and would refuse it.
#[tokio::test]
async fn a_folded_group_whose_answer_is_lost_is_done_once_and_told_so() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    store.race_nothing();
    store.plan(Fault::Lost);
    let folded = store.folded(&commands, "ada", 10, async || {
        [enter(&commands, withdraw("ada", 10)).await, enter(&commands, deposit("ada", 3)).await]
    });
    let [withdrawn, deposited] = folded.await;
    withdrawn.await.unwrap();
    deposited.await.unwrap();
    assert_eq!(history(&store.inner, "ada").await.len(), 3);
    assert_eq!(balance(&store.inner, "ada").await, 3);
}

/// The loss is told as a failure of the store, not as a rejection: the command
/// may have been carried out.
#[tokio::test]
async fn a_command_whose_fate_stays_unknown_is_not_told_rejected() {
    let store = Faulty::new(MemoryStore::new());
    let commands = with(store.clone(), Settings::new().attempts(3));
    store.fail_always(StoreErrorKind::Unknown);
    let answer = commands.send(deposit("ada", 5)).await;
    assert!(failed_with(&answer, StoreErrorKind::Unknown), "{answer:?}");
    assert_eq!(store.appends(), 3);
}

#[tokio::test]
async fn a_decision_whose_answer_is_lost_is_made_once_and_told_so() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    store.plan(Fault::Lost);
    let last = TakeSeat { course: "rust".into(), student: "ada".into(), seats: 1 };
    commands.decide(last).await.unwrap();
    assert_eq!(seats_taken(&store.inner, "rust").await, 1);
}

#[tokio::test]
async fn a_transfer_whose_answer_is_lost_is_made_once_and_told_so() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    store.plan(Fault::Lost);
    let all = Transfer { from: "ada".into(), to: "bob".into(), amount: 5 };
    commands.send_together(all).await.unwrap();
    assert_eq!(balance(&store.inner, "bob").await, 5);
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again() {
    for kind in [StoreErrorKind::Busy, StoreErrorKind::Unavailable, StoreErrorKind::Unknown] {
        let store = Faulty::new(MemoryStore::new());
        let commands = Commands::new(store.clone());
        store.plan(Fault::Before(kind));
        store.plan(Fault::Before(kind));
        commands.send(deposit("ada", 5)).await.unwrap();
        assert_eq!((store.appends(), balance(&store.inner, "ada").await), (3, 5));
    }
}

#[tokio::test]
async fn a_failure_that_stays_reaches_every_sender_of_the_group() {
    for kind in [StoreErrorKind::Full, StoreErrorKind::ReadOnly, StoreErrorKind::Closed] {
        let store = Faulty::new(MemoryStore::new());
        let commands = Commands::new(store.clone());
        store.race_nothing();
        store.plan(Fault::Before(kind));
        let folded = store.folded(&commands, "ada", 10, async || {
            [enter(&commands, withdraw("ada", 10)).await, enter(&commands, deposit("ada", 3)).await]
        });
        for sent in folded.await {
            assert!(failed_with(&sent.await, kind));
        }
        assert_eq!(balance(&store.inner, "ada").await, 10);
        commands.send(withdraw("ada", 10)).await.unwrap();
    }
}
