//! What comes back from a command.

use std::sync::Arc;

use es_core::{
    EncodeError, InvalidBatch, LoadError, Name, NameError, Position, StoreError, StreamId, Version,
};
use thiserror::Error;

use crate::catalogue::NameClaimedTwice;

/// A command that was carried out.
///
/// ```
/// use cqrs::Sent;
/// use es_core::{Position, Version};
///
/// let sent = Sent { version: Version::new(3), position: Position::new(40), repeated: false };
/// assert_eq!(sent.version.get(), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The version of the aggregate after it.
    pub version: Version,
    /// The position of its last event: a read model that has come this far
    /// shows it.
    pub position: Position,
    /// Whether it had been carried out before, under the same command id; this
    /// is the first result then.
    pub repeated: bool,
}

/// The token of what was done: a read model that shows this position shows it.
impl From<Sent> for Position {
    fn from(sent: Sent) -> Self {
        sent.position
    }
}

/// Why a command was not carried out; the variant says what to do. It is an
/// [`Error`](std::error::Error) if the aggregate's own reason can be printed.
///
/// ```
/// use cqrs::SendError;
///
/// fn status(error: &SendError<String>) -> u16 {
///     match error {
///         SendError::Rejected(_) | SendError::Claimed { .. } => 409,
///         SendError::Refused(_) => 403,
///         SendError::Contended { .. } => 503,
///         _ => 500,
///     }
/// }
/// let no = SendError::Rejected("no such account".to_owned());
/// assert_eq!((status(&no), no.to_string().as_str()), (409, "rejected: no such account"));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError<E> {
    /// The aggregate refuses: tell the user why.
    #[error("rejected: {0}")]
    Rejected(E),
    /// Another aggregate holds a unique value: tell the user.
    #[error("{scope} {key:?} is claimed by {holder}")]
    Claimed {
        /// The scope of the value.
        scope: Name,
        /// The value.
        key: Name,
        /// Who holds it.
        holder: StreamId,
    },
    /// The aggregate's stream was tombstoned: tell the user, it is so for ever.
    #[error("{stream} was tombstoned, nothing can be appended to it any more")]
    Gone {
        /// The stream.
        stream: StreamId,
    },
    /// A read model that changes with each append cannot take what the aggregate has decided,
    /// or this program does not know the model: fix it, or let workers keep it.
    #[error("nothing was done, as {model} changes with each append and {why}")]
    Model {
        /// The read model.
        model: Name,
        /// What is in the way.
        why: String,
    },
    /// A layer around the bus refused: not authorized, over the rate, too late.
    #[error("the command was refused before it reached its aggregate")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too many others write to the same aggregate: try later.
    #[error("the aggregate was contended, {attempts} attempts lost against other writers")]
    Contended {
        /// How often it was tried, or 0 if the queue before it was full.
        attempts: u32,
    },
    /// Something is broken: page someone. Whether the command was carried out,
    /// the same command id tells.
    #[error(transparent)]
    Store(#[from] Failure),
}

impl<E> SendError<E> {
    /// Which variant it is, in a word: a label for logs and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::Claimed { .. } => "claimed",
            Self::Gone { .. } => "gone",
            Self::Model { .. } => "model",
            Self::Refused(_) => "refused",
            Self::Contended { .. } => "contended",
            Self::Store(_) => "store",
        }
    }
}

/// What is broken.
///
/// ```
/// use cqrs::Failure;
/// use es_core::{StoreError, StoreErrorKind};
///
/// let failure = Failure::from(StoreError::new(StoreErrorKind::Full, "no space left"));
/// assert_eq!(failure.to_string(), "no space left");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Failure {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The aggregate cannot be loaded.
    #[error(transparent)]
    Load(Arc<LoadError>),
    /// The decision made events that no store takes.
    #[error(transparent)]
    Invalid(#[from] InvalidBatch),
    /// An event cannot be encoded.
    #[error(transparent)]
    Encode(Arc<EncodeError>),
    /// The id makes no stream name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two types of the program claim one event name.
    #[error(transparent)]
    NameClaimedTwice(#[from] NameClaimedTwice),
    /// The decision panicked.
    #[error("the aggregate panicked while it decided")]
    Panicked,
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Store(error) => Self::Store(error),
            error => Self::Load(Arc::new(error)),
        }
    }
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        Self::Encode(Arc::new(error))
    }
}

impl Failure {
    /// The same failure, for another of the commands that it befell.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Store(error) => StoreError::new(error.kind(), error.to_string()).into(),
            Self::Load(error) => Self::Load(Arc::clone(error)),
            Self::Invalid(invalid) => invalid.clone().into(),
            Self::Encode(error) => Self::Encode(Arc::clone(error)),
            Self::Name(name) => name.clone().into(),
            Self::NameClaimedTwice(twice) => twice.clone().into(),
            Self::Panicked => Self::Panicked,
        }
    }
}
