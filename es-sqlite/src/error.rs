use es_core::{Part, StoreError, StoreErrorKind};
use rusqlite::{Error, ErrorCode};

/// Classes a failure of SQLite by what the caller can do.
pub(crate) fn store_error(source: Error) -> StoreError {
    let (kind, advice) = classify(&source);
    StoreError::new(kind, format!("{advice}: {source}")).because(source)
}

fn classify(error: &Error) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind as Kind;
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Kind::Busy, "another process holds the write lock, try again")
        }
        Some(ErrorCode::DiskFull) => (Kind::Full, "no space is left for the file, make room"),
        Some(ErrorCode::ReadOnly) => (Kind::ReadOnly, "the file may only be read"),
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            (Kind::ReadOnly, "the file may not be written")
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            (Kind::Corrupt, "the file is damaged, restore it from a copy")
        }
        Some(ErrorCode::NotADatabase) => (Kind::Corrupt, "the file is no SQLite database"),
        Some(ErrorCode::CannotOpen) => (Kind::Unavailable, "the file cannot be opened"),
        Some(ErrorCode::SystemIoFailure) => (Kind::Unavailable, "the disk failed"),
        Some(ErrorCode::SchemaChanged | ErrorCode::TypeMismatch) => {
            (Kind::Schema, "the file has another schema, migrate it")
        }
        _ => (Kind::Other, "SQLite failed"),
    }
}

/// A failure of a commit: after an I/O error the pages may or may not be on
/// the disk.
pub(crate) fn commit_error(source: Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => {
            let message = format!("whether the commit reached the disk is not known: {source}");
            StoreError::new(StoreErrorKind::Unknown, message).because(source)
        }
        _ => store_error(source),
    }
}

/// The same failure, for each of several callers.
pub(crate) fn again(error: &StoreError) -> StoreError {
    StoreError::new(error.kind(), error.to_string())
}

/// A part that is not there, or not any more.
pub(crate) fn gone(part: &Part) -> StoreError {
    StoreError::new(StoreErrorKind::Fenced, format!("{part} is gone"))
}

pub(crate) fn closed() -> StoreError {
    StoreError::new(StoreErrorKind::Closed, "the store was closed")
}

/// A failure to read a row that other rows refer to.
pub(crate) fn row_error(source: Error) -> StoreError {
    match source {
        Error::QueryReturnedNoRows
        | Error::InvalidColumnType(..)
        | Error::FromSqlConversionFailure(..)
        | Error::Utf8Error(..)
        | Error::IntegralValueOutOfRange(..) => {
            damaged(format!("a row is missing or bad: {source}"))
        }
        source => store_error(source),
    }
}

/// A row that does not hold what this program writes.
pub(crate) fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("{what}, restore the file from a copy"))
}
