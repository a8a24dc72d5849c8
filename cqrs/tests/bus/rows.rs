//! Rows of a view that know their key and their event, and rows that end.

use cqrs::{Event, Evolve, Fate, Keys, Projector, View};
use es_core::{
    Aggregate, AggregateStoreExt, EventStore, Position, Recorded, Version, Views,
    memory::{MemoryStore, MemoryViews},
};
use es_sqlite::SqliteStore;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(prefix = "money")]
enum MoneyEvent {
    Moved { from: String, to: String, amount: i64 },
    Closed { account: String },
}

#[derive(Debug, Default, Aggregate)]
struct Money;

impl Evolve for Money {
    type Event = MoneyEvent;

    fn evolve(&mut self, _: &MoneyEvent) {}
}

/// What one event means depends on the row.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Balance {
    amount: i64,
    last: Position,
}

impl Evolve for Balance {
    type Event = MoneyEvent;

    fn evolve(&mut self, _: &MoneyEvent) {}
}

impl View for Balance {
    const NAME: &'static str = "balances";
    type Key = String;

    fn keys(event: Recorded<'_, MoneyEvent>) -> Keys<String> {
        match event.event {
            MoneyEvent::Moved { from, to, .. } => Keys::Many(vec![from.clone(), to.clone()]),
            MoneyEvent::Closed { account } => Keys::One(account.clone()),
        }
    }

    fn apply(&mut self, key: &String, event: Recorded<'_, MoneyEvent>) -> Fate {
        let MoneyEvent::Moved { from, to, amount } = event.event else { return Fate::Delete };
        self.amount += if key == to { *amount } else { 0 };
        self.amount -= if key == from { *amount } else { 0 };
        self.last = event.position;
        Fate::Keep
    }
}

fn moved(from: &str, to: &str, amount: i64) -> MoneyEvent {
    MoneyEvent::Moved { from: from.into(), to: to.into(), amount }
}

fn closed(account: &str) -> MoneyEvent {
    MoneyEvent::Closed { account: account.into() }
}

/// Brings the view to the end after each of the steps.
async fn rows_after<V: Views>(
    store: impl EventStore + Clone,
    views: V,
    steps: &[&[MoneyEvent]],
) -> Vec<(String, i64, u64)> {
    let projector = Projector::new(store.clone(), views).view::<Balance>();
    let mut version = Version::NONE;
    for events in steps {
        let id = "book".to_owned();
        store.commit::<Money>(&id, version, events).await.unwrap();
        version = version.plus(events.len());
        projector.catch_up().await.unwrap();
    }
    let rows = projector.all::<Balance>().await.unwrap();
    rows.into_iter().map(|(key, row)| (key, row.amount, row.last.get())).collect()
}

async fn rows_know_their_key_and_end<V: Views>(store: impl EventStore + Clone, views: V) {
    let (first, ended) = (moved("ada", "bob", 5), closed("ada"));
    let again = [moved("bob", "ada", 2), moved("ada", "cyd", 1)];
    let rows = rows_after(store, views, &[&[first], &[ended], &again]).await;
    let row = |key: &str, amount, last| (key.to_owned(), amount, last);
    // What ada had before the end is forgotten.
    assert_eq!(rows, [row("ada", 1, 4), row("bob", 3, 3), row("cyd", 1, 4)]);
}

#[tokio::test]
async fn rows_know_their_key_and_end_in_memory() {
    rows_know_their_key_and_end(MemoryStore::new(), MemoryViews::new()).await;
}

#[tokio::test]
async fn rows_know_their_key_and_end_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("rows.db")).await.unwrap();
    rows_know_their_key_and_end(store.clone(), store).await;
}

/// A row that ends in the batch in which it began is never written.
#[tokio::test]
async fn a_row_may_begin_and_end_within_one_batch() {
    let steps = [moved("ada", "bob", 5), closed("bob"), moved("ada", "cyd", 1), closed("cyd")];
    let rows = rows_after(MemoryStore::new(), MemoryViews::new(), &[&steps]).await;
    assert_eq!(rows, [("ada".to_owned(), -6, 3)]);
}

/// The same rows come of the same events, whatever the batches.
#[tokio::test]
async fn a_rebuild_deletes_what_was_deleted() {
    let store = MemoryStore::new();
    let events = [moved("ada", "bob", 5), closed("ada"), moved("bob", "ada", 2)];
    let id = "book".to_owned();
    store.commit::<Money>(&id, Version::NONE, &events).await.unwrap();
    let projector = Projector::new(store, MemoryViews::new()).view::<Balance>();
    projector.catch_up().await.unwrap();
    let once = projector.all::<Balance>().await.unwrap();
    projector.rebuild().await.unwrap();
    assert_eq!(projector.all::<Balance>().await.unwrap(), once);
}
