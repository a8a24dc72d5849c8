use es_core::{StoreError, StoreErrorKind};
use sqlx::{
    Error,
    postgres::{PgDatabaseError, PgSeverity},
};

/// Classes a failure by what the caller can do.
pub(crate) fn store_error(source: Error) -> StoreError {
    let (kind, advice) = classify(&source);
    StoreError::new(kind, format!("{advice}: {source}")).because(source)
}

/// A failure of a statement that writes: if the connection broke, the server may
/// or may not have carried it out.
pub(crate) fn write_error(source: Error) -> StoreError {
    if !is_answer(&source) {
        let message = format!("whether the server has carried it out is not known: {source}");
        return StoreError::new(StoreErrorKind::Unknown, message).because(source);
    }
    store_error(source)
}

/// Whether the server itself has said that the statement failed, and goes on.
/// Else nothing is known about it, and the connection is of no more use: a
/// server that panics at a commit may find it done when it comes up again.
pub(crate) fn is_answer(error: &Error) -> bool {
    match error {
        Error::Database(source) => {
            let source = source.try_downcast_ref::<PgDatabaseError>();
            let severity = source.map(|source| source.severity());
            !matches!(severity, None | Some(PgSeverity::Fatal | PgSeverity::Panic))
        }
        Error::Encode(_) => true,
        _ => false,
    }
}

/// The SQLSTATE, if it is the server that failed.
pub(crate) fn code(error: &Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

fn classify(error: &Error) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind as Kind;
    match error {
        Error::Database(_) => classify_code(&code(error).unwrap_or_default()),
        Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::WorkerCrashed => {
            (Kind::Unavailable, "the server cannot be reached, try again")
        }
        Error::Configuration(_) => (Kind::Invalid, "the address of the server is not valid"),
        Error::ColumnDecode { .. } | Error::Decode(_) => {
            (Kind::Corrupt, "a row is damaged, restore it from a copy")
        }
        Error::ColumnNotFound(_) | Error::TypeNotFound { .. } => {
            (Kind::Schema, "the tables are not those of this program, migrate them")
        }
        _ => (Kind::Other, "the server or its driver failed"),
    }
}

/// By SQLSTATE; see appendix A of PostgreSQL's manual.
fn classify_code(code: &str) -> (StoreErrorKind, &'static str) {
    use StoreErrorKind as Kind;
    match code {
        "40001" | "40P01" | "55P03" | "57014" => {
            (Kind::Busy, "another session was in the way, try again")
        }
        "25006" => (Kind::ReadOnly, "the server may only be read, connect to the primary"),
        "53100" => (Kind::Full, "no space is left on the server's disk, make room"),
        "42501" => (Kind::Schema, "the role may not do this, grant it the rights or migrate first"),
        "3F000" | "42P01" | "42883" | "42703" | "42804" => {
            (Kind::Schema, "the tables are not those of this program, migrate them")
        }
        // A session that is another one than that of the statement before.
        "42P05" | "26000" => (
            Kind::Invalid,
            "a pooler before the server does not know prepared statements: pgbouncer does from \
             1.21 on, with max_prepared_statements, or connect to the server itself",
        ),
        "2200H" => (Kind::Full, "the positions are used up"),
        code if code.starts_with("53") || code.starts_with("57P") || code.starts_with("08") => {
            (Kind::Unavailable, "the server takes no more work now, try again")
        }
        code if code.starts_with("28") || code == "3D000" => {
            (Kind::Unavailable, "the server does not let this program in")
        }
        "XX001" | "XX002" => {
            (Kind::Corrupt, "the server's files are damaged, restore them from a copy")
        }
        _ => (Kind::Other, "the server refused a statement"),
    }
}

/// The same failure, for each of several callers.
pub(crate) fn again(error: &StoreError) -> StoreError {
    StoreError::new(error.kind(), error.to_string())
}

pub(crate) fn lost() -> StoreError {
    StoreError::new(StoreErrorKind::Unknown, "the writer ended before it answered")
}

pub(crate) fn closed() -> StoreError {
    StoreError::new(StoreErrorKind::Closed, "the store was closed")
}

/// A row that does not hold what this program writes.
pub(crate) fn damaged(what: impl std::fmt::Display) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("{what}, restore it from a copy"))
}

/// PostgreSQL's integers are signed.
pub(crate) fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| {
        let message = format!("{number} is beyond what a position can be");
        StoreError::new(StoreErrorKind::Invalid, message)
    })
}

pub(crate) fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(damaged)
}
