use std::{fs::File, io::Read, path::Path, time::Duration};

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
    check_length(&options.path)?;
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
/// to read there.
fn check_length(path: &Path) -> Result<(), StoreError> {
    let unreadable = |e: std::io::Error| {
        let message = format!("the file cannot be read: {e}");
        StoreError::new(StoreErrorKind::Unavailable, message).because(e)
    };
    let mut header = [0_u8; 32];
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(unreadable(e)),
    };
    if file.metadata().map_err(unreadable)?.len() == 0 {
        return Ok(());
    }
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"SQLite format 3\0") {
        return Err(damaged("the file is no SQLite database"));
    }
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    let pages = u64::from(u32::from_be_bytes([header[28], header[29], header[30], header[31]]));
    let has_log = path
        .with_file_name(format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy()));
    let logged = has_log.metadata().is_ok_and(|log| log.len() > 0);
    // Measured last: a closing process writes the header, then the tail, and only
    // then deletes the log.
    let length = file.metadata().map_err(unreadable)?.len();
    if !logged && length < pages * page_bytes {
        return Err(damaged(format!(
            "the file has {length} bytes where its header promises {}, its tail is missing",
            pages * page_bytes
        )));
    }
    Ok(())
}
