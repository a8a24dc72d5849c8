use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    AppendError, Appended, ContentType, EventId, EventStore, Expected, Name, NameError, NewEvent,
    RecordedEvent, StoreError, StreamId, Tenant, Version, stream,
};

/// The type of the event that stands where the last of the removed ones stood.
pub const TRUNCATED: Name = Name::from_static("gesta.truncated");
/// The type of the event that ends a stream, which may begin again.
pub const DELETED: Name = Name::from_static("gesta.deleted");
/// The type of the event that ends a stream for ever.
pub const TOMBSTONED: Name = Name::from_static("gesta.tombstoned");

/// What the types of all markers begin with; no append may use it.
pub(crate) const RESERVED: &str = "gesta.";

/// A log from which events can be removed, for good: payloads, metadata, tags and
/// all. Whoever reads is told by a marker, an ordinary event.
///
/// # Promises
///
/// - What remains keeps its versions and positions. No stream becomes empty, and
///   the end of the log stays where it is.
/// - Each call for a stream is done wholly or not at all, also if it is dropped,
///   and takes its place among the appends to that stream. Made again it changes
///   nothing.
/// - An append that is sent again is answered with its first result, whether its
///   events are there or not. For conditions ([`Unless`](crate::Unless)) they
///   were never there.
///
/// ```
/// use es_core::{AppendError, Batch, ContentType, DELETED, EventStore, EventStoreExt, Expected};
/// use es_core::{Name, NewEvent, Read, Retention, StreamId, TRUNCATED, Version, World};
/// use es_core::memory::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (store, world) = (MemoryStore::new(), World::real());
/// let bell = StreamId::new("bell", "north")?;
/// let rung = || Name::new("bell.rung").map(|name| NewEvent::raw(world.event_id(), name, ContentType::JSON, "{}"));
/// store.append(Batch::to(bell.clone()).events([rung()?, rung()?, rung()?])).await?;
///
/// assert_eq!(store.truncate(&bell, Version::new(3)).await?, 2);
/// let left = store.events(Read::stream(&bell)).await?;
/// assert_eq!(left[0].event_type, TRUNCATED);
/// assert_eq!((left[0].version, left[1].version), (Version::new(2), Version::new(3)));
///
/// store.delete(&bell, Expected::Any).await?;
/// let left = store.events(Read::stream(&bell)).await?;
/// assert_eq!((left.len(), &left[0].event_type), (1, &DELETED));
/// store.append(Batch::to(bell.clone()).event(rung()?)).await?;
///
/// store.tombstone(&bell, Expected::Exists).await?;
/// let late = store.append(Batch::to(bell).event(rung()?)).await;
/// assert!(matches!(late, Err(AppendError::Gone { .. })));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Retention: EventStore {
    /// Removes the events of the stream before this version, but never its last
    /// one; returns how many. In the place of the last that goes stands a
    /// [`TRUNCATED`] from then on, with its version, position and time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn truncate(&self, stream: &StreamId, before: Version) -> Result<u64, StoreError>;

    /// Appends a [`DELETED`] to the stream, and removes all before it, its
    /// snapshots in this store, and the unique claims that it holds.
    ///
    /// What comes after goes on with the next version: an append that expects
    /// [`NoStream`](Expected::NoStream) conflicts, as a stream was there. A
    /// stream that is deleted already is left as it is, whatever is expected, and
    /// the answer is `repeated`.
    ///
    /// # Errors
    ///
    /// [`AppendError::Conflict`] if the stream is not as expected, also with
    /// version [`NONE`](Version::NONE) if it never was; [`AppendError::Store`].
    async fn delete(&self, stream: &StreamId, expected: Expected) -> Result<Appended, AppendError>;

    /// As [`delete`](Self::delete), with a [`TOMBSTONED`], and for ever: each
    /// later append to the stream is refused with [`AppendError::Gone`]. A
    /// deleted stream can be tombstoned.
    ///
    /// # Errors
    ///
    /// As for [`delete`](Self::delete).
    async fn tombstone(
        &self,
        stream: &StreamId,
        expected: Expected,
    ) -> Result<Appended, AppendError>;

    /// Truncates each stream of a category, one after the other, to what is to be
    /// kept. Two that do it at once are not in each other's way.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails; the streams before are truncated.
    async fn retain(&self, keep: Keep) -> Result<Removed, StoreError>;
}

/// What [`retain`](Retention::retain) keeps of each stream of a category, of the
/// default tenant unless it says otherwise. Both conditions hold together; with
/// neither all is kept.
///
/// ```
/// use std::time::Duration;
/// use es_core::{Keep, Tenant};
///
/// const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
/// let keep = Keep::category("session")?.of(Tenant::new("acme")?).newest(100).younger_than(YEAR);
/// assert_eq!(keep.newest, Some(100));
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keep {
    /// Of which streams.
    pub category: Name,
    /// Whose.
    pub tenant: Tenant,
    /// At most this many events, but at least one.
    pub newest: Option<u64>,
    /// No events before the first that is younger, but always the last.
    pub younger_than: Option<Duration>,
}

impl Keep {
    /// All events of this category.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the category is no name or holds a hyphen.
    pub fn category(category: &str) -> Result<Self, NameError> {
        let category = stream::category(category)?;
        Ok(Self { category, tenant: Tenant::default(), newest: None, younger_than: None })
    }

    /// This tenant's streams.
    #[must_use]
    pub fn of(mut self, tenant: Tenant) -> Self {
        self.tenant = tenant;
        self
    }

    /// At most so many events of a stream.
    #[must_use]
    pub fn newest(mut self, events: u64) -> Self {
        self.newest = Some(events);
        self
    }

    /// Only events that are younger.
    #[must_use]
    pub fn younger_than(mut self, age: Duration) -> Self {
        self.younger_than = Some(age);
        self
    }

    /// The time after which events are young enough, for stores; `None` if all
    /// are.
    pub fn since(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        now.checked_sub_signed(TimeDelta::from_std(self.younger_than?).ok()?)
    }
}

/// What [`retain`](Retention::retain) has removed.
///
/// ```
/// assert_eq!(es_core::Removed::default().events, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Removed {
    /// From how many streams.
    pub streams: u64,
    /// How many events.
    pub events: u64,
}

impl Removed {
    /// Counts what was removed from a stream.
    pub fn add(&mut self, events: u64) {
        self.streams += u64::from(events > 0);
        self.events += events;
    }
}

impl NewEvent {
    /// A marker of this type, for stores: it says nothing else.
    pub fn marker(marker: Name, id: EventId) -> Self {
        Self::raw(id, marker, ContentType::JSON, "{}")
    }
}

impl RecordedEvent {
    /// Whether it is a [`TRUNCATED`]: what stood before it is gone.
    pub fn is_truncated(&self) -> bool {
        self.event_type == TRUNCATED
    }

    /// Whether it is a [`DELETED`] or a [`TOMBSTONED`]: what comes after it begins
    /// anew.
    pub fn ends_stream(&self) -> bool {
        self.event_type == DELETED || self.event_type == TOMBSTONED
    }
}

#[async_trait]
impl<S: Retention + ?Sized> Retention for Arc<S> {
    async fn truncate(&self, stream: &StreamId, before: Version) -> Result<u64, StoreError> {
        (**self).truncate(stream, before).await
    }

    async fn delete(&self, stream: &StreamId, expected: Expected) -> Result<Appended, AppendError> {
        (**self).delete(stream, expected).await
    }

    async fn tombstone(
        &self,
        stream: &StreamId,
        expected: Expected,
    ) -> Result<Appended, AppendError> {
        (**self).tombstone(stream, expected).await
    }

    async fn retain(&self, keep: Keep) -> Result<Removed, StoreError> {
        (**self).retain(keep).await
    }
}
