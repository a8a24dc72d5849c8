use std::{fmt, hash::Hash};

use futures_util::TryStreamExt;
use thiserror::Error;

use crate::{
    AppendError, Appended, Batch, Codec, DecodeError, EncodeError, Event, EventId, EventStore,
    Expected, NameError, NewEvent, Position, Read, RecordedEvent, StoreError, StreamId, Version,
    World,
};

/// A fold: a state that events change, one after another, and nothing else
/// does. No clock, no randomness, no I/O, no failure: what happened, happened.
///
/// ```
/// use es_core::{Event, Evolve};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "door")]
/// enum DoorEvent { Opened, Closed }
///
/// #[derive(Default)]
/// struct Door { open: bool }
///
/// impl Evolve for Door {
///     type Event = DoorEvent;
///     fn evolve(&mut self, event: &DoorEvent) {
///         self.open = matches!(event, DoorEvent::Opened);
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a fold",
    note = "write `impl Evolve for {Self}` with its `type Event` and what each event changes"
)]
pub trait Evolve: Default + Send + Sync + 'static {
    /// The events that change it.
    type Event: Event;

    /// Changes the state by one event.
    fn evolve(&mut self, event: &Self::Event);

    /// Whether this event alone tells the whole state, as one that closes the
    /// books: the fold begins anew with it, so that the stream may be
    /// [truncated](crate::Retention::truncate) before it.
    fn is_whole(event: &Self::Event) -> bool {
        let _ = event;
        false
    }
}

/// A fold over one stream, about which decisions are made.
///
/// `#[derive(Aggregate)]` writes the implementation; see there for its
/// attributes.
///
/// ```
/// use es_core::{Aggregate, Event, Evolve};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "door")]
/// enum DoorEvent { Opened, Closed }
///
/// #[derive(Default, Aggregate)]
/// #[aggregate(category = "door", id = u32)]
/// struct Door { open: bool }
///
/// impl Evolve for Door {
///     type Event = DoorEvent;
///     fn evolve(&mut self, event: &DoorEvent) {
///         self.open = matches!(event, DoorEvent::Opened);
///     }
/// }
///
/// assert_eq!(es_core::stream_of::<Door>(&7)?.to_string(), "door-7");
/// # Ok::<(), es_core::NameError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    note = "write `#[derive(Aggregate)] #[aggregate(category = \"…\")]` above it"
)]
pub trait Aggregate: Evolve {
    /// The category of its streams.
    const CATEGORY: &'static str;
    /// Changes with the shape of the state, so that old snapshots are ignored.
    const FINGERPRINT: u64;
    /// What tells one from another.
    type Id: fmt::Display + Clone + Eq + Hash + Send + Sync + 'static;
    /// Why it refuses a command.
    type Error: Send + Sync + 'static;
}

/// The stream of the default tenant that holds the events of this aggregate.
///
/// # Errors
///
/// [`NameError`] if the id does not make a name.
pub fn stream_of<A: Aggregate>(id: &A::Id) -> Result<StreamId, NameError> {
    StreamId::new(A::CATEGORY, id)
}

/// A fold together with how far it has come.
///
/// ```
/// use es_core::{Loaded, Version};
/// # use es_core::{Event, Evolve};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Event)]
/// # #[event(prefix = "door")]
/// # enum DoorEvent { Opened }
/// # #[derive(Default)]
/// # struct Door;
/// # impl Evolve for Door { type Event = DoorEvent; fn evolve(&mut self, _: &DoorEvent) {} }
///
/// let nothing_yet = Loaded::<Door>::default();
/// assert_eq!(nothing_yet.version, Version::NONE);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Loaded<A> {
    /// The state.
    pub state: A,
    /// The version of the stream that the state reflects.
    pub version: Version,
    /// The position of the last event that the state reflects.
    pub position: Position,
    last: Option<EventId>,
}

impl<A: Evolve> Loaded<A> {
    /// A state that was kept elsewhere, a snapshot for instance.
    pub fn at(state: A, version: Version, position: Position) -> Self {
        Self { state, version, position, last: None }
    }

    /// Applies an event of the stream; the events must come without a hole, but
    /// before a deletion or an event that [is whole](Evolve::is_whole).
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the payload cannot be decoded, if the aggregate does not
    /// know the type, or if events before this one are missing.
    pub fn absorb(&mut self, event: &RecordedEvent) -> Result<(), LoadError> {
        if event.is_truncated() {
            // Whether what is gone was needed, the next event tells.
            return Ok(());
        }
        let known = !event.is_dropped() && !event.ends_stream();
        let known = known.then(|| decode_known::<A::Event>(event)).transpose()?;
        let begins = event.ends_stream() || known.as_ref().is_some_and(A::is_whole);
        if !self.leads_to(event, begins) {
            return Err(LoadError::Hole {
                stream: event.stream.clone(),
                after: self.version,
                found: event.version,
            });
        }
        match known {
            Some(known) => self.evolve(&known),
            None if begins => self.state = A::default(),
            None => {}
        }
        (self.version, self.position) = (event.version, event.position);
        self.last = Some(event.id);
        Ok(())
    }

    /// Changes the state by an event that is not appended yet, as
    /// [`absorb`](Self::absorb) will once it is.
    pub fn evolve(&mut self, event: &A::Event) {
        if A::is_whole(event) {
            self.state = A::default();
        }
        self.state.evolve(event);
    }

    fn leads_to(&self, event: &RecordedEvent, begins: bool) -> bool {
        let part_of_the_last = self.last == Some(event.id) && event.version == self.version;
        let is_ahead = event.version > self.version && begins;
        event.version == self.version.plus(1) || is_ahead || part_of_the_last
    }

    /// Reads what came after, and applies it; returns the number of events.
    ///
    /// # Errors
    ///
    /// [`LoadError`], as [`absorb`](Self::absorb); and if the store fails.
    pub async fn catch_up<S>(&mut self, store: &S, stream: &StreamId) -> Result<usize, LoadError>
    where
        S: EventStore + ?Sized,
    {
        let mut pages = store.read(Read::stream(stream).after_version(self.version));
        let mut count = 0;
        while let Some(page) = pages.try_next().await? {
            for event in &page.events {
                self.absorb(event)?;
            }
            count += page.events.len();
        }
        Ok(count)
    }
}

fn decode_known<E: Event>(event: &RecordedEvent) -> Result<E, LoadError> {
    let unknown = || DecodeError::UnknownType { event_type: event.event_type.to_string() };
    let decoded = event.decode().and_then(|event| event.ok_or_else(unknown));
    decoded.map_err(|source| LoadError::Event {
        stream: event.stream.clone(),
        version: event.version,
        position: event.position,
        source,
    })
}

/// Aggregates in a store, without a bus around them.
///
/// ```
/// use es_core::{Aggregate, AggregateStoreExt, Event, Evolve, Version, memory::MemoryStore};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "door")]
/// enum DoorEvent { Opened, Closed }
///
/// #[derive(Default, Aggregate)]
/// struct Door { open: bool }
///
/// impl Evolve for Door {
///     type Event = DoorEvent;
///     fn evolve(&mut self, event: &DoorEvent) {
///         self.open = matches!(event, DoorEvent::Opened);
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let front = String::from("front");
/// let door = store.load::<Door>(&front).await?;
/// store.commit::<Door>(&front, door.version, &[DoorEvent::Opened]).await?;
/// assert!(store.load::<Door>(&front).await?.state.open);
/// # Ok(())
/// # }
/// ```
pub trait AggregateStoreExt: EventStore {
    /// Loads an aggregate of the default tenant by folding its whole stream.
    fn load<A: Aggregate>(
        &self,
        id: &A::Id,
    ) -> impl Future<Output = Result<Loaded<A>, LoadError>> + Send {
        let stream = stream_of::<A>(id);
        async move {
            let mut loaded = Loaded::<A>::default();
            loaded.catch_up(self, &stream?).await?;
            Ok(loaded)
        }
    }

    /// Appends events to an aggregate of the default tenant that is at
    /// `version`, as JSON.
    fn commit<A: Aggregate>(
        &self,
        id: &A::Id,
        version: Version,
        events: &[A::Event],
    ) -> impl Future<Output = Result<Appended, CommitError>> + Send {
        let batch = new_batch::<A>(id, version, events);
        async move { Ok(self.append(batch?).await?) }
    }
}

impl<S: EventStore + ?Sized> AggregateStoreExt for S {}

fn new_batch<A: Aggregate>(
    id: &A::Id,
    version: Version,
    events: &[A::Event],
) -> Result<Batch, CommitError> {
    let world = World::real();
    let events = NewEvent::encode_all(events, &world, Codec::Json)?;
    let batch = Batch::to(stream_of::<A>(id)?).expect(Expected::Exact(version)).events(events);
    Ok(batch.append_id(world.append_id()))
}

/// An aggregate that could not be loaded.
///
/// ```
/// use es_core::{LoadError, StreamId, Version};
///
/// let hole = LoadError::Hole {
///     stream: StreamId::new("account", "ada")?,
///     after: Version::new(3),
///     found: Version::new(9),
/// };
/// assert!(hole.to_string().contains("after version 3"));
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// An event cannot be decoded: fix the type, or upcast; nothing is lost.
    #[error("event {version} of {stream}, at position {position}, cannot be read")]
    Event {
        /// The stream.
        stream: StreamId,
        /// Which of its events.
        version: Version,
        /// The event's position in the log.
        position: Position,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Events are missing: the stream was truncated where neither a snapshot nor
    /// an event that [is whole](Evolve::is_whole) goes on, or the store is damaged.
    #[error("{stream} lacks the events after version {after}, the next one found is {found}")]
    Hole {
        /// The stream.
        stream: StreamId,
        /// The last version that was there.
        after: Version,
        /// The next one that was found.
        found: Version,
    },
    /// The id makes no stream name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Events of an aggregate that could not be appended.
///
/// ```
/// use es_core::{CommitError, StoreError, StoreErrorKind, AppendError};
///
/// let full = AppendError::from(StoreError::new(StoreErrorKind::Full, "no space left"));
/// assert_eq!(CommitError::from(full).to_string(), "no space left");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The store refused or failed.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// An event cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The id makes no stream name.
    #[error(transparent)]
    Name(#[from] NameError),
}
