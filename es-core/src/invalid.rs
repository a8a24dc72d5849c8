use thiserror::Error;

use crate::{EventId, limits};

/// A batch that no store takes, and why; the log is untouched.
///
/// ```
/// use es_core::{Batch, ContentType, InvalidBatch, Name, NewEvent, StreamId, World};
///
/// let huge = NewEvent::raw(
///     World::real().event_id(),
///     Name::new("film.uploaded")?,
///     ContentType::BYTES,
///     vec![0; 2 * 1024 * 1024],
/// );
/// let batch = Batch::to(StreamId::new("film", 1)?).event(huge);
/// assert!(matches!(batch.check(), Err(InvalidBatch::PayloadTooLarge { .. })));
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// It neither writes an event nor changes a claim.
    #[error("the batch has no events")]
    Empty,
    /// More events than [`limits::BATCH_EVENTS`]: split it.
    #[error("the batch has {events} events, at most {} go in one", limits::BATCH_EVENTS)]
    TooManyEvents {
        /// How many it has.
        events: usize,
    },
    /// More payload than [`limits::BATCH_BYTES`]: split it.
    #[error("the batch has {bytes} bytes of payload, at most {} go in one", limits::BATCH_BYTES)]
    TooManyBytes {
        /// How many it has.
        bytes: usize,
    },
    /// Streams or claims of more than one tenant.
    #[error("the batch has streams of more than one tenant")]
    SeveralTenants,
    /// The same event id twice.
    #[error("the batch holds event {id} twice")]
    EventTwice {
        /// The id.
        id: EventId,
    },
    /// A type name that begins with `$`, or with `gesta.` as the markers do.
    #[error("event type {event_type} is reserved, names do not begin with $ or gesta.")]
    ReservedType {
        /// The type.
        event_type: String,
    },
    /// More than [`limits::PAYLOAD_BYTES`]: store the bulk elsewhere, and its
    /// address in the event.
    #[error(
        "{event_type} has a payload of {bytes} bytes, at most {} are allowed",
        limits::PAYLOAD_BYTES
    )]
    PayloadTooLarge {
        /// The type.
        event_type: String,
        /// How large it is.
        bytes: usize,
    },
    /// More than [`limits::METADATA_BYTES`].
    #[error(
        "{event_type} has {bytes} bytes of metadata, at most {} are allowed",
        limits::METADATA_BYTES
    )]
    MetadataTooLarge {
        /// The type.
        event_type: String,
        /// How large it is.
        bytes: usize,
    },
    /// More than [`limits::TAGS`].
    #[error("{event_type} has {tags} tags, at most {} are allowed", limits::TAGS)]
    TooManyTags {
        /// The type.
        event_type: String,
        /// How many it has.
        tags: usize,
    },
    /// JSON nested deeper than [`limits::JSON_DEPTH`].
    #[error("{event_type} has JSON nested deeper than {} levels", limits::JSON_DEPTH)]
    TooDeep {
        /// The type.
        event_type: String,
    },
    /// A request that no store can carry out.
    #[error("{0}")]
    Malformed(&'static str),
}
