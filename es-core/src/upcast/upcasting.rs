use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{check::UpcastError, rules::Rules, runs::Runs, upcasters::Upcasters};
use crate::{
    Abilities, AppendError, Appended, Batch, Direction, EventStore, Expected, Keep, Page, Pages,
    Position, Read, RecordedEvent, Removed, Retention, Snapped, Snapshots, StoreError, StreamId,
    Version,
};

/// A store around a store that hands out old events as new ones; what is
/// recorded never changes. Clones share both.
///
/// # Promises
///
/// - The rules hold for every event that the store hands out: reads, follows,
///   and the unseen events of a conflict.
/// - A request for types finds old events that become one of them. So do the
///   conditions of an append, which may take an old event for more than it
///   becomes and ask to decide again once too often, never once too seldom.
/// - Each recorded event keeps its place: a dropped one leaves a
///   [`DROPPED`](crate::DROPPED) marker, unless the request names types, and
///   [`Page::through`] moves past it.
/// - A limit counts recorded events; what one of them became is never torn
///   apart.
/// - Nothing is skipped: where a rule fails, or a payload that it wants cannot
///   be decoded, the read ends with [`Invalid`](crate::StoreErrorKind::Invalid)
///   and says which event it is. So does an append whose conflict holds one.
///
/// ```
/// use es_core::{
///     Batch, ContentType, EventStore, EventStoreExt, Name, NewEvent, Read, StreamId, Upcasters,
///     Upcasting, World, memory::MemoryStore,
/// };
/// use serde_json::json;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rung = Name::from_static("bell.rung");
/// let store = MemoryStore::new();
/// let stream = StreamId::new("bell", "north")?;
/// let old = NewEvent::raw(World::real().event_id(), rung.clone(), ContentType::JSON, "{}");
/// store.append(Batch::to(stream.clone()).event(old)).await?;
///
/// let upcasters = Upcasters::new().one_to_one(rung, 1, |mut data| {
///     data["times"] = json!(1);
///     Ok(data)
/// });
/// let store = Upcasting::new(store, upcasters)?;
/// let events = store.events(Read::stream(&stream)).await?;
/// assert_eq!(events[0].payload, r#"{"times":1}"#);
/// assert_eq!(events[0].schema_version, 2);
/// # Ok(())
/// # }
/// ```
pub struct Upcasting<S> {
    inner: Arc<S>,
    rules: Arc<Rules>,
}

impl<S: EventStore> Upcasting<S> {
    /// Puts the rules around `store`.
    ///
    /// # Errors
    ///
    /// [`UpcastError`] if the rules contradict one another or have no end.
    pub fn new(store: S, upcasters: Upcasters) -> Result<Self, UpcastError> {
        Ok(Self { inner: Arc::new(store), rules: Arc::new(upcasters.check()?) })
    }

    fn pages(&self, pages: Pages, read: Read, limit: Option<u64>) -> Pages {
        let reader = Reader {
            store: self.clone(),
            pages,
            direction: read.direction,
            sieve: self.rules.sift(&read).then_some(read),
            left: limit.unwrap_or(u64::MAX),
        };
        stream::try_unfold(reader, Reader::next).boxed()
    }

    async fn upcast(
        &self,
        mut events: Vec<RecordedEvent>,
        direction: Direction,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let first = events.iter().position(|event| self.rules.touch(event));
        let Some(first) = first else { return Ok(events) };
        let rest = events.split_off(first);
        let runs = Runs::find(&self.rules, &*self.inner, &rest).await?;
        for event in rest {
            let before = events.len();
            self.rules.apply(event, &runs, &mut events)?;
            if direction == Direction::Backwards {
                events[before..].reverse();
            }
        }
        Ok(events)
    }
}

impl<S: EventStore> Upcasting<S> {
    /// The unseen events of a conflict as this program knows them.
    async fn told(&self, appended: Result<Appended, AppendError>) -> Result<Appended, AppendError> {
        match appended {
            Err(AppendError::Conflict(mut conflict)) => {
                conflict.unseen = self.upcast(conflict.unseen, Direction::Forwards).await?;
                Err(AppendError::Conflict(conflict))
            }
            result => result,
        }
    }
}

#[async_trait]
impl<S: Retention> Retention for Upcasting<S> {
    async fn truncate(&self, stream: &StreamId, before: Version) -> Result<u64, StoreError> {
        self.inner.truncate(stream, before).await
    }

    async fn delete(&self, stream: &StreamId, expected: Expected) -> Result<Appended, AppendError> {
        self.told(self.inner.delete(stream, expected).await).await
    }

    async fn tombstone(
        &self,
        stream: &StreamId,
        expected: Expected,
    ) -> Result<Appended, AppendError> {
        self.told(self.inner.tombstone(stream, expected).await).await
    }

    async fn retain(&self, keep: Keep) -> Result<Removed, StoreError> {
        self.inner.retain(keep).await
    }
}

#[async_trait]
impl<S: EventStore> EventStore for Upcasting<S> {
    async fn append(&self, mut batch: Batch) -> Result<Appended, AppendError> {
        for unless in &mut batch.unless {
            unless.criteria = self.rules.widen_criteria(&unless.criteria);
        }
        let appended = self.inner.append(batch).await;
        self.told(appended).await
    }

    fn read(&self, read: Read) -> Pages {
        let mut wide = self.rules.widen(&read);
        let limit = if self.rules.sift(&read) { wide.limit.take() } else { None };
        self.pages(self.inner.read(wide), read, limit)
    }

    async fn read_from_snapshot(&self, stream: &StreamId, snapshots: &dyn Snapshots) -> Snapped {
        let Snapped { snapshot, pages } = self.inner.read_from_snapshot(stream, snapshots).await;
        Snapped { snapshot, pages: self.pages(pages, Read::stream(stream), None) }
    }

    fn follow(&self, read: Read) -> Pages {
        self.pages(self.inner.follow(self.rules.widen(&read)), read, None)
    }

    async fn horizon(&self) -> Result<Position, StoreError> {
        self.inner.horizon().await
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }
}

/// A read that is under way.
struct Reader<S> {
    store: Upcasting<S>,
    pages: Pages,
    direction: Direction,
    sieve: Option<Read>,
    left: u64,
}

impl<S: EventStore> Reader<S> {
    async fn next(mut self) -> Result<Option<(Page, Self)>, StoreError> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(mut page) = self.pages.try_next().await? else { return Ok(None) };
        page.events = self.store.upcast(page.events, self.direction).await?;
        if let Some(sieve) = &self.sieve {
            page.events.retain(|event| sieve.accepts(event));
        }
        self.cut(&mut page);
        Ok(Some((page, self)))
    }

    /// Ends the page at the last recorded event that the limit allows.
    fn cut(&mut self, page: &mut Page) {
        let mut end = 0;
        for recorded in page.events.chunk_by(|one, next| one.position == next.position) {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            end += recorded.len();
        }
        if let (0, Some(last)) = (self.left, page.events[..end].last()) {
            page.through = last.position;
            page.events.truncate(end);
        }
    }
}

impl<S> Clone for Upcasting<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), rules: Arc::clone(&self.rules) }
    }
}

impl<S: fmt::Debug> fmt::Debug for Upcasting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upcasting").field("inner", &self.inner).field("rules", &self.rules).finish()
    }
}
