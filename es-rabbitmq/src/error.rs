use std::{error::Error, fmt, time::Duration};

use es_core::{Group, StoreError, StoreErrorKind, TopicPattern};
use lapin::{
    ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError},
};

/// A request was not answered as it should have been.
pub(crate) fn unavailable(what: &str, source: lapin::Error) -> StoreError {
    StoreError::new(kind_of(&source), format!("{what}: {source}")).because(source)
}

/// What was published and not confirmed may be there all the same.
pub(crate) fn unpublished(source: lapin::Error) -> StoreError {
    let (kind, advice) = match kind_of(&source) {
        StoreErrorKind::Unavailable => {
            (StoreErrorKind::Unknown, "whether the server has it is not known, publish again")
        }
        kind => (kind, "the server did not take it"),
    };
    StoreError::new(kind, format!("{advice}: {source}")).because(source)
}

/// What the server itself said against it.
pub(crate) fn said(error: &lapin::Error) -> Option<&AMQPErrorKind> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.kind()),
        _ => None,
    }
}

/// Whether the server has said this.
pub(crate) fn is(error: &lapin::Error, what: AMQPSoftError) -> bool {
    matches!(said(error), Some(AMQPErrorKind::Soft(said)) if *said == what)
}

fn kind_of(error: &lapin::Error) -> StoreErrorKind {
    use StoreErrorKind as Kind;
    match (error.kind(), said(error)) {
        (_, Some(AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))) => Kind::Other,
        (_, Some(AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED))) => Kind::Invalid,
        (_, Some(AMQPErrorKind::Hard(AMQPHardError::NOTIMPLEMENTED))) => Kind::Unsupported,
        (_, Some(AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED))) => Kind::Other,
        (ErrorKind::InvalidProtocolVersion(_), _) => Kind::Unsupported,
        (ErrorKind::ChannelsLimitReached, _) => Kind::Full,
        _ => Kind::Unavailable,
    }
}

pub(crate) fn unreachable(why: impl Error + Send + Sync + 'static) -> StoreError {
    let message = format!("the server cannot be reached: {why}");
    StoreError::new(StoreErrorKind::Unavailable, message).because(why)
}

pub(crate) fn no_address(why: &str) -> StoreError {
    let message = format!("this is no address of a RabbitMQ server: {why}");
    StoreError::new(StoreErrorKind::Invalid, message)
}

pub(crate) fn silent(what: &str, within: Duration) -> StoreError {
    let message = format!("{what} within {within:?}");
    StoreError::new(StoreErrorKind::Unavailable, message)
}

/// The server holds back whoever publishes while it lacks memory or disk.
pub(crate) fn unconfirmed(within: Duration, is_blocked: bool) -> StoreError {
    let (kind, why) = match is_blocked {
        true => (StoreErrorKind::Full, "it is short of memory or disk, make room"),
        false => (StoreErrorKind::Unknown, "whether it has it is not known, publish again"),
    };
    StoreError::new(kind, format!("the server did not confirm within {within:?}: {why}"))
}

pub(crate) fn nacked() -> StoreError {
    let message = "a queue did not take the message, as it is full or has no leader: try again";
    StoreError::new(StoreErrorKind::Busy, message)
}

pub(crate) fn damaged(what: impl fmt::Display, why: impl fmt::Display) -> StoreError {
    let message = format!("{what} holds something else than this program wrote: {why}");
    StoreError::new(StoreErrorKind::Corrupt, message)
}

pub(crate) fn too_large(bytes: usize, most: usize) -> StoreError {
    let message = format!(
        "the server takes {most} bytes of what is known of a message beside its payload, this \
         one has {bytes}: let its metadata be shorter, or `frame_max` greater"
    );
    StoreError::new(StoreErrorKind::Invalid, message)
}

pub(crate) fn partitioned(prefix: &str) -> StoreError {
    let message = format!(
        "another program uses the prefix {prefix} with another number of partitions: let all of \
         them say the same"
    );
    StoreError::new(StoreErrorKind::Schema, message)
}

pub(crate) fn no_history() -> StoreError {
    let message = "queues of RabbitMQ have no history: let the group begin with what comes, and \
                   join it before the first message";
    StoreError::new(StoreErrorKind::Unsupported, message)
}

pub(crate) fn too_long(pattern: &TopicPattern) -> StoreError {
    let message = format!("the server takes 255 bytes of a pattern and a partition: {pattern}");
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
        "the connection broke over which this message of the group {group} came, another process \
         may have it: it comes again"
    );
    StoreError::new(StoreErrorKind::Fenced, message)
}

pub(crate) fn forgotten(group: &Group) -> StoreError {
    StoreError::new(StoreErrorKind::Closed, format!("the group {group} was forgotten"))
}

pub(crate) fn illegible(group: &Group) -> StoreError {
    let message = format!(
        "the log of dead letters of the group {group} has a record that this program cannot read: \
         let a newer one work for it"
    );
    StoreError::new(StoreErrorKind::Corrupt, message)
}

pub(crate) fn ended(group: &Group) -> StoreError {
    let message = format!("the runtime has ended that worked for the group {group}: join it again");
    StoreError::new(StoreErrorKind::Closed, message)
}

pub(crate) fn unheard(group: &Group, within: Duration) -> StoreError {
    let message = format!(
        "what was written about dead letters of the group {group} was not read within {within:?}: \
         whether it counts is not known"
    );
    StoreError::new(StoreErrorKind::Unknown, message)
}
