use std::time::Duration;

use es_core::{StoreError, StoreErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Classes a failure by what the caller can do.
pub(crate) fn store_error(source: RedisError) -> StoreError {
    let (kind, advice) = classify(&source);
    StoreError::new(kind, format!("{advice}: {source}")).because(source)
}

/// The same of a request that changes something: once a connection stood, an answer that
/// is lost says nothing about what was done.
pub(crate) fn write_error(source: RedisError) -> StoreError {
    if source.kind() != ErrorKind::Io || source.is_connection_refusal() {
        return store_error(source);
    }
    let message = format!("the connection broke, whether it was done is not known: {source}");
    StoreError::new(StoreErrorKind::Unknown, message).because(source)
}

fn classify(error: &RedisError) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind as Kind;
    match error.kind() {
        ErrorKind::Io => (Kind::Unavailable, "the server cannot be reached, try again"),
        ErrorKind::AuthenticationFailed => {
            (Kind::Unavailable, "the server does not let this program in")
        }
        ErrorKind::InvalidClientConfig => (Kind::Invalid, "the address of the server is not valid"),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            (Kind::ReadOnly, "the server may only be read, connect to the primary")
        }
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => (Kind::Unavailable, "the server takes no requests now, try again"),
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            (Kind::Corrupt, "the server holds something else under this prefix")
        }
        _ => classify_code(error.code()),
    }
}

/// What only the first word of the server's answer tells.
fn classify_code(code: Option<&str>) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind as Kind;
    match code {
        Some("OOM") => (Kind::Full, "the server's memory is full, give it more"),
        Some("BUSY") => (Kind::Busy, "the server is at a long script, try again"),
        Some("MISCONF" | "NOREPLICAS") => {
            (Kind::Unavailable, "the server takes no writes, look at its log")
        }
        Some("WRONGTYPE") => (Kind::Corrupt, "the server holds something else under this prefix"),
        _ => (Kind::Other, "the server refused a request"),
    }
}

pub(crate) fn silent(within: Duration) -> StoreError {
    let message = format!("the server did not answer within {within:?}, try again");
    StoreError::new(StoreErrorKind::Unavailable, message)
}

pub(crate) fn unanswered(within: Duration) -> StoreError {
    let message = format!("whether it was done is not known, as there was no answer in {within:?}");
    StoreError::new(StoreErrorKind::Unknown, message)
}

pub(crate) fn too_much(words: usize, most: usize) -> StoreError {
    let message = format!("a server takes {most} words at once, these are {words}");
    StoreError::new(StoreErrorKind::Invalid, message)
}
