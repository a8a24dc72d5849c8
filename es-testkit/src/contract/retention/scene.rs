//! Short words for what promises do again and again.

use std::sync::Arc;

use es_core::{
    AppendError, Appended, Batch, Conflict, EventStoreExt, Expected, Keep, Pages, Read,
    RecordedEvent, Retention, StreamId, Version,
};
use futures_util::TryStreamExt;

use super::Retaining;
use crate::{contract::Site, fake};

pub(super) type Log = Site<Retaining>;

pub(super) fn stream(id: &str) -> StreamId {
    StreamId::new("thing", id).expect("a short name")
}

pub(super) fn exact(version: u64) -> Expected {
    Expected::Exact(Version::new(version))
}

/// A batch of `count` events for `stream`.
pub(super) fn to(stream: &StreamId, count: usize) -> Batch {
    Batch::to(stream.clone()).events(fake::events(count))
}

pub(super) fn things() -> Keep {
    Keep::category("thing").expect("a category")
}

pub(super) fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version.get()).collect()
}

pub(super) fn conflict(refusal: AppendError) -> Conflict {
    match refusal {
        AppendError::Conflict(conflict) => *conflict,
        other => panic!("a conflict was due, not {other:?}"),
    }
}

impl Site<Retaining> {
    pub(super) fn store(&self) -> Arc<dyn Retention> {
        Arc::clone(&self.log)
    }

    /// Appends what must go through.
    pub(super) async fn must(&self, batch: Batch) -> Appended {
        self.append(batch).await.expect("an append that nothing is against")
    }

    /// Lets the stream have `count` more events, each with an append of its own.
    pub(super) async fn have(&self, stream: &StreamId, count: usize) {
        for _ in 0..count {
            self.must(to(stream, 1)).await;
        }
    }

    pub(super) async fn cut(&self, stream: &StreamId, before: u64) -> u64 {
        self.truncate(stream, Version::new(before)).await.expect("a truncation")
    }

    pub(super) async fn end(&self, stream: &StreamId) -> Appended {
        self.delete(stream, Expected::Any).await.expect("a deletion that nothing is against")
    }

    pub(super) async fn keeping(&self, keep: Keep) -> (u64, u64) {
        let removed = self.retain(keep).await.expect("a retention");
        (removed.streams, removed.events)
    }

    pub(super) async fn find(&self, read: Read) -> Vec<RecordedEvent> {
        self.events(read).await.expect("a read that succeeds")
    }

    pub(super) async fn of(&self, stream: &StreamId) -> Vec<RecordedEvent> {
        self.find(Read::stream(stream)).await
    }

    pub(super) async fn everything(&self) -> Vec<RecordedEvent> {
        self.find(Read::all().every_tenant()).await
    }
}

/// Follows until this many events came, or forever.
pub(super) async fn next(pages: &mut Pages, count: usize) -> Vec<RecordedEvent> {
    let mut events = Vec::new();
    while events.len() < count {
        let page = pages.try_next().await.expect("a follower does not fail");
        events.extend(page.expect("a follower does not end").events);
    }
    events
}
