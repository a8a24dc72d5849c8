use std::time::Duration;

use es_core::{StoreError, StoreErrorKind};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Classes a failure by what the caller can do.
pub(crate) fn store_error(source: RedisError) -> StoreError {
    let (kind, advice) = classify(&source);
    StoreError::new(kind, format!("{advice}: {source}")).because(source)
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
            | ServerErrorKind::MasterDown,
        ) => (Kind::Unavailable, "the server takes no requests now, try again"),
        _ if error.code() == Some("OOM") => {
            (Kind::Full, "the server's memory is full, let it evict keys or give it more")
        }
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            (Kind::Corrupt, "the server holds something else under this prefix")
        }
        _ => (Kind::Other, "the server refused a request"),
    }
}

pub(crate) fn silent(within: Duration) -> StoreError {
    let message = format!("the server did not answer within {within:?}, try again");
    StoreError::new(StoreErrorKind::Unavailable, message)
}
