//! The queue in front of each aggregate: its bounds, and who is left when one
//! of those in it goes wrong.

use cqrs::{Commands, Failure, SendError, Settings};
use es_core::{World, memory::MemoryStore};
use futures_util::future::BoxFuture;

use crate::{
    bank::{Curse, Panic, balance, deposit, has_panicked, history, is_rejected, withdraw},
    faulty::{Faulty, enter, with},
};

#[tokio::test]
async fn a_command_that_always_loses_ends_as_contended_after_its_attempts() {
    for attempts in [1, 2, 5] {
        let store = Faulty::new(MemoryStore::new());
        store.conflict_always();
        let commands = with(store.clone(), Settings::new().attempts(attempts));
        match commands.send(deposit("ada", 1)).await {
            Err(SendError::Contended { attempts: made }) => assert_eq!(made, attempts),
            other => panic!("{other:?}"),
        }
        assert_eq!(store.appends(), attempts as usize);
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let store = Faulty::new(MemoryStore::new());
    let commands = with(store.clone(), Settings::new().queue(2));
    let folded = store.folded(&commands, "ada", 1, async || {
        let waiting =
            [enter(&commands, deposit("ada", 1)).await, enter(&commands, deposit("ada", 1)).await];
        let refused = commands.send(deposit("ada", 1)).await;
        assert!(matches!(refused, Err(SendError::Contended { attempts: 0 })), "{refused:?}");
        drop(enter(&commands, deposit("bob", 1)).await);
        waiting
    });
    for sent in folded.await {
        sent.await.unwrap();
    }
    assert_eq!(balance(&store.inner, "ada").await, 3);
    commands.drain().await;
    assert_eq!(balance(&store.inner, "bob").await, 1, "another aggregate has another queue");
}

#[tokio::test]
async fn a_group_is_no_larger_than_the_settings_say() {
    let store = Faulty::new(MemoryStore::new());
    let commands = with(store.clone(), Settings::new().fold(3));
    let folded = store.folded(&commands, "ada", 1, async || {
        let mut waiting = Vec::new();
        for _ in 0..7 {
            waiting.push(enter(&commands, deposit("ada", 1)).await);
        }
        waiting
    });
    for sent in folded.await {
        sent.await.unwrap();
    }
    let sizes: Vec<_> = store.batches().iter().map(|batch| batch.writes.len()).collect();
    assert_eq!(sizes, [1, 3, 3, 1]);
}

#[tokio::test]
async fn a_command_whose_sender_has_gone_happens_once_and_holds_nobody_up() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let folded = store.folded(&commands, "ada", 1, async || {
        let before = enter(&commands, deposit("ada", 10)).await;
        drop(enter(&commands, deposit("ada", 100)).await);
        (before, enter(&commands, deposit("ada", 1_000)).await)
    });
    let (before, after) = folded.await;
    assert_eq!(before.await.unwrap().version.get(), 2);
    assert_eq!(after.await.unwrap().version.get(), 4);
    commands.drain().await;
    assert_eq!(balance(&store.inner, "ada").await, 1_111);
}

#[tokio::test]
async fn a_command_whose_sender_goes_at_any_poll_happens_once_or_not_at_all() {
    for polls in 0..12 {
        let store = MemoryStore::new();
        let commands = Commands::new(store.clone());
        let mut sending = Box::pin(commands.send(deposit("ada", 1)));
        for _ in 0..polls {
            let ready = std::future::poll_fn(|context| {
                std::task::Poll::Ready(sending.as_mut().poll(context).is_ready())
            });
            if ready.await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(sending);
        commands.drain().await;
        let expected = usize::from(polls > 0);
        assert_eq!(history(&store, "ada").await.len(), expected, "after {polls} polls");
        commands.send(deposit("ada", 1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_panicking_decision_is_told_and_the_lane_goes_on() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    assert!(has_panicked(&commands.send(Panic { account: "ada".into() }).await));
    let folded = store.folded(&commands, "ada", 1, async || {
        [enter(&commands, deposit("ada", 10)).await, enter(&commands, withdraw("ada", 11)).await]
    });
    let panicking = commands.send(Panic { account: "ada".into() });
    let ([one, two], panicked) = futures_util::future::join(folded, panicking).await;
    one.await.unwrap();
    two.await.unwrap();
    assert!(has_panicked(&panicked));
    assert_eq!(balance(&store.inner, "ada").await, 0);
}

#[tokio::test]
async fn a_panic_in_the_middle_of_a_group_is_told_to_its_sender_only() {
    let store = Faulty::new(MemoryStore::new());
    let commands = crate::bank::cached(store.clone());
    let folded = store.folded(&commands, "ada", 1, async || {
        let before = enter(&commands, deposit("ada", 10)).await;
        let panicking = enter(&commands, Panic { account: "ada".into() }).await;
        (before, panicking, enter(&commands, withdraw("ada", 11)).await)
    });
    let (before, panicking, after) = folded.await;
    before.await.unwrap();
    assert!(has_panicked(&panicking.await));
    after.await.unwrap();
    assert!(is_rejected(&commands.send(withdraw("ada", 1)).await));
}

/// Here the runner itself ends, and everybody in its lane is told.
#[tokio::test]
async fn a_panicking_fold_leaves_nobody_waiting() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let folded = store.folded(&commands, "ada", 1, async || {
        let cursed = enter(&commands, Curse { account: "ada".into() }).await;
        (cursed, enter(&commands, deposit("ada", 10)).await)
    });
    let (cursed, other) = folded.await;
    assert!(has_panicked(&cursed.await));
    assert!(has_panicked(&other.await));
    commands.drain().await;
    commands.send(deposit("ada", 3)).await.unwrap();
    assert_eq!(balance(&store.inner, "ada").await, 4);
}

/// Runs nothing: as a runtime does that is going down.
#[derive(Debug)]
struct Forgetful;

impl es_core::Spawn for Forgetful {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(task);
    }
}

#[tokio::test]
async fn a_lane_whose_runner_was_dropped_does_not_hold_up_the_next_sender() {
    let store = Faulty::new(MemoryStore::new());
    let world = World::real().with_spawner(Forgetful);
    let commands = Commands::builder(store.clone()).world(world).build();
    let shut = store.shut().await;
    for _ in 0..3 {
        let sending = Box::pin(commands.send(deposit("ada", 1)));
        let answer = futures_util::FutureExt::now_or_never(sending);
        let told = matches!(answer, Some(Err(SendError::Store(Failure::Panicked))));
        assert!(told, "{answer:?}");
    }
    drop(shut);
}

/// The history itself makes the fold panic, before there is anything to wait
/// for.
#[tokio::test]
async fn a_load_that_panics_is_told_to_its_sender() {
    let commands = Commands::new(MemoryStore::new());
    let _ = commands.send(Curse { account: "ada".into() }).await;
    for _ in 0..2 {
        assert!(has_panicked(&commands.send(deposit("ada", 10)).await));
    }
    commands.drain().await;
    commands.send(deposit("bob", 3)).await.unwrap();
}
