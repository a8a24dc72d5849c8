//! What becomes of aggregates.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use es_core::{
    Abilities, Aggregate, AggregateStoreExt, AppendError, Appended, Batch, ContentType, Event,
    EventStore, EventType, Evolve, LoadError, Loaded, Pages, Read, Retention, Snapshot,
    SnapshotPolicy, Snapshots, Snapshotting, StreamId, Version, World, memory::MemorySnapshots,
    stream_of,
};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::scene::Log;

#[derive(Debug, Serialize, Deserialize)]
enum BookEvent {
    Booked { amount: u64 },
    Closed { balance: u64 },
}

impl Event for BookEvent {
    const TYPES: &'static [EventType] =
        &[EventType::new("book.booked"), EventType::new("book.closed")];

    fn index(&self) -> usize {
        usize::from(matches!(self, Self::Closed { .. }))
    }
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Book {
    balance: u64,
}

impl Evolve for Book {
    type Event = BookEvent;

    fn evolve(&mut self, event: &BookEvent) {
        match event {
            BookEvent::Booked { amount } => self.balance += amount,
            // It begins with nothing, as it tells all.
            BookEvent::Closed { balance } => self.balance += balance,
        }
    }

    fn is_whole(event: &BookEvent) -> bool {
        matches!(event, BookEvent::Closed { .. })
    }
}

impl Aggregate for Book {
    const CATEGORY: &'static str = "book";
    const FINGERPRINT: u64 = 1;
    type Id = u32;
    type Error = ();
}

async fn book(log: &Log, amounts: impl IntoIterator<Item = u64>) {
    for amount in amounts {
        write(log, BookEvent::Booked { amount }).await;
    }
}

async fn write(log: &Log, event: BookEvent) {
    let version = log.store().load::<Book>(&1).await.map_or(Version::NONE, |book| book.version);
    log.store().commit::<Book>(&1, version, &[event]).await.expect("a commit");
}

fn its_stream() -> StreamId {
    stream_of::<Book>(&1).expect("a stream")
}

async fn load(log: &Log) -> Result<(u64, u64), LoadError> {
    log.store().load::<Book>(&1).await.map(told)
}

fn told(loaded: Loaded<Book>) -> (u64, u64) {
    (loaded.state.balance, loaded.version.get())
}

fn is_hole(loaded: &Result<(u64, u64), LoadError>, found: u64) -> bool {
    matches!(loaded, Err(LoadError::Hole { found: at, .. }) if at.get() == found)
}

/// From the initial state, at the version of the marker.
pub async fn a_deleted_aggregate_begins_anew(log: &Log) {
    book(log, [1, 2, 3]).await;
    let mut behind = log.store().load::<Book>(&1).await.expect("a load");
    log.end(&its_stream()).await;
    assert_eq!(load(log).await.expect("a load"), (0, 4));
    book(log, [7]).await;
    assert_eq!(load(log).await.expect("a load"), (7, 5));
    log.end(&its_stream()).await;
    book(log, [9]).await;
    behind.catch_up(&*log.store(), &its_stream()).await.expect("what came after");
    assert_eq!(told(behind), (9, 7));
}

/// Which nobody can make up.
pub async fn a_cut_aggregate_lacks_its_beginning(log: &Log) {
    book(log, 1..=5).await;
    let (mut behind, mut ahead) = (Loaded::<Book>::default(), Loaded::<Book>::default());
    let store = log.store();
    ahead.catch_up(&*store, &its_stream()).await.expect("a load");
    log.cut(&its_stream(), 4).await;
    assert!(is_hole(&load(log).await, 4));
    assert!(behind.catch_up(&*store, &its_stream()).await.is_err());
    assert_eq!(ahead.catch_up(&*store, &its_stream()).await.expect("nothing"), 0);
    assert_eq!(told(ahead), (15, 5));
}

/// The state is what it would be with all of its events.
pub async fn an_event_that_tells_all_begins_a_cut_aggregate(log: &Log) {
    book(log, 1..=3).await;
    let mut behind = log.store().load::<Book>(&1).await.expect("a load");
    book(log, [4]).await;
    write(log, BookEvent::Closed { balance: 10 }).await;
    book(log, [5]).await;
    assert_eq!(load(log).await.expect("a load"), (15, 6));
    log.cut(&its_stream(), 5).await;
    assert_eq!(load(log).await.expect("a load"), (15, 6));
    behind.catch_up(&*log.store(), &its_stream()).await.expect("what came after");
    assert_eq!(told(behind), (15, 6));
    log.cut(&its_stream(), 6).await;
    assert!(is_hole(&load(log).await, 6));
}

/// Loads through a snapshot of the book as it is at this version.
async fn load_at<S: EventStore + ?Sized>(
    store: &S,
    balance: u64,
    version: u64,
) -> Result<(u64, u64), LoadError> {
    let snapshots = Arc::new(MemorySnapshots::new());
    let state = serde_json::to_vec(&Book { balance }).expect("a state");
    let (version, json) = (Version::new(version), ContentType::JSON);
    let snapshot = Snapshot::new(version, Book::FINGERPRINT, json, state);
    snapshots.save(&its_stream(), snapshot).await.expect("a place for a snapshot");
    let never = SnapshotPolicy::every(u64::MAX);
    let snapshotting = Snapshotting::new(snapshots, never, World::real());
    snapshotting.load::<Book, _>(store, &its_stream()).await.map(told)
}

/// At the version of the marker, or after it.
pub async fn a_snapshot_behind_the_cut_goes_on(log: &Log) {
    book(log, 1..=6).await;
    for before in [3, 4, 5] {
        log.cut(&its_stream(), before).await;
        assert_eq!(load_at(&*log.store(), 10, 4).await.expect("a load"), (21, 6));
    }
}

/// The load begins with what remains, and so it does if the snapshot is gone on
/// with already.
pub async fn a_snapshot_before_the_cut_is_not_used(log: &Log) {
    book(log, 1..=4).await;
    write(log, BookEvent::Closed { balance: 10 }).await;
    book(log, [5, 6]).await;
    log.cut(&its_stream(), 5).await;
    assert_eq!(load_at(&*log.store(), 3, 2).await.expect("a load"), (21, 7));
    log.cut(&its_stream(), 6).await;
    assert!(is_hole(&load_at(&*log.store(), 3, 2).await, 6));
}

/// Nor is its state, if it is of a version that came back.
pub async fn a_snapshot_from_before_a_deletion_is_not_used(log: &Log) {
    book(log, [1, 2]).await;
    log.end(&its_stream()).await;
    assert_eq!(load_at(&*log.store(), 3, 2).await.expect("a load"), (0, 3));
    book(log, [7]).await;
    assert_eq!(load_at(&*log.store(), 3, 2).await.expect("a load"), (7, 4));
}

/// A log that is cut between the first read and the second.
struct Cut(Arc<dyn Retention>, AtomicUsize);

#[async_trait]
impl EventStore for Cut {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.0.append(batch).await
    }

    fn read(&self, read: Read) -> Pages {
        let log = Arc::clone(&self.0);
        if self.1.fetch_add(1, Ordering::Relaxed) != 1 {
            return log.read(read);
        }
        let pages = async move {
            log.truncate(&its_stream(), Version::new(5)).await.expect("a truncation");
            log.read(read)
        };
        stream::once(pages).flatten().boxed()
    }

    fn follow(&self, read: Read) -> Pages {
        self.0.follow(read)
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
}

/// That has begun with a snapshot from before it.
pub async fn a_cut_under_a_load_is_overcome(log: &Log) {
    book(log, 1..=4).await;
    write(log, BookEvent::Closed { balance: 10 }).await;
    write(log, BookEvent::Closed { balance: 30 }).await;
    let cut = Cut(log.store(), AtomicUsize::new(0));
    assert_eq!(load_at(&cut, 3, 2).await.expect("a load"), (30, 6));
}
