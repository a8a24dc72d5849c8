//! Other writers come between load and append.

use std::sync::Arc;

use cqrs::{Commands, Settings};
use es_core::{AggregateStoreExt, EventStore, EventStoreExt, Read, Version, memory::MemoryStore};
use es_sqlite::{SqliteOptions, SqliteStore, Synchronous};

use crate::{
    bank::{
        Account, AccountEvent, assert_never_below_zero, balance, deposit, history, is_rejected,
        withdraw,
    },
    faulty::{Faulty, enter, with},
};

/// A little generator: the same numbers for the same seed.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[expect(clippy::disallowed_methods, reason = "a test may start tasks as it likes")]
fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}

async fn sqlite(folder: &tempfile::TempDir) -> SqliteStore {
    let options = SqliteOptions::new(folder.path().join("bank.db"));
    options.synchronous(Synchronous::Normal).open().await.unwrap()
}

async fn sixteen_tasks_lose_no_deposit(
    store: impl EventStore + Clone,
    settings: Settings<Account>,
) {
    let commands = with(store.clone(), settings);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let commands = commands.clone();
            spawn(async move {
                for _ in 0..50 {
                    commands.send(deposit("joint", 1)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(balance(&store, "joint").await, 800);
    assert_eq!(history(&store, "joint").await.len(), 800);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_tasks_on_one_aggregate_lose_no_deposit_in_memory() {
    sixteen_tasks_lose_no_deposit(MemoryStore::new(), Settings::new()).await;
    sixteen_tasks_lose_no_deposit(MemoryStore::new(), Settings::new().cache(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_tasks_on_one_aggregate_lose_no_deposit_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    sixteen_tasks_lose_no_deposit(sqlite(&folder).await, Settings::new().cache(10)).await;
}

/// Two buses with caches and a writer without a bus at one account. Each answer
/// must be true of some moment between call and answer, and replay shows it.
async fn hammer(one: impl EventStore + Clone, other: impl EventStore + Clone, seed: u64) {
    let buses = [
        with(one.clone(), Settings::new().cache(10).attempts(1_000)),
        with(other.clone(), Settings::new().cache(10).attempts(1_000).fold(3)),
    ];
    let mut dice = Dice(seed);
    let mut tasks = Vec::new();
    for worker in 0..8 {
        let (commands, mut dice) = (buses[worker % 2].clone(), Dice(dice.below(u64::MAX)));
        tasks.push(spawn(async move {
            let (mut paid_in, mut paid_out) = (0, 0);
            for _ in 0..60 {
                let amount = dice.below(9) as i64 + 1;
                if dice.below(2) == 0 {
                    commands.send(deposit("joint", amount)).await.unwrap();
                    paid_in += amount;
                } else {
                    match commands.send(withdraw("joint", amount)).await {
                        Ok(_) => paid_out += amount,
                        answer => assert!(is_rejected(&answer), "{answer:?}"),
                    }
                }
            }
            paid_in - paid_out
        }));
    }
    tasks.push(spawn(raw_deposits(other.clone())));
    let mut sum = 0;
    for task in tasks {
        sum += task.await.unwrap();
    }
    assert_never_below_zero(&one, "joint").await;
    assert_eq!(balance(&one, "joint").await, sum, "seed {seed}");
}

/// Takes all that is there, or puts one in, beside any bus.
async fn raw_deposits(store: impl EventStore) -> i64 {
    let mut sum = 0;
    for _ in 0..60 {
        let account = store.load::<Account>(&"joint".to_owned()).await.unwrap();
        let (event, change) = match account.state.balance {
            0 => (AccountEvent::Deposited { amount: 1 }, 1),
            all => (AccountEvent::Withdrawn { amount: all }, -all),
        };
        let (id, events) = ("joint".to_owned(), [event]);
        if store.commit::<Account>(&id, account.version, &events).await.is_ok() {
            sum += change;
        }
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_buses_and_a_foreign_writer_never_break_the_rule_in_memory() {
    for seed in 0..20 {
        let store = MemoryStore::new();
        hammer(store.clone(), store, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_buses_on_two_connections_never_break_the_rule_on_sqlite() {
    for seed in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        hammer(sqlite(&folder).await, sqlite(&folder).await, seed).await;
    }
}

/// A foreign withdrawal and deposit between load and append: the account is at
/// another version, or would be at the same one with another history.
#[tokio::test]
async fn a_folded_group_that_loses_to_a_writer_is_decided_anew_as_a_whole() {
    let store = Faulty::new(MemoryStore::new());
    let commands = with(store.clone(), Settings::new().cache(10));
    let racer = store.inner.clone();
    let folded = store.folded(&commands, "joint", 10, async || {
        let group = [
            enter(&commands, withdraw("joint", 6)).await,
            enter(&commands, withdraw("joint", 4)).await,
        ];
        (group, enter(&commands, deposit("joint", 1)).await)
    });
    // The first append is the one that keeps the lane busy.
    store.race_nothing();
    store.race(async move {
        let taken = [AccountEvent::Withdrawn { amount: 7 }, AccountEvent::Deposited { amount: 1 }];
        racer.commit::<Account>(&"joint".to_owned(), Version::new(1), &taken).await.unwrap();
    });
    let ([six, four], one) = folded.await;
    assert!(is_rejected(&six.await));
    assert_eq!(four.await.unwrap().version, Version::new(4));
    assert_eq!(one.await.unwrap().version, Version::new(5));
    assert_eq!(balance(&store.inner, "joint").await, 1);
    assert_never_below_zero(&store.inner, "joint").await;
    // What the bus remembers is what the log says.
    assert!(is_rejected(&commands.send(withdraw("joint", 2)).await));
    commands.send(withdraw("joint", 1)).await.unwrap();
}

#[tokio::test]
async fn commands_that_wait_go_into_one_append() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let folded = store.folded(&commands, "joint", 1, async || {
        let mut group = Vec::new();
        for _ in 0..10 {
            group.push(enter(&commands, deposit("joint", 1)).await);
        }
        group
    });
    let mut versions = Vec::new();
    for sent in folded.await {
        versions.push(sent.await.unwrap().version.get());
    }
    assert_eq!(versions, (2..=11).collect::<Vec<_>>());
    assert_eq!(store.appends(), 2);
    assert_eq!(store.batches()[1].writes.len(), 10);
}

#[tokio::test]
async fn a_folded_group_is_in_the_log_wholly_or_not_at_all() {
    let store = Faulty::new(MemoryStore::new());
    let commands = with(store.clone(), Settings::new().attempts(1));
    let (racer, conflicting) = (store.inner.clone(), store.clone());
    let folded = store.folded(&commands, "joint", 1, async || {
        [enter(&commands, deposit("joint", 1)).await, enter(&commands, deposit("joint", 1)).await]
    });
    store.race_nothing();
    store.race(async move {
        let one = [AccountEvent::Deposited { amount: 100 }];
        racer.commit::<Account>(&"joint".to_owned(), Version::new(1), &one).await.unwrap();
    });
    for sent in folded.await {
        let answer = sent.await;
        assert!(matches!(answer, Err(cqrs::SendError::Contended { attempts: 1 })), "{answer:?}");
    }
    assert_eq!(balance(&conflicting.inner, "joint").await, 101);
}

#[tokio::test]
async fn a_group_too_large_for_one_append_is_carried_out_one_by_one() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let save = |times| crate::bank::Save { account: "joint".into(), times };
    let folded = store.folded(&commands, "joint", 1, async || {
        [
            enter(&commands, save(600)).await,
            enter(&commands, save(600)).await,
            enter(&commands, save(1_001)).await,
            enter(&commands, save(1)).await,
        ]
    });
    let [one, two, too_many, small] = folded.await;
    one.await.unwrap();
    two.await.unwrap();
    let refused = too_many.await;
    assert!(matches!(refused, Err(cqrs::SendError::Store(cqrs::Failure::Invalid(_)))));
    small.await.unwrap();
    assert_eq!(balance(&store.inner, "joint").await, 1_202);
}

#[tokio::test]
async fn a_conflict_is_resolved_from_the_events_that_it_brings() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let racer = Arc::clone(&store);
    store.race(async move {
        let one = [AccountEvent::Deposited { amount: 5 }];
        racer.inner.commit::<Account>(&"ada".to_owned(), Version::NONE, &one).await.unwrap();
    });
    let sent = commands.send(deposit("ada", 2)).await.unwrap();
    assert_eq!(sent.version, Version::new(2));
    assert_eq!((store.reads(), store.appends()), (1, 2));
    let events = store.inner.events(Read::all()).await.unwrap();
    assert_eq!(events.len(), 2);
}

#[tokio::test]
async fn a_rejection_after_a_conflict_is_decided_on_the_events_that_it_brings() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    let (racer, reads) = (Arc::clone(&store), store.reads());
    store.race(async move {
        let all = [AccountEvent::Withdrawn { amount: 5 }];
        racer.inner.commit::<Account>(&"ada".to_owned(), Version::new(1), &all).await.unwrap();
    });
    assert!(is_rejected(&commands.send(withdraw("ada", 5)).await));
    assert_eq!(store.reads() - reads, 1);
    assert_eq!(balance(&store.inner, "ada").await, 0);
}
