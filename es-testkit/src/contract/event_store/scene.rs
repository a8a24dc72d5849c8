//! Short words for what promises do again and again.

use std::{collections::BTreeMap, sync::Arc};

use es_core::{
    AppendError, AppendId, Appended, Batch, Conflict, EventStore, EventStoreExt, Expected, Name,
    NewEvent, Page, Pages, Position, Read, RecordedEvent, StoreErrorKind, StreamId, Version,
};
use futures_util::TryStreamExt;

use crate::{contract::Site, fake};

/// The log on which a promise is tried.
pub(super) type Log = Site<dyn EventStore>;

pub(super) fn stream(id: &str) -> StreamId {
    StreamId::new("thing", id).expect("a short name")
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(super) fn exact(version: u64) -> Expected {
    Expected::Exact(Version::new(version))
}

/// A batch of `count` events for `stream`.
pub(super) fn to(stream: &StreamId, count: usize) -> Batch {
    Batch::to(stream.clone()).events(fake::events(count))
}

/// A batch of one event for `stream`.
pub(super) fn with(stream: &StreamId, event: impl Into<NewEvent>) -> Batch {
    Batch::to(stream.clone()).event(event.into())
}

/// A category under the name of a read that cannot fail.
pub(super) fn category(category: &str) -> Read {
    Read::category(category).expect("a category without a hyphen")
}

pub(super) fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.get()).collect()
}

pub(super) fn positions(events: &[RecordedEvent]) -> Vec<Position> {
    events.iter().map(|event| event.position).collect()
}

pub(super) fn reversed<T>(mut items: Vec<T>) -> Vec<T> {
    items.reverse();
    items
}

pub(super) fn conflict(refusal: AppendError) -> Conflict {
    match refusal {
        AppendError::Conflict(conflict) => *conflict,
        other => panic!("a conflict was due, not {other:?}"),
    }
}

pub(super) fn overtaken(refusal: AppendError) -> Position {
    match refusal {
        AppendError::Overtaken { position } => position,
        other => panic!("a condition should have stopped it, not {other:?}"),
    }
}

pub(super) fn holder(refusal: AppendError) -> StreamId {
    match refusal {
        AppendError::Claimed { holder, .. } => holder,
        other => panic!("a claim should have stopped it, not {other:?}"),
    }
}

pub(super) fn known(refusal: AppendError) -> Vec<(AppendId, Appended)> {
    match refusal {
        AppendError::Repeated { known } => known,
        other => panic!("the known appends were due, not {other:?}"),
    }
}

impl Site<dyn EventStore> {
    /// Appends what must go through.
    pub(super) async fn must(&self, batch: Batch) -> Appended {
        self.append(batch).await.expect("an append that nothing is against")
    }

    /// Appends what must not go through.
    pub(super) async fn refused(&self, batch: Batch) -> AppendError {
        self.append(batch).await.expect_err("an append that must be refused")
    }

    /// Lets the stream have `count` more events.
    pub(super) async fn have(&self, stream: &StreamId, count: usize) -> Appended {
        self.must(to(stream, count)).await
    }

    pub(super) async fn find(&self, read: Read) -> Vec<RecordedEvent> {
        self.events(read).await.expect("a read that succeeds")
    }

    pub(super) async fn of(&self, stream: &StreamId) -> Vec<RecordedEvent> {
        self.find(Read::stream(stream)).await
    }

    /// The whole log, of every tenant.
    pub(super) async fn everything(&self) -> Vec<RecordedEvent> {
        self.find(Read::all().every_tenant()).await
    }

    /// The pages of a read.
    pub(super) async fn pages(&self, read: Read) -> Vec<Page> {
        self.read(read).try_collect().await.expect("a read that succeeds")
    }

    /// Asserts that a refused batch left no trace.
    pub(super) async fn assert_holds(&self, events: usize) {
        assert_eq!(self.everything().await.len(), events, "a refused batch leaves no trace");
    }
}

/// A follower that collects what it is offered.
pub(super) struct Follower {
    pages: Pages,
    pub(super) events: Vec<RecordedEvent>,
    pub(super) through: Position,
}

impl Follower {
    pub(super) fn new(store: &Arc<dyn EventStore>, read: Read) -> Self {
        let through = read.after;
        Self { pages: store.follow(read), events: Vec::new(), through }
    }

    /// Follows until this event came, or forever.
    pub(super) async fn until(&mut self, last: Position) -> &[RecordedEvent] {
        while self.events.last().is_none_or(|event| event.position < last) {
            self.turn().await;
        }
        &self.events
    }

    /// Follows until the checkpoint has reached this position, or forever.
    pub(super) async fn past(&mut self, position: Position) -> &[RecordedEvent] {
        while self.through < position {
            self.turn().await;
        }
        &self.events
    }

    async fn turn(&mut self) {
        tokio::task::yield_now().await;
        let page = self.pages.try_next().await.expect("a follower does not fail");
        let page = page.expect("a follower does not end");
        assert!(page.through >= self.through, "a checkpoint does not go back");
        self.through = page.through;
        self.events.extend(page.events);
    }

    /// The refusal of a request that cannot be followed.
    pub(super) async fn refusal(mut self) -> StoreErrorKind {
        let first = self.pages.try_next().await;
        first.expect_err("a request that cannot be followed").kind()
    }
}

/// Asserts positions that increase, and streams whose versions are dense.
pub(super) fn assert_in_order(log: &[RecordedEvent]) {
    let in_order = log.is_sorted_by(|one, next| one.position < next.position);
    assert!(in_order, "positions increase strictly");
    let mut streams: BTreeMap<&StreamId, Version> = BTreeMap::new();
    for event in log {
        let version = streams.entry(&event.stream).or_default();
        *version = version.plus(1);
        assert_eq!(event.version, *version, "the versions of {} are dense", event.stream);
    }
}
