//! The cache is where a decision begins, never its proof.

use cqrs::Settings;
use es_core::{AggregateStoreExt, Version, memory::MemoryStore};

use crate::{
    bank::{
        Account, AccountEvent, Panic, balance, cached, deposit, has_panicked, is_rejected, withdraw,
    },
    faulty::{Faulty, enter, with},
};

async fn foreign(store: &MemoryStore, version: u64, event: AccountEvent) {
    let version = Version::new(version);
    store.commit::<Account>(&"ada".to_owned(), version, &[event]).await.unwrap();
}

#[tokio::test]
async fn what_the_stale_state_would_reject_is_decided_on_the_true_one() {
    let store = MemoryStore::new();
    let commands = cached(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    foreign(&store, 1, AccountEvent::Deposited { amount: 10 }).await;
    commands.send(withdraw("ada", 12)).await.unwrap();
    assert_eq!(balance(&store, "ada").await, 3);
}

#[tokio::test]
async fn what_the_stale_state_would_accept_is_rejected_on_the_true_one() {
    let store = MemoryStore::new();
    let commands = cached(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    foreign(&store, 1, AccountEvent::Withdrawn { amount: 4 }).await;
    match commands.send(withdraw("ada", 5)).await {
        Err(cqrs::SendError::Rejected(refusal)) => assert_eq!(refusal.balance, 1),
        other => panic!("{other:?}"),
    }
    assert_eq!(balance(&store, "ada").await, 1);
}

#[tokio::test]
async fn a_stale_rejection_is_decided_again_even_if_one_attempt_is_all_there_is() {
    let store = MemoryStore::new();
    let commands = with(store.clone(), Settings::new().cache(10).attempts(1));
    commands.send(deposit("ada", 5)).await.unwrap();
    foreign(&store, 1, AccountEvent::Deposited { amount: 10 }).await;
    commands.send(withdraw("ada", 12)).await.unwrap();
}

#[tokio::test]
async fn a_cached_aggregate_is_not_read_again_to_be_changed() {
    let store = Faulty::new(MemoryStore::new());
    let commands = cached(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    let reads = store.reads();
    for _ in 0..5 {
        commands.send(withdraw("ada", 1)).await.unwrap();
    }
    assert_eq!(store.reads(), reads);
    assert!(is_rejected(&commands.send(withdraw("ada", 1)).await));
    assert_eq!(store.reads(), reads + 1, "a rejection looks whether the stream has moved");
}

/// The state goes ahead of the log while a group is decided; what stays in the
/// cache must be the state at the version that was appended.
#[tokio::test]
async fn a_panic_at_the_end_of_a_folded_group_leaves_the_true_state_in_the_cache() {
    let store = Faulty::new(MemoryStore::new());
    let commands = cached(store.clone());
    let folded = store.folded(&commands, "ada", 1, async || {
        let deposited = enter(&commands, deposit("ada", 10)).await;
        (deposited, enter(&commands, Panic { account: "ada".into() }).await)
    });
    let (deposited, panicked) = folded.await;
    deposited.await.unwrap();
    assert!(has_panicked(&panicked.await));
    assert!(is_rejected(&commands.send(withdraw("ada", 12)).await));
    assert_eq!(balance(&store.inner, "ada").await, 11);
}

#[tokio::test]
async fn a_rejection_at_the_end_of_a_folded_group_leaves_the_true_state_in_the_cache() {
    let store = Faulty::new(MemoryStore::new());
    let commands = cached(store.clone());
    let folded = store.folded(&commands, "ada", 1, async || {
        let deposited = enter(&commands, deposit("ada", 10)).await;
        (deposited, enter(&commands, withdraw("ada", 50)).await)
    });
    let (deposited, rejected) = folded.await;
    deposited.await.unwrap();
    assert!(is_rejected(&rejected.await));
    assert!(is_rejected(&commands.send(withdraw("ada", 12)).await));
    commands.send(withdraw("ada", 11)).await.unwrap();
    assert_eq!(balance(&store.inner, "ada").await, 0);
}
