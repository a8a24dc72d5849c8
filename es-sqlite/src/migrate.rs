//! Makes the tables, one file for each object, and refuses what is not ours.

use es_core::{StoreError, StoreErrorKind};
use rusqlite::Connection;

use crate::error::store_error;

/// Marks a file as Gesta's: "Gest" in ASCII.
const APPLICATION: i32 = 0x4765_7374;

/// One entry for each version of the schema, from 1: the objects that it adds.
const VERSIONS: &[&[&str]] = &[&[
    include_str!("schema/tenants.sql"),
    include_str!("schema/categories.sql"),
    include_str!("schema/kinds.sql"),
    include_str!("schema/streams.sql"),
    include_str!("schema/events.sql"),
    include_str!("schema/events_stream.sql"),
    include_str!("schema/events_correlation.sql"),
    include_str!("schema/event_tags.sql"),
    include_str!("schema/event_blocks.sql"),
    include_str!("schema/appends.sql"),
    include_str!("schema/claims.sql"),
    include_str!("schema/checkpoints.sql"),
    include_str!("schema/snapshots.sql"),
    include_str!("schema/timers.sql"),
    include_str!("schema/timers_due.sql"),
    include_str!("schema/view_rows.sql"),
]];

/// Brings the schema to this program's version. Two processes at once are safe:
/// the second waits for the first and finds the work done. Killed half-way, it
/// begins again: a version is one transaction. A file that is up to date is not
/// written.
pub(crate) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    if version(connection)? == VERSIONS.len() {
        return Ok(());
    }
    connection.execute_batch("BEGIN IMMEDIATE").map_err(store_error)?;
    let outcome = bring_up(connection);
    let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute_batch(end).map_err(store_error)?;
    outcome
}

fn bring_up(connection: &Connection) -> Result<(), StoreError> {
    let found = version(connection)?;
    for objects in &VERSIONS[found..] {
        connection.execute_batch(&objects.concat()).map_err(store_error)?;
    }
    let version = i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX);
    connection.pragma_update(None, "user_version", version).map_err(store_error)?;
    connection.pragma_update(None, "application_id", APPLICATION).map_err(store_error)
}

/// The version of the schema, 0 in an empty file.
///
/// # Errors
///
/// `Schema` for a file that is not ours, or that a newer program has made.
pub(crate) fn version(connection: &Connection) -> Result<usize, StoreError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = number("application_id").map_err(store_error)?;
    let found = number("user_version").map_err(store_error)?;
    let tables = "SELECT count(*) FROM sqlite_schema";
    let objects: i64 = connection.query_row(tables, [], |row| row.get(0)).map_err(store_error)?;
    if application == 0 && found == 0 && objects == 0 {
        return Ok(0);
    }
    let refuse = |message: String| Err(StoreError::new(StoreErrorKind::Schema, message));
    if application != APPLICATION {
        return refuse("the file is a database of another application, choose another file".into());
    }
    match usize::try_from(found) {
        Ok(found) if found <= VERSIONS.len() => Ok(found),
        _ => refuse(format!(
            "the file has schema version {found}, this program knows up to {}, use a newer program",
            VERSIONS.len()
        )),
    }
}
