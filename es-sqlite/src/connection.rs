use std::{path::Path, time::Duration};

use es_core::{StoreError, StoreErrorKind};
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use crate::{
    SqliteOptions, Synchronous,
    error::{damaged, store_error},
    migrate,
};

/// Pages in the write-ahead log before SQLite moves them into the file.
const CHECKPOINT_PAGES: i64 = 4_000;

/// Opens the file for writing, and makes or migrates it.
pub(crate) fn open_writer(options: &SqliteOptions) -> Result<Connection, StoreError> {
    let connection = open(options, OpenFlags::SQLITE_OPEN_CREATE)?;
    migrate::migrate(&connection)?;
    let level = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", level).map_err(store_error)?;
    let pages = CHECKPOINT_PAGES;
    connection.pragma_update(None, "wal_autocheckpoint", pages).map_err(store_error)?;
    Ok(connection)
}

/// Opens the file for reading only.
pub(crate) fn open_reader(options: &SqliteOptions) -> Result<Connection, StoreError> {
    let connection = open(options, OpenFlags::empty())?;
    connection.pragma_update(None, "query_only", true).map_err(store_error)?;
    Ok(connection)
}

fn open(options: &SqliteOptions, create: OpenFlags) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let connection = Connection::open_with_flags(&options.path, flags).map_err(store_error)?;
    connection.busy_timeout(options.busy_timeout).map_err(store_error)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without this SQLite plans a statement anew whenever a bound value changes.
    let stable_plans = DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
    connection.set_db_config(stable_plans, true).map_err(store_error)?;
    let kibibytes = i64::try_from(options.cache_bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -kibibytes).map_err(store_error)?;
    // Somebody else's file must be refused before its journal is changed.
    migrate::version(&connection)?;
    check_length(&connection, &options.path)?;
    let mode = write_ahead(&connection, options.busy_timeout)?;
    if mode != "wal" {
        let message = format!("the file cannot use a write-ahead log, its journal is {mode:?}");
        return Err(StoreError::new(StoreErrorKind::Unsupported, message));
    }
    Ok(connection)
}

/// Asks for a write-ahead log. While another process does the same SQLite says
/// that the file is locked, and does not wait by itself.
fn write_ahead(connection: &Connection, patience: Duration) -> Result<String, StoreError> {
    const PAUSE: Duration = Duration::from_millis(2);
    let mut tries = patience.as_millis() / PAUSE.as_millis();
    loop {
        let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match mode.map_err(store_error) {
            Err(error) if error.kind() == StoreErrorKind::Busy && tries > 0 => tries -= 1,
            mode => return mode,
        }
        std::thread::sleep(PAUSE);
    }
}

/// Notices a file that lost its tail, which SQLite would see only when it comes
/// to read there. It does not open the file: to close it again would take the locks of the
/// whole process, and another process would delete the log under our appends
/// (<https://sqlite.org/howtocorrupt.html>, 2.2).
fn check_length(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count").map_err(store_error)?;
    let promised = pages * number("page_size").map_err(store_error)?;
    let has_log = path
        .with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy()));
    let logged = has_log.metadata().is_ok_and(|log| log.len() > 0);
    // Measured last: a closing process writes the pages, and only then deletes the log.
    let length = path.metadata().map_err(|e| {
        let message = format!("the file cannot be read: {e}");
        StoreError::new(StoreErrorKind::Unavailable, message).because(e)
    })?;
    // SQLite takes one byte for none.
    if length.len() == 1 {
        return Err(damaged("the file is no SQLite database"));
    }
    if !logged && length.len() < promised.unsigned_abs() {
        return Err(damaged(format!(
            "the file has {} bytes where its header promises {promised}, its tail is missing",
            length.len()
        )));
    }
    Ok(())
}
