//! Makes the tables, one file for each object, and refuses what is not ours.

use es_core::{StoreError, StoreErrorKind};
use rusqlite::{Connection, OptionalExtension};

use crate::error::{row_error, store_error};

/// Marks a file as Gesta's: "Gest" in ASCII.
const APPLICATION: i32 = 0x4765_7374;

/// A table or an index, whose file bears its name.
struct Object {
    name: &'static str,
    sql: &'static str,
}

macro_rules! objects {
    ($($name:literal)+) => {
        &[$(Object { name: $name, sql: include_str!(concat!("schema/", $name, ".sql")) }),+]
    };
}

/// One version of the schema.
struct Version {
    adds: &'static [Object],
    /// What fills them from those that are gone after it, and drops these.
    moves: &'static str,
    drops: &'static [&'static str],
}

impl Version {
    const fn adding(adds: &'static [Object]) -> Self {
        Self { adds, moves: "", drops: &[] }
    }
}

/// From 1. One that was published is never changed.
const VERSIONS: &[Version] = &[
    Version::adding(objects![
        "tenants"
        "categories"
        "kinds"
        "streams"
        "events"
        "stream_runs"
        "event_correlations"
        "event_tags"
        "event_blocks"
        "appends"
        "tombstones"
        "claims"
        "claims_of_holder"
        "checkpoints"
        "snapshots"
        "timers"
        "timers_due"
        "builds"
        "builds_serving"
        "parts"
        "epochs"
        "view_rows"
    ]),
    Version::adding(objects!["inline_models"]),
    Version {
        adds: objects!["timers_of_owners" "timers_wake"],
        moves: include_str!("statements/move_timers.sql"),
        drops: &["timers", "timers_due"],
    },
    Version::adding(objects!["inbox" "inbox_by_age"]),
];

/// Brings the schema to this program's version. Two processes at once are safe:
/// the second waits for the first and finds the work done. Killed half-way, it
/// begins again: a version is one transaction. A file that is up to date is not
/// written.
pub(crate) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let is_done = transaction(connection, "BEGIN", |connection| {
        let is_done = version(connection)? == VERSIONS.len();
        if is_done {
            check_objects(connection)?;
        }
        Ok(is_done)
    })?;
    if is_done {
        return Ok(());
    }
    transaction(connection, "BEGIN IMMEDIATE", bring_up)
}

fn transaction<T>(
    connection: &Connection,
    begin: &str,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    connection.execute_batch(begin).map_err(store_error)?;
    match work(connection) {
        Ok(done) => connection.execute_batch("COMMIT").map_err(store_error).map(|()| done),
        Err(error) => {
            // On a full disk SQLite has rolled back by itself.
            let _ = connection.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

fn bring_up(connection: &Connection) -> Result<(), StoreError> {
    let found = version(connection)?;
    for Version { adds, moves, .. } in &VERSIONS[found..] {
        let statements = adds.iter().map(|object| object.sql).chain([*moves]);
        statements
            .into_iter()
            .try_for_each(|sql| connection.execute_batch(sql).map_err(store_error))?;
    }
    let version = i32::try_from(VERSIONS.len()).unwrap_or(i32::MAX);
    connection.pragma_update(None, "user_version", version).map_err(store_error)?;
    connection.pragma_update(None, "application_id", APPLICATION).map_err(store_error)
}

/// Refuses a file whose tables are not what this program made, before an append
/// comes upon it.
fn check_objects(connection: &Connection) -> Result<(), StoreError> {
    const FIND: &str = "SELECT sql FROM sqlite_schema WHERE name = ?";
    let mut find = connection.prepare(FIND).map_err(store_error)?;
    let is_there = |object: &&Object| !VERSIONS.iter().any(|one| one.drops.contains(&object.name));
    for object in VERSIONS.iter().flat_map(|version| version.adds).filter(is_there) {
        let found = find.query_row([object.name], |row| row.get(0)).optional();
        let found: Option<String> = found.map_err(row_error)?;
        if found.as_deref() != Some(object.statement()) {
            let message = format!("the file's {} is missing or altered, restore it", object.name);
            return Err(StoreError::new(StoreErrorKind::Schema, message));
        }
    }
    Ok(())
}

impl Object {
    /// The statement as SQLite keeps it: without what stands around it.
    fn statement(&self) -> &'static str {
        let statement = self.sql.find("CREATE").map_or(self.sql, |start| &self.sql[start..]);
        statement.trim_end().trim_end_matches(';')
    }
}

/// The version of the schema, 0 in an empty file.
///
/// # Errors
///
/// `Schema` for a file that is not ours, or that a newer program has made.
pub(crate) fn version(connection: &Connection) -> Result<usize, StoreError> {
    // In one statement: another process may be making the file between two.
    const LOOK: &str = "SELECT (SELECT application_id FROM pragma_application_id), \
        (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)";
    let (application, found, objects): (i32, i32, i64) = connection
        .query_row(LOOK, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(store_error)?;
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn who_looks_while_another_makes_the_file_finds_nothing_or_all() {
        const FILES: usize = 100;
        for _ in 0..FILES {
            let folder = tempfile::tempdir().unwrap();
            let open = || {
                let connection = Connection::open(folder.path().join("log.db")).unwrap();
                connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
                connection
            };
            let (maker, looker) = (open(), open());
            thread::scope(|scope| {
                scope.spawn(move || migrate(&maker).unwrap());
                while version(&looker).unwrap() == 0 {}
            });
        }
    }
}
