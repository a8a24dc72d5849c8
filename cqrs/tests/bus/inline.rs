//! Views whose rows change with each append.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cqrs::{
    Change, Commands, Evolve, InlineViews, Keys, ModelSettings, ProjectionError, Projector,
    Rebuild, SendError, View,
};
use es_core::{
    EventStoreExt, Position, Read, Recorded, StoreErrorKind,
    memory::{MemoryStore, MemoryViews},
};
use futures_util::{StreamExt, future::join_all};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::bank::{AccountEvent, deposit};

const LONG: Duration = Duration::from_secs(20);

/// The deposits of each account and of the bank; it panics at one of 13.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Deposits {
    amounts: Vec<i64>,
}

impl Evolve for Deposits {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        if let AccountEvent::Deposited { amount } = event {
            assert!(*amount != 13, "13 cannot be deposited");
            self.amounts.push(*amount);
        }
    }
}

impl View for Deposits {
    const NAME: &'static str = "deposits";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::Many(vec!["all".into(), event.stream.id().to_owned()])
    }
}

/// The same, kept by workers.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Later(Deposits);

impl Evolve for Later {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        self.0.evolve(event);
    }
}

impl View for Later {
    const NAME: &'static str = "later";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Deposits::keys(event)
    }
}

struct Bank {
    store: MemoryStore,
    commands: Commands,
    projector: Projector<MemoryViews>,
}

fn bank() -> Bank {
    let (views, inline) = (MemoryViews::new(), InlineViews::new().view::<Deposits>());
    let store = MemoryStore::new().inline(&views, inline.clone());
    let parts = ModelSettings::new().parts(3);
    let projector = Projector::new(store.clone(), views);
    let projector = projector.view_with::<Deposits>(parts).view::<Later>().inline(&inline);
    Bank { commands: Commands::new(store.clone()), store, projector }
}

impl Bank {
    /// With the view kept inline.
    async fn inline() -> Self {
        let bank = bank();
        bank.projector.catch_up().await.unwrap();
        bank.projector.keep_inline("deposits", LONG).await.unwrap();
        bank
    }

    async fn deposit(&self, account: &str, amount: i64) -> Position {
        self.commands.send(deposit(account, amount)).await.unwrap().position
    }

    async fn amounts(&self, key: &str) -> Vec<i64> {
        let row = self.projector.get::<Deposits>(&key.to_owned()).await.unwrap();
        row.map(|row| row.amounts).unwrap_or_default()
    }

    /// What the log says.
    async fn logged(&self) -> Vec<i64> {
        let events = self.store.events(Read::all()).await.unwrap();
        let events = events.iter().map(|event| event.decode::<AccountEvent>().unwrap().unwrap());
        let amount = |event| match event {
            AccountEvent::Deposited { amount } => amount,
            other => panic!("{other:?}"),
        };
        events.map(amount).collect()
    }

    async fn is_inline(&self) -> bool {
        let status = self.projector.status().await.unwrap();
        let of_model = status.iter().find(|model| model.name == "deposits").unwrap();
        let parts: Vec<_> = of_model.parts.iter().filter(|part| part.serves).collect();
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.inline == parts[0].inline));
        parts[0].inline
    }
}

#[tokio::test]
async fn whoever_has_sent_a_command_finds_its_rows() {
    let bank = Bank::inline().await;
    for amount in 1..=5 {
        bank.deposit("ada", amount).await;
        assert_eq!(bank.amounts("ada").await, (1..=amount).collect::<Vec<_>>());
        assert_eq!(bank.amounts("all").await, (1..=amount).collect::<Vec<_>>());
    }
    assert!(bank.is_inline().await);
}

/// Also of commands that go into one append.
#[tokio::test]
async fn a_command_whose_event_a_row_cannot_take_is_refused_alone() {
    let bank = Bank::inline().await;
    let sends = (1..=20).map(|amount| bank.commands.send(deposit("ada", amount)));
    for (amount, sent) in (1..=20).zip(join_all(sends).await) {
        match sent {
            Err(SendError::Model { model, why }) => {
                assert_eq!((model.as_str(), amount), ("deposits", 13));
                assert!(why.contains("13 cannot be deposited"), "{why}");
            }
            sent => assert!(sent.is_ok() && amount != 13, "{amount}: {sent:?}"),
        }
    }
    assert_eq!(bank.amounts("ada").await.len(), 19);
    assert_eq!(bank.amounts("all").await, bank.logged().await);
}

/// A follower that keeps the other models leaves it alone, and waits for none.
#[tokio::test]
async fn followers_and_workers_leave_the_view_alone() {
    for is_shared in [false, true] {
        let bank = Bank::inline().await;
        let projecting = match is_shared {
            true => bank.projector.start_worker(),
            false => bank.projector.start(),
        };
        for amount in 1..=5 {
            let position = bank.deposit("ada", amount).await;
            projecting.wait_for(position).await.unwrap();
            let models = ["deposits", "later"];
            bank.projector.wait_for(position, &models, LONG).await.unwrap();
        }
        let later = bank.projector.get::<Later>(&"ada".into()).await.unwrap();
        assert_eq!(later.unwrap().0.amounts, [1, 2, 3, 4, 5]);
        assert_eq!(bank.amounts("ada").await, [1, 2, 3, 4, 5]);
        assert!(bank.is_inline().await);
        assert!(bank.projector.lag().await.unwrap().iter().all(|(_, lag)| lag.events == 0));
        projecting.stop().await.unwrap();
    }
}

/// To and fro under load: each event is in the rows once, in the order of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_goes_to_and_fro_between_workers_and_appends() {
    let bank = Arc::new(bank());
    let projecting = bank.projector.start_worker();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for account in 0..4 {
        let (bank, is_over) = (Arc::clone(&bank), Arc::clone(&is_over));
        senders.spawn(async move {
            let mut amount = 100;
            while !is_over.load(Ordering::SeqCst) {
                bank.deposit(&format!("a{account}"), amount).await;
                amount += 1;
                tokio::task::yield_now().await;
            }
        });
    }
    for _ in 0..10 {
        bank.projector.keep_inline("deposits", LONG).await.unwrap();
        assert!(bank.is_inline().await);
        bank.projector.keep_async("deposits").await.unwrap();
        let head = bank.store.head().await.unwrap();
        bank.projector.wait_for(head, &["deposits"], LONG).await.unwrap();
        assert!(!bank.is_inline().await);
    }
    is_over.store(true, Ordering::SeqCst);
    senders.join_all().await;
    let head = bank.store.head().await.unwrap();
    bank.projector.wait_for(head, &["deposits"], LONG).await.unwrap();
    assert_eq!(bank.amounts("all").await, bank.logged().await);
    projecting.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_is_inline_again_after_it_was_rebuilt_or_divided() {
    let bank = Arc::new(Bank::inline().await);
    for amount in 100..150 {
        bank.deposit("ada", amount).await;
    }
    let (sender, mut sending) = (Arc::clone(&bank), JoinSet::new());
    sending.spawn(async move {
        for amount in 200..300 {
            sender.deposit("bob", amount).await;
            tokio::task::yield_now().await;
        }
    });
    bank.projector.rebuild().await.unwrap();
    assert!(bank.is_inline().await);
    let unwanted = bank.projector.rebuild_with(Rebuild::new().review(|_| false)).await;
    assert!(matches!(unwanted, Err(ProjectionError::Unwanted { .. })), "{unwanted:?}");
    assert!(bank.is_inline().await);
    bank.projector.divide("deposits", 3).await.unwrap();
    assert!(bank.is_inline().await);
    sending.join_all().await;
    assert_eq!(bank.amounts("all").await, bank.logged().await);
    let rows: BTreeMap<_, _> =
        bank.projector.all::<Deposits>().await.unwrap().into_iter().collect();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows["bob"].amounts.len(), 100);
}

/// What cannot be taken is parked by workers, and keeps the view with them.
#[tokio::test]
async fn a_view_with_parked_events_stays_with_its_workers() {
    let bank = bank();
    bank.deposit("ada", 13).await;
    bank.projector.catch_up().await.unwrap();
    let refused = bank.projector.keep_inline("deposits", LONG).await;
    let Err(ProjectionError::Store(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert!(error.to_string().contains("parked"), "{error}");
    bank.deposit("bob", 1).await;
    bank.projector.catch_up().await.unwrap();
    assert_eq!(bank.amounts("bob").await, [1]);
}

#[tokio::test]
async fn a_store_that_does_not_know_the_view_says_so() {
    let store = MemoryStore::new();
    let projector = Projector::new(store, MemoryViews::new()).view::<Deposits>();
    projector.catch_up().await.unwrap();
    let refused = projector.keep_inline("deposits", LONG).await;
    let Err(ProjectionError::Store(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), StoreErrorKind::Unsupported);
}

/// Caches listen to it.
#[tokio::test]
async fn what_an_append_changes_is_told() {
    let bank = Bank::inline().await;
    let mut changes = bank.projector.changes();
    let position = bank.deposit("ada", 1).await;
    let mut rows = Vec::new();
    while rows.len() < 2 {
        match changes.next().await.unwrap() {
            Change::Rows { model, rows: some, position: at } => {
                assert_eq!((model.as_str(), at), ("deposits", position));
                rows.extend(some.iter().map(|row| row.key.clone()));
            }
            other => panic!("{other:?}"),
        }
    }
    rows.sort_unstable();
    assert_eq!(rows, ["ada", "all"]);
}
