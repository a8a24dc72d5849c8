use async_trait::async_trait;
use chrono::Datelike;
use thiserror::Error;

use crate::{
    Pages, Position, RecordedEvent, StoreError, StoreErrorKind, Version, envelope::Envelope,
};

/// Takes recorded events as they are: for stores that another one moves to.
///
/// # Promises
///
/// - Positions, versions, times and append ids stay what they were. A stream may
///   begin above version 1; from there on its versions have no hole.
/// - All events are there with `Ok`, and none before. A failure, a kill, or a
///   call that is dropped leaves the store as empty as it was.
/// - Only an empty store imports: one without events, append ids and claims.
/// - Later appends go on behind the last position and version, an append whose
///   id came along is repeated and not doubled, and a checkpoint of the source
///   that is not behind the last position holds here too.
///
/// The answer to such a repeated append knows no write that had no events, and
/// takes events that follow each other in one stream for one write. Claims are
/// no events; take them again.
///
/// ```
/// use es_core::{Batch, ContentType, EventStore, EventStoreExt, Import, Name, NewEvent, Read, StreamId, World};
/// use es_core::memory::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (old, new) = (MemoryStore::new(), MemoryStore::new());
/// let rung = NewEvent::raw(World::real().event_id(), Name::new("bell.rung")?, ContentType::JSON, "{}");
/// old.append(Batch::to(StreamId::new("bell", "north")?).event(rung)).await?;
///
/// let everything = Read::all().every_tenant();
/// new.import(old.read(everything.clone())).await?;
/// assert_eq!(new.events(everything.clone()).await?, old.events(everything).await?);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Import: Send + Sync + 'static {
    /// Takes all events of the pages, or none.
    ///
    /// # Errors
    ///
    /// [`ImportError`] says what is in the way.
    async fn import(&self, pages: Pages) -> Result<Imported, ImportError>;
}

/// What an import did.
///
/// ```
/// assert_eq!(es_core::Imported::default().events, 0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// How many events it took.
    pub events: u64,
    /// The position of the last one.
    pub position: Position,
}

impl Imported {
    /// Checks the next event, and counts it; for writers of stores.
    ///
    /// # Errors
    ///
    /// [`ImportError::Invalid`] if it does not stand behind the last one, or if
    /// no store could have recorded it.
    pub fn take(&mut self, event: &RecordedEvent) -> Result<(), ImportError> {
        let refuse = |why: &str| Err(ImportError::invalid(event.position, why));
        if event.position <= self.position {
            return refuse("its position is not behind the one before it");
        }
        if event.position.get() > MOST || event.version.get() > MOST {
            return refuse("its position or version is beyond what a store can count");
        }
        if event.version == Version::NONE {
            return refuse("versions begin at 1");
        }
        if !(0..=9999).contains(&event.recorded_at.year()) {
            return refuse("it was recorded in no year from 0 to 9999");
        }
        if event.event_type.starts_with('$') {
            return refuse("names of types do not begin with $");
        }
        let RecordedEvent { event_type, content_type, tags, metadata, payload, .. } = event;
        let envelope = Envelope { event_type, content_type, tags, metadata, payload };
        envelope.check().map_err(|bound| ImportError::invalid(event.position, bound))?;
        *self = Self { events: self.events + 1, position: event.position };
        Ok(())
    }
}

/// As far as the positions of every store reach.
const MOST: u64 = (1 << 47) - 1;

/// Why an import did not happen. The store is as empty as it was.
///
/// ```
/// use es_core::ImportError;
///
/// assert!(ImportError::NotEmpty.to_string().contains("copy"));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The store has events, append ids or claims: import into an empty one, or
    /// [`copy`](crate::copy()).
    #[error("the store is not empty, import into an empty one or copy into this one")]
    NotEmpty,
    /// An event that no store takes: repair the source.
    #[error("the event at position {position} cannot be imported: {why}")]
    Invalid {
        /// Where it stands.
        position: Position,
        /// What is wrong with it.
        why: String,
    },
    /// The events could not be read.
    #[error("nothing was imported, as the events could not be read: {0}")]
    Source(#[source] StoreError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImportError {
    /// An event that cannot be taken; for writers of stores.
    pub fn invalid(position: Position, why: impl ToString) -> Self {
        Self::Invalid { position, why: why.to_string() }
    }

    /// A store with models that change with each append, which an import would pass by; for
    /// writers of stores.
    pub fn inline() -> Self {
        let why = "a read model of the store changes with each append, let workers keep it first";
        Self::Store(StoreError::new(StoreErrorKind::Invalid, why))
    }

    /// An event whose version does not follow the one before it in its stream;
    /// for writers of stores.
    pub fn hole(position: Position) -> Self {
        Self::invalid(position, "its version does not follow the one before it in its stream")
    }
}
