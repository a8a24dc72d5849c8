//! Rows of events that wait to be inserted several at a time, which costs less
//! for each of them.

use bytes::Bytes;
use es_core::StoreError;
use rusqlite::{Connection, Statement};

use crate::{
    error::{damaged, store_error},
    row::Ids,
};

/// Rows to an insert.
const ROWS: usize = 16;
/// Columns of a row without its position.
const COLUMNS: usize = 8;

/// A row of `events`.
#[derive(Debug)]
pub(crate) struct EventRow {
    pub(crate) position: i64,
    pub(crate) stream: i64,
    pub(crate) version: i64,
    pub(crate) kind: i64,
    pub(crate) recorded_at: i64,
    pub(crate) ids: Ids,
    pub(crate) tags: Option<String>,
    pub(crate) metadata: Option<String>,
    pub(crate) payload: Bytes,
}

/// What the open transaction has still to insert. It must be flushed before
/// anything looks at `events`, and before the commit.
///
/// Several rows leave their positions to SQLite, which then need not look for
/// their places: it takes the last one and counts up. That these are the
/// positions that were meant is checked.
#[derive(Debug)]
pub(crate) struct Pending<'c> {
    connection: &'c Connection,
    rows: Vec<EventRow>,
    insert_one: Statement<'c>,
    insert_all: Statement<'c>,
}

impl<'c> Pending<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Result<Self, StoreError> {
        let insert = |sql: &str| connection.prepare(sql).map_err(store_error);
        let all = format!("{INSERT_AT_END}{}", vec![ROW_AT_END; ROWS].join(", "));
        let rows = Vec::with_capacity(ROWS);
        Ok(Self { connection, rows, insert_one: insert(INSERT_ONE)?, insert_all: insert(&all)? })
    }

    pub(crate) fn push(&mut self, row: EventRow) {
        self.rows.push(row);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        let inserted = match self.rows.len() {
            ROWS => self.insert_all(),
            _ => self.insert_each(),
        };
        self.rows.clear();
        inserted
    }

    fn insert_all(&mut self) -> Result<(), StoreError> {
        let insert = &mut self.insert_all;
        for (at, row) in self.rows.iter().enumerate() {
            row.bind(insert, at * COLUMNS).map_err(store_error)?;
        }
        insert.raw_execute().map_err(store_error)?;
        insert.clear_bindings();
        match self.rows.last() {
            Some(row) if row.position != self.connection.last_insert_rowid() => {
                Err(damaged("the log does not end where its last event stands"))
            }
            _ => Ok(()),
        }
    }

    fn insert_each(&mut self) -> Result<(), StoreError> {
        let insert = &mut self.insert_one;
        for row in &self.rows {
            let bound = row.bind(insert, 0);
            let bound = bound.and_then(|()| insert.raw_bind_parameter(COLUMNS + 1, row.position));
            bound.and_then(|()| insert.raw_execute()).map_err(store_error)?;
        }
        insert.clear_bindings();
        Ok(())
    }
}

const INSERT_AT_END: &str = "INSERT INTO events \
     (stream, version, kind, recorded_at, ids, tags, metadata, payload) VALUES ";
const ROW_AT_END: &str = "(?, ?, ?, ?, ?, ?, ?, ?)";
const INSERT_ONE: &str = "INSERT INTO events \
     (stream, version, kind, recorded_at, ids, tags, metadata, payload, position) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";

impl EventRow {
    /// Binds all but the position, behind so many parameters.
    fn bind(&self, insert: &mut Statement<'_>, behind: usize) -> rusqlite::Result<()> {
        insert.raw_bind_parameter(behind + 1, self.stream)?;
        insert.raw_bind_parameter(behind + 2, self.version)?;
        insert.raw_bind_parameter(behind + 3, self.kind)?;
        insert.raw_bind_parameter(behind + 4, self.recorded_at)?;
        insert.raw_bind_parameter(behind + 5, self.ids.as_bytes())?;
        insert.raw_bind_parameter(behind + 6, &self.tags)?;
        insert.raw_bind_parameter(behind + 7, &self.metadata)?;
        insert.raw_bind_parameter(behind + 8, &self.payload[..])
    }
}
