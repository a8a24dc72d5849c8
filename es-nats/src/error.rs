use std::{error::Error, fmt, time::Duration};

use async_nats::jetstream::{
    self, ErrorCode,
    context::{PublishError, PublishErrorKind},
};
use es_core::{Group, StoreError, StoreErrorKind};

/// A request was not answered as it should have been.
pub(crate) fn unavailable(what: &str, source: impl Error + Send + Sync + 'static) -> StoreError {
    let kind = code(&source).map_or(StoreErrorKind::Unavailable, kind_of);
    StoreError::new(kind, format!("{what}: {source}")).because(source)
}

/// What was published and not confirmed may be there all the same.
pub(crate) fn unpublished(source: PublishError) -> StoreError {
    use StoreErrorKind as Kind;
    let (kind, advice) = match source.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => {
            (Kind::Unknown, "whether the server has it is not known, publish again")
        }
        PublishErrorKind::StreamNotFound => {
            (Kind::Unavailable, "no stream takes it now, try again")
        }
        PublishErrorKind::MaxAckPending => (Kind::Busy, "too much is published at once, try again"),
        PublishErrorKind::MaxPayloadExceeded => {
            (Kind::Invalid, "the server's `max_payload` is smaller than the message")
        }
        _ => (code(&source).map_or(Kind::Other, kind_of), "the server did not take it"),
    };
    StoreError::new(kind, format!("{advice}: {source}")).because(source)
}

/// Whether the server did not write because what is there is not what was expected.
pub(crate) fn is_changed(error: &PublishError) -> bool {
    /// What servers from 2.12 on say.
    const WRONG_LAST_SEQUENCE: u64 = 10164;
    error.kind() == PublishErrorKind::WrongLastSequence
        || code(error).is_some_and(|code| code.0 == WRONG_LAST_SEQUENCE)
}

/// Whether the server failed to make a stream, and has said nothing against it.
pub(crate) fn is_not_made(error: &(dyn Error + 'static)) -> bool {
    code(error) == Some(ErrorCode::STREAM_CREATE)
}

/// What the server itself said, however deep it is wrapped.
fn code(error: &(dyn Error + 'static)) -> Option<ErrorCode> {
    match error.downcast_ref::<jetstream::Error>() {
        Some(said) => Some(said.error_code()),
        None => code(error.source()?),
    }
}

fn kind_of(code: ErrorCode) -> StoreErrorKind {
    use StoreErrorKind as Kind;
    match code {
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED
        | ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED => Kind::Full,
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM => {
            Kind::Invalid
        }
        _ => Kind::Other,
    }
}

pub(crate) fn damaged(what: impl fmt::Display, why: impl fmt::Display) -> StoreError {
    let message = format!("{what} holds something else than this program wrote: {why}");
    StoreError::new(StoreErrorKind::Corrupt, message)
}

pub(crate) fn too_large(bytes: usize, most: usize) -> StoreError {
    let message = format!("the server takes {most} bytes of a message, this one has {bytes}");
    StoreError::new(StoreErrorKind::Invalid, message)
}

pub(crate) fn disagree(group: &Group) -> StoreError {
    let message = format!(
        "the members of the group {group} ask for different orders, or not all of them park: \
         let all of them ask for the same"
    );
    StoreError::new(StoreErrorKind::Invalid, message)
}

pub(crate) fn fenced(group: &Group) -> StoreError {
    let message = format!(
        "this process was silent for longer than its lease, another one of the group {group} may \
         have taken over: the message comes again"
    );
    StoreError::new(StoreErrorKind::Fenced, message)
}

pub(crate) fn forgotten(group: &Group) -> StoreError {
    StoreError::new(StoreErrorKind::Closed, format!("the group {group} was forgotten"))
}

pub(crate) fn ended(group: &Group) -> StoreError {
    let message = format!("the runtime has ended that worked for the group {group}: join it again");
    StoreError::new(StoreErrorKind::Closed, message)
}

pub(crate) fn rewound(group: &Group) -> StoreError {
    let message = format!(
        "the stream of messages ends before what the group {group} has handled: it was restored \
         from an older copy or made anew; forget the group to begin anew"
    );
    StoreError::new(StoreErrorKind::Rewound, message)
}

pub(crate) fn contended(group: &Group) -> StoreError {
    let message = format!("too many change the group {group} at once, try again");
    StoreError::new(StoreErrorKind::Busy, message)
}

pub(crate) fn reconnected() -> StoreError {
    let message = "the connection was made anew, and what was asked over the last is not answered";
    StoreError::new(StoreErrorKind::Unavailable, message)
}

pub(crate) fn interrupted(group: &Group) -> StoreError {
    let message = format!(
        "what was there before came only in part, and is not copied for the group {group}: ask \
         for it again"
    );
    StoreError::new(StoreErrorKind::Unavailable, message)
}

pub(crate) fn unsaved(group: &Group, within: Duration) -> StoreError {
    let message = format!("the server did not learn within {within:?} what the group {group} did");
    StoreError::new(StoreErrorKind::Unknown, message)
}
