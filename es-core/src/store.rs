use std::{fmt, sync::Arc};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use crate::{
    AppendError, Batch, Lag, Position, Read, RecordedEvent, Snapshot, Snapshots, StoreError,
    StoreErrorKind, StreamId, Version, lag,
};

/// The log: the one port that every store implements.
///
/// # Promises
///
/// - `Ok` from [`append`](Self::append) means that the store has made the batch
///   as durable as its [`Abilities`] say.
/// - A batch is appended wholly or not at all. Of several writers that expect
///   one version exactly one wins. The same append id never makes a second copy.
/// - Positions grow in one order that never changes, each stream in version
///   order; nothing appears before a position that a reader has passed.
/// - A call that is dropped half-way leaves nothing half done: the append
///   happened or it did not, and the same append id tells which.
///
/// [`EventStoreExt`] is for callers. `es-testkit` holds each promise as a test.
///
/// ```
/// use es_core::{Batch, ContentType, EventStore, EventStoreExt, Name, NewEvent, Read, StreamId, World};
/// use es_core::memory::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let stream = StreamId::new("bell", "north")?;
/// let rung = NewEvent::raw(World::real().event_id(), Name::new("bell.rung")?, ContentType::JSON, "{}");
/// let appended = store.append(Batch::to(stream.clone()).event(rung)).await?;
///
/// let events = store.events(Read::stream(&stream)).await?;
/// assert_eq!(events[0].position, appended.position);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait EventStore: Send + Sync + 'static {
    /// Appends the whole batch, or nothing.
    ///
    /// # Errors
    ///
    /// [`AppendError`] says what the caller can do.
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError>;

    /// Reads the events that are in the log now, by the page.
    fn read(&self, read: Read) -> Pages;

    /// Reads a stream [from the snapshot on](Read::from_snapshot) that is kept of it
    /// there, and hands over both; all of the stream, if there is none or it cannot be
    /// had. The events are at least as new as the snapshot.
    ///
    /// A store that keeps the snapshots itself asks for both at once.
    async fn read_from_snapshot(&self, stream: &StreamId, snapshots: &dyn Snapshots) -> Snapped {
        let snapshot = snapshots.load(stream).await;
        let whole = Read::stream(stream);
        let read = match &snapshot {
            Ok(Some(snapshot)) => whole.from_snapshot(snapshot),
            _ => whole,
        };
        Snapped { snapshot, pages: self.read(read) }
    }

    /// Reads the events that are in the log, and then each new one, for ever.
    /// The request goes forwards and has no limit.
    fn follow(&self, read: Read) -> Pages;

    /// How far a follower of the whole log may read now: nothing is going to be appended at
    /// or before it. That is the last event, unless the store shows what was committed
    /// while others are still at what comes before.
    async fn horizon(&self) -> Result<Position, StoreError> {
        self.head().await
    }

    /// What this store can do, and how durable it is.
    fn abilities(&self) -> Abilities;
}

/// Pages of events, as they come; after an error there is nothing more.
pub type Pages = BoxStream<'static, Result<Page, StoreError>>;

/// Some events, and how far the reader has come.
///
/// ```
/// use es_core::{Page, Position};
///
/// let nothing_matched = Page { events: vec![], through: Position::new(512) };
/// assert!(nothing_matched.events.is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The events, in the order of the request.
    pub events: Vec<RecordedEvent>,
    /// When reading forwards: every event at or before this position that the
    /// request asks for has been offered. A checkpoint may move here, even if
    /// no event came with it.
    pub through: Position,
}

/// A stream from its snapshot on.
///
/// ```
/// use es_core::{EventStore, StreamId};
/// use es_core::memory::{MemorySnapshots, MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (store, snapshots) = (MemoryStore::new(), MemorySnapshots::new());
/// let ada = StreamId::new("account", "ada")?;
/// let snapped = store.read_from_snapshot(&ada, &snapshots).await;
/// assert_eq!(snapped.snapshot?, None);
/// # Ok(())
/// # }
/// ```
pub struct Snapped {
    /// The snapshot, if there is one; why it cannot be had.
    pub snapshot: Result<Option<Snapshot>, StoreError>,
    /// The events from the last one on that the snapshot reflects; without a snapshot
    /// all of them.
    pub pages: Pages,
}

impl fmt::Debug for Snapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapped").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

/// What an append did.
///
/// ```
/// use es_core::{Appended, Position, Version, Written};
///
/// let appended = Appended {
///     writes: vec![Written { version: Version::new(2), position: Position::new(9) }],
///     position: Position::new(9),
///     repeated: false,
/// };
/// assert_eq!(appended.version(), Version::new(2));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended {
    /// For each write of the batch, in order.
    pub writes: Vec<Written>,
    /// The position of the last event.
    pub position: Position,
    /// Whether it was in the log already, from an earlier try with the same id.
    pub repeated: bool,
}

/// What one write did.
///
/// ```
/// use es_core::{Position, Version, Written};
///
/// assert_eq!(Written::default().version, Version::NONE);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// The version of the stream after it.
    pub version: Version,
    /// The position of its last event; [`Position::START`] if it had none.
    pub position: Position,
}

impl Appended {
    /// The version of the last write's stream after it.
    pub fn version(&self) -> Version {
        self.writes.last().map_or(Version::NONE, |write| write.version)
    }
}

/// What a store can do. What it cannot do it refuses with
/// [`StoreErrorKind::Unsupported`], and the contract suite asserts that.
///
/// ```
/// use es_core::{Abilities, Durability};
///
/// let all = Abilities::all(Durability::Fsync);
/// assert!(all.criteria && all.many_streams && all.claims);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// What `Ok` from an append means.
    pub durability: Durability,
    /// Batches with more than one stream.
    pub many_streams: bool,
    /// Conditions over the whole log, and reads of what matches criteria.
    pub criteria: bool,
    /// Unique claims.
    pub claims: bool,
    /// What it wrote is there when it is opened again.
    pub reopens: bool,
}

impl Abilities {
    /// Everything, with this durability.
    pub const fn all(durability: Durability) -> Self {
        Self { durability, many_streams: true, criteria: true, claims: true, reopens: true }
    }
}

/// What `Ok` from an append means, from weak to strong.
///
/// ```
/// use es_core::Durability;
///
/// assert!(Durability::Fsync > Durability::OsBuffered);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// The process remembers it.
    Memory,
    /// The operating system has it: it survives a crash of the process, not of
    /// the machine.
    OsBuffered,
    /// The disk, or a quorum, has confirmed it.
    Fsync,
}

/// What callers want of every store.
///
/// ```
/// use es_core::{Durability, EventStoreExt, memory::MemoryStore};
///
/// assert!(MemoryStore::new().require_durable(Durability::Fsync).is_err());
/// ```
pub trait EventStoreExt: EventStore {
    /// Reads all events of the request into memory.
    fn events(
        &self,
        read: Read,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send {
        let pages = self.read(read);
        async move {
            let all = Vec::new();
            pages
                .try_fold(all, async |mut all, page| {
                    all.extend(page.events);
                    Ok(all)
                })
                .await
        }
    }

    /// The events of the request one by one.
    fn stream(&self, read: Read) -> BoxStream<'static, Result<RecordedEvent, StoreError>> {
        each(self.read(read))
    }

    /// The events of the request one by one, and then each new one, for ever.
    fn tail(&self, read: Read) -> BoxStream<'static, Result<RecordedEvent, StoreError>> {
        each(self.follow(read))
    }

    /// The version of a stream; [`Version::NONE`] if it has no events.
    fn version(
        &self,
        stream: &StreamId,
    ) -> impl Future<Output = Result<Version, StoreError>> + Send {
        let last = self.events(Read::stream(stream).backwards().limit(1));
        async move { Ok(last.await?.first().map_or(Version::NONE, |event| event.version)) }
    }

    /// The position of the last event of any tenant; [`Position::START`] in an
    /// empty log.
    fn head(&self) -> impl Future<Output = Result<Position, StoreError>> + Send {
        let last = self.events(Read::all().every_tenant().backwards().limit(1));
        async move { Ok(last.await?.first().map_or(Position::START, |event| event.position)) }
    }

    /// How far a follower of this request is behind at `now`; its checkpoint is
    /// what the request is [`after`](Read::after). It takes a few short searches,
    /// however long the log is, and counts what the store still holds back from
    /// followers.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store cannot be read.
    fn lag(
        &self,
        read: Read,
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<Lag, StoreError>> + Send {
        lag::lag(self, read, now)
    }

    /// Refuses a store that promises less than `wanted`.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Unsupported`] with what the store promises.
    fn require_durable(&self, wanted: Durability) -> Result<(), StoreError> {
        let given = self.abilities().durability;
        if given >= wanted {
            return Ok(());
        }
        let message = format!("the store promises {given:?}, {wanted:?} is required");
        Err(StoreError::new(StoreErrorKind::Unsupported, message))
    }
}

impl<S: EventStore + ?Sized> EventStoreExt for S {}

fn each(pages: Pages) -> BoxStream<'static, Result<RecordedEvent, StoreError>> {
    pages.map_ok(|page| stream::iter(page.events.into_iter().map(Ok))).try_flatten().boxed()
}

#[async_trait]
impl<S: EventStore + ?Sized> EventStore for Arc<S> {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        (**self).append(batch).await
    }

    fn read(&self, read: Read) -> Pages {
        (**self).read(read)
    }

    async fn read_from_snapshot(&self, stream: &StreamId, snapshots: &dyn Snapshots) -> Snapped {
        (**self).read_from_snapshot(stream, snapshots).await
    }

    fn follow(&self, read: Read) -> Pages {
        (**self).follow(read)
    }

    async fn horizon(&self) -> Result<Position, StoreError> {
        (**self).horizon().await
    }

    fn abilities(&self) -> Abilities {
        (**self).abilities()
    }
}
