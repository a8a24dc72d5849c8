use std::ops::Deref;

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Codec, EncodeError, EventId, Metadata, Name, NameError, NewEvent, RecordedEvent, Tag, World,
};

/// Something that happened: an enum with a variant for each type of event, or
/// a struct for a single one.
///
/// `#[derive(Event)]` writes the implementation. On the wire an event is its
/// type's name, a schema version, and the fields of its variant; the names of
/// Rust types never appear.
///
/// ```
/// use es_core::{Codec, Event};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
/// #[event(prefix = "account")]
/// enum AccountEvent {
///     Opened { owner: String },
///     #[event(version = 2, alias = "account.paid_in")]
///     Deposited { amount: u64 },
/// }
///
/// let event = AccountEvent::Deposited { amount: 5 };
/// assert_eq!(event.event_type().name, "account.deposited");
/// let bytes = Codec::Json.encode(&event)?;
/// assert_eq!(bytes, r#"{"amount":5}"#);
/// # Ok::<(), es_core::EncodeError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    note = "write `#[derive(Serialize, Deserialize, Event)] #[event(prefix = \"…\")]` above it"
)]
pub trait Event: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The types of event, one for each variant and in the variants' order.
    const TYPES: &'static [EventType];

    /// The place of this event's type in [`TYPES`](Event::TYPES).
    fn index(&self) -> usize;

    /// The labels by which criteria find this event.
    ///
    /// # Errors
    ///
    /// [`NameError`] if a value makes no tag: it is too long, for instance.
    fn tags(&self) -> Result<Vec<Tag>, NameError> {
        Ok(Vec::new())
    }

    /// The type of this event.
    fn event_type(&self) -> &'static EventType {
        &Self::TYPES[self.index()]
    }

    /// The place in [`TYPES`](Event::TYPES) of the type that goes, or once
    /// went, by this name.
    fn index_of(name: &str) -> Option<usize> {
        Self::TYPES.iter().position(|known| known.name == name || known.aliases.contains(&name))
    }
}

/// The wire name of a type of event, its schema version and its former names.
///
/// ```
/// use es_core::EventType;
///
/// const OPENED: EventType = EventType::new("account.opened").version(2).aliases(&["account.created"]);
/// assert_eq!((OPENED.name, OPENED.version), ("account.opened", 2));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventType {
    /// The name on the wire, `account.deposited`.
    pub name: &'static str,
    /// The version of the schema in which this program writes, from 1.
    pub version: u32,
    /// Names under which earlier programs wrote it.
    pub aliases: &'static [&'static str],
}

impl EventType {
    /// Version 1 of the type `name`.
    pub const fn new(name: &'static str) -> Self {
        Self { name, version: 1, aliases: &[] }
    }

    /// Sets the schema version.
    #[must_use]
    pub const fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Sets the former names.
    #[must_use]
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

impl NewEvent {
    /// The event to append for `event`, encoded with `codec`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if serde cannot write the event.
    pub fn encode<E: Event>(event: &E, id: EventId, codec: Codec) -> Result<Self, EncodeError> {
        let kind = event.event_type();
        Ok(Self {
            id,
            event_type: Name::from_static(kind.name),
            schema_version: kind.version,
            content_type: codec.content_type(),
            tags: event.tags().map_err(EncodeError::new)?,
            metadata: Metadata::new(),
            payload: codec.encode(event)?,
        })
    }

    /// The events to append for `events`, with ids from `world`.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if serde cannot write one of them.
    pub fn encode_all<E: Event>(
        events: &[E],
        world: &World,
        codec: Codec,
    ) -> Result<Vec<Self>, EncodeError> {
        let mut encoded = Vec::with_capacity(events.len());
        for (event, id) in events.iter().zip(world.event_ids()) {
            encoded.push(Self::encode(event, id, codec)?);
        }
        Ok(encoded)
    }
}

/// An event of the program's own type, beside the envelope that it came in.
/// It reads like the envelope.
///
/// ```
/// use es_core::{Event, Recorded};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "bell.rung")]
/// struct Rung { times: u32 }
///
/// fn line(rung: Recorded<'_, Rung>) -> String {
///     format!("{}: {} rang {} times", rung.recorded_at, rung.stream, rung.event.times)
/// }
/// ```
#[derive(Debug)]
pub struct Recorded<'a, E> {
    /// What happened.
    pub event: &'a E,
    /// Where, when and in which order.
    pub envelope: &'a RecordedEvent,
}

impl<E> Clone for Recorded<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Recorded<'_, E> {}

impl<E> Deref for Recorded<'_, E> {
    type Target = RecordedEvent;

    fn deref(&self) -> &RecordedEvent {
        self.envelope
    }
}
