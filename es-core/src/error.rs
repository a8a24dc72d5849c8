use thiserror::Error;

use crate::{AppendId, Appended, InvalidBatch, Name, Position, RecordedEvent, StreamId, Version};

/// Why an append did not happen. Nothing of the batch is in the log, unless
/// the store says that it [does not know](StoreErrorKind::Unknown).
///
/// ```
/// use es_core::{AppendError, StoreError, StoreErrorKind};
///
/// fn advice(error: &AppendError) -> &'static str {
///     match error {
///         AppendError::Conflict(_) | AppendError::Overtaken { .. } => "decide again",
///         AppendError::Claimed { .. } | AppendError::Gone { .. } => "refuse",
///         AppendError::Store(error) if error.is_transient() => "append again, with the same id",
///         _ => "page someone",
///     }
/// }
/// let full = StoreError::new(StoreErrorKind::Full, "no space left");
/// assert_eq!(advice(&full.into()), "page someone");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A stream does not look as expected: decide again.
    #[error(transparent)]
    Conflict(#[from] Box<Conflict>),
    /// Something that a condition forbids has happened: decide again.
    #[error("an event at position {position} matches a condition of the append, decide again")]
    Overtaken {
        /// The first such event.
        position: Position,
    },
    /// Another stream holds a unique claim: refuse.
    #[error("{scope} {key:?} is claimed by {holder}")]
    Claimed {
        /// The scope of the claim.
        scope: Name,
        /// The unique value.
        key: Name,
        /// Who holds it.
        holder: StreamId,
    },
    /// Some appends of the batch are in the log already, others not: leave
    /// those out and decide the others again.
    #[error("{} appends of the batch are in the log already", known.len())]
    Repeated {
        /// The known appends with their first results.
        known: Vec<(AppendId, Appended)>,
    },
    /// The stream was tombstoned: refuse, for ever.
    #[error("{stream} was tombstoned, nothing can be appended to it any more")]
    Gone {
        /// The stream.
        stream: StreamId,
    },
    /// A read model that changes with each append cannot take an event, or is not known to
    /// this program: fix the model, or let workers keep it.
    #[error("nothing was appended, as {model} changes with each append and {why}")]
    Model {
        /// The read model.
        model: Name,
        /// What is in the way.
        why: String,
    },
    /// No store takes such a batch: fix the caller.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stream that does not look as a write expected, with the events that the
/// loser has not seen, so that it can decide again without a read.
///
/// ```
/// use es_core::{Conflict, StreamId, Version};
///
/// let conflict = Conflict {
///     stream: StreamId::new("account", "ada")?,
///     actual: Version::new(7),
///     unseen: vec![],
/// };
/// assert_eq!(conflict.to_string(), "account-ada is at version 7, which the append did not expect");
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Error)]
#[error("{stream} is at version {actual}, which the append did not expect")]
pub struct Conflict {
    /// The stream.
    pub stream: StreamId,
    /// Its version.
    pub actual: Version,
    /// The events after the expected version, oldest first; empty if there are
    /// more than [`limits::CONFLICT_EVENTS`](crate::limits::CONFLICT_EVENTS) or
    /// if they are not in the way.
    pub unseen: Vec<RecordedEvent>,
}

impl Conflict {
    /// Whether [`unseen`](Self::unseen) lead from `seen` to the actual version
    /// without a hole, or begin anew with a deletion.
    pub fn is_complete_after(&self, seen: Version) -> bool {
        let leads_on = |event: &RecordedEvent| event.version == seen.plus(1) || event.ends_stream();
        self.unseen.first().is_some_and(leads_on)
            && self.unseen.last().is_some_and(|event| event.version == self.actual)
    }
}

/// A failure of a store, classed by what the caller can do.
///
/// ```
/// use es_core::{StoreError, StoreErrorKind};
///
/// let error = StoreError::new(StoreErrorKind::Busy, "another process holds the write lock");
/// assert!(error.is_transient());
/// assert_eq!(error.kind(), StoreErrorKind::Busy);
/// ```
#[derive(Debug, Error)]
#[error("{message}")]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The classes of [`StoreError`].
///
/// ```
/// use es_core::{StoreError, StoreErrorKind};
///
/// assert!(!StoreError::new(StoreErrorKind::Corrupt, "page 7").is_transient());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It cannot be reached: try again later.
    Unavailable,
    /// Somebody holds what it needs: try again.
    Busy,
    /// Whether the append happened is not known: append again with the same id.
    Unknown,
    /// No space is left: make room; what was acknowledged is safe.
    Full,
    /// It may only be read: append elsewhere.
    ReadOnly,
    /// What it holds is damaged: restore it.
    Corrupt,
    /// It was made by another version of the program: migrate.
    Schema,
    /// It cannot do this at all; see [`Abilities`](crate::Abilities).
    Unsupported,
    /// Somebody else holds the epoch: stop, and begin anew.
    Fenced,
    /// The log is behind what was seen of it: it was restored from an older
    /// copy. Halt.
    Rewound,
    /// It was closed.
    Closed,
    /// The program asked for something that no store has.
    Invalid,
    /// Anything else.
    Other,
}

impl StoreError {
    /// A failure of this kind; the message says what happened and what to do.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        use StoreErrorKind::{Busy, Unavailable, Unknown};
        matches!(self.kind, Unavailable | Busy | Unknown)
    }
}
