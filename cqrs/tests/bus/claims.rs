//! Unique values across aggregates.

use cqrs::{Commands, SendError};
use es_core::{EventStore, memory::MemoryStore};
use es_sqlite::SqliteStore;

use crate::{
    bank::{Answer, balance, deposit, rename, stream},
    faulty::{Faulty, enter},
};

fn is_claimed_by(answer: &Answer, name: &str, account: &str) -> bool {
    let Err(SendError::Claimed { scope, key, holder }) = answer else { return false };
    *scope == "account-name" && *key == *name && *holder == stream(account)
}

async fn the_second_to_claim_a_value_is_told_who_holds_it(store: impl EventStore + Clone) {
    let commands = Commands::new(store);
    commands.send(rename("1", "ada")).await.unwrap();
    assert!(is_claimed_by(&commands.send(rename("2", "ada")).await, "ada", "1"));
    commands.send(rename("2", "bob")).await.unwrap();
    commands.send(rename("1", "ada")).await.unwrap();
}

#[tokio::test]
async fn the_second_to_claim_a_value_is_told_who_holds_it_in_memory() {
    the_second_to_claim_a_value_is_told_who_holds_it(MemoryStore::new()).await;
}

#[tokio::test]
async fn the_second_to_claim_a_value_is_told_who_holds_it_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    the_second_to_claim_a_value_is_told_who_holds_it(store).await;
}

#[tokio::test]
async fn a_claimed_value_refuses_its_command_and_no_other_of_the_group() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(rename("1", "ada")).await.unwrap();
    let folded = store.folded(&commands, "2", 1, async || {
        let before = enter(&commands, deposit("2", 10)).await;
        let claiming = enter(&commands, rename("2", "ada")).await;
        (before, claiming, enter(&commands, deposit("2", 100)).await)
    });
    let (before, claiming, after) = folded.await;
    before.await.unwrap();
    assert!(is_claimed_by(&claiming.await, "ada", "1"));
    after.await.unwrap();
    assert_eq!(balance(&store.inner, "2").await, 111);
}

/// Each claim that is refused is progress, not a lost race.
#[tokio::test]
async fn many_claimed_values_in_one_group_are_all_told_so() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(rename("1", "ada")).await.unwrap();
    let folded = store.folded(&commands, "2", 1, async || {
        let mut claiming = Vec::new();
        for _ in 0..40 {
            claiming.push(enter(&commands, rename("2", "ada")).await);
        }
        (claiming, enter(&commands, deposit("2", 10)).await)
    });
    let (claiming, other) = folded.await;
    for claiming in claiming {
        let answer = claiming.await;
        assert!(is_claimed_by(&answer, "ada", "1"), "{answer:?}");
    }
    other.await.unwrap();
}

#[tokio::test]
async fn a_claim_that_makes_no_name_refuses_its_command_and_no_other_of_the_group() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let folded = store.folded(&commands, "2", 1, async || {
        let before = enter(&commands, deposit("2", 10)).await;
        let claiming = enter(&commands, rename("2", "bell\u{7}")).await;
        (before, claiming, enter(&commands, deposit("2", 100)).await)
    });
    let (before, claiming, after) = folded.await;
    before.await.unwrap();
    let refused = claiming.await;
    assert!(matches!(refused, Err(SendError::Store(cqrs::Failure::Name(_)))), "{refused:?}");
    after.await.unwrap();
}
