use std::time::Duration;

use es_core::{DecodeError, EncodeError, Group, NameError, StoreError};
use thiserror::Error;

/// Why the bus did not do what it was asked for.
///
/// ```
/// use es_bus::BusError;
///
/// fn advice(error: &BusError) -> &'static str {
///     match error {
///         BusError::Broker(error) if error.is_transient() => "publish again",
///         BusError::Broker(_) => "page someone",
///         _ => "fix the caller",
///     }
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BusError {
    /// The broker failed, or did not confirm: some of it may be there.
    #[error(transparent)]
    Broker(#[from] StoreError),
    /// The event cannot be written: fix its type.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The type of the event is no topic: name it otherwise, or say where to send it.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two endpoints have one group, and each would get messages that are for the other: name
    /// one of them otherwise.
    #[error("two endpoints have the group {group}, name one of them otherwise")]
    GroupTwice {
        /// The group.
        group: Group,
    },
}

/// Why there is no answer to a request.
///
/// ```
/// use es_bus::RequestError;
///
/// fn advice(error: &RequestError) -> &'static str {
///     match error {
///         RequestError::NoAnswer { .. } => "ask again: the request may have been handled",
///         _ => "page someone",
///     }
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody answered in time. The request may have been handled all the same.
    #[error("no answer within {waited:?}, ask again with the same message id")]
    NoAnswer {
        /// How long the asker waited.
        waited: Duration,
    },
    /// There is an answer, and it is not of the type that was asked for.
    #[error("the answer is a {kind}, which was not asked for")]
    Unexpected {
        /// The wire name of its type.
        kind: String,
    },
    /// There is an answer, and it cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The request was not sent.
    #[error(transparent)]
    Bus(#[from] BusError),
}
