use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{AppendId, ContentType, EventId, Metadata, Name, Position, StreamId, Tag, Version};

/// The type of an event that an upcaster dropped: it keeps its place, so that
/// versions and checkpoints count it, and every fold passes over it.
pub const DROPPED: Name = Name::from_static("$dropped");

/// An event that is about to be appended.
///
/// ```
/// use es_core::{Codec, ContentType, Event, NewEvent, World};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "bell.rung")]
/// struct Rung { times: u32 }
///
/// let event = NewEvent::encode(&Rung { times: 3 }, World::real().event_id(), Codec::Json)?;
/// assert_eq!(event.event_type, "bell.rung");
/// assert_eq!(event.content_type, ContentType::JSON);
/// # Ok::<(), es_core::EncodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its identity, for ever.
    pub id: EventId,
    /// The wire name of its type.
    pub event_type: Name,
    /// The version of the schema of its payload, from 1.
    pub schema_version: u32,
    /// The form of its payload.
    pub content_type: ContentType,
    /// The labels by which criteria find it.
    pub tags: Vec<Tag>,
    /// What is known beside its data.
    pub metadata: Metadata,
    /// Its data, stored byte by byte as given.
    pub payload: Bytes,
}

impl NewEvent {
    /// An event from raw parts: no tags, no metadata, schema version 1.
    pub fn raw(
        id: EventId,
        event_type: Name,
        content_type: ContentType,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self {
            id,
            event_type,
            schema_version: 1,
            content_type,
            tags: Vec::new(),
            metadata: Metadata::new(),
            payload: payload.into(),
        }
    }
}

/// An event as the log holds it.
///
/// ```
/// use es_core::{Position, RecordedEvent};
///
/// fn line(event: &RecordedEvent) -> String {
///     format!("{} {} {}", event.position, event.stream, event.event_type)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// Its place in the whole log.
    pub position: Position,
    /// The stream that holds it.
    pub stream: StreamId,
    /// The version of the stream right after it.
    pub version: Version,
    /// Its identity, for ever.
    pub id: EventId,
    /// The append that wrote it, if its writer gave it an id.
    pub append_id: Option<AppendId>,
    /// When the store recorded it.
    pub recorded_at: DateTime<Utc>,
    /// The wire name of its type.
    pub event_type: Name,
    /// The version of the schema of its payload, from 1.
    pub schema_version: u32,
    /// The form of its payload.
    pub content_type: ContentType,
    /// The labels by which criteria find it.
    pub tags: Vec<Tag>,
    /// What is known beside its data.
    pub metadata: Metadata,
    /// Its data, byte by byte as it was given.
    pub payload: Bytes,
}

impl RecordedEvent {
    /// The envelope around `event` once it has a place in the log; for writers
    /// of stores.
    #[inline]
    pub fn new(
        event: NewEvent,
        stream: StreamId,
        version: Version,
        position: Position,
        append_id: Option<AppendId>,
        recorded_at: DateTime<Utc>,
    ) -> Self {
        let NewEvent { id, event_type, schema_version, content_type, tags, metadata, payload } =
            event;
        Self {
            position,
            stream,
            version,
            id,
            append_id,
            recorded_at,
            event_type,
            schema_version,
            content_type,
            tags,
            metadata,
            payload,
        }
    }

    /// Its stream, and the event without its place in the log, to be appended
    /// elsewhere.
    pub fn into_new(self) -> (StreamId, NewEvent) {
        let Self { id, event_type, schema_version, content_type, tags, metadata, payload, .. } =
            self;
        let event =
            NewEvent { id, event_type, schema_version, content_type, tags, metadata, payload };
        (self.stream, event)
    }

    /// Whether an upcaster dropped it; see [`DROPPED`].
    pub fn is_dropped(&self) -> bool {
        self.event_type == DROPPED
    }

    /// Whether it is for the store's own use, and tells nobody else of anything: a marker
    /// of what was removed, or what an upcaster dropped.
    pub fn is_of_the_store(&self) -> bool {
        self.event_type.starts_with("gesta.") || self.event_type.starts_with('$')
    }
}
