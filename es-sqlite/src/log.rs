//! What the writer remembers of the file, so that an append needs no look-ups.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, Utc};
use es_core::{
    AppendError, Appended, Batch, Inline, Position, StoreError, StoreErrorKind, StreamId, Tenant,
    Version,
};
use foldhash::fast::RandomState;
use rusqlite::{Connection, OptionalExtension, Statement, params};

use crate::{
    append::head,
    error::{damaged, store_error},
    inline::Inlined,
    names::{Cache, Kind, NamesByNumber, Table, kind_number_of, number_of},
    pending::Pending,
    retention::Removal,
};

/// What is asked of the log.
#[derive(Debug)]
pub(crate) enum Work {
    Append(Batch),
    Remove(Removal),
}

/// What became of the log.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) appended: Appended,
    pub(crate) removed: u64,
}

/// The log as its one writer sees it.
#[derive(Debug)]
pub(crate) struct Log<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) pending: Pending<'c>,
    pub(crate) insert_run: Statement<'c>,
    pub(crate) insert_append: Statement<'c>,
    pub(crate) names: NamesByNumber,
    pub(crate) tenants: Cache<Tenant, i64>,
    pub(crate) kinds: Cache<Kind, i64>,
    pub(crate) streams: Cache<StreamId, Head>,
    pub(crate) last_kind: Option<(Kind, i64)>,
    pub(crate) blocks: HashSet<Block, RandomState>,
    pub(crate) last_block: Option<Block>,
    pub(crate) head: Position,
    /// Whether there are streams that have to be asked whether they have ended.
    pub(crate) has_tombstones: bool,
    pub(crate) inlined: Inlined,
    /// Whether rows of the batch at hand have been written.
    pub(crate) begun: bool,
}

/// A row of the coarse index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    pub(crate) block: u64,
    pub(crate) kind: i64,
    pub(crate) tenant: i64,
    pub(crate) category: i64,
}

/// What is known of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) number: i64,
    pub(crate) tenant: i64,
    pub(crate) category: i64,
    pub(crate) version: Version,
    pub(crate) is_tombstoned: bool,
}

const INSERT_RUN: &str =
    "INSERT INTO stream_runs (stream, version, position, events) VALUES (?, ?, ?, ?)";
const INSERT_APPEND: &str =
    "INSERT INTO appends (tenant, id, first, last) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";

impl<'c> Log<'c> {
    pub(crate) fn new(
        connection: &'c Connection,
        inline: Option<Arc<dyn Inline>>,
    ) -> Result<Self, StoreError> {
        let mut log = Self {
            connection,
            pending: Pending::new(connection)?,
            insert_run: connection.prepare(INSERT_RUN).map_err(store_error)?,
            insert_append: connection.prepare(INSERT_APPEND).map_err(store_error)?,
            names: NamesByNumber::default(),
            tenants: Cache::default(),
            kinds: Cache::default(),
            streams: Cache::default(),
            last_kind: None,
            blocks: HashSet::default(),
            last_block: None,
            head: Position::START,
            has_tombstones: false,
            inlined: Inlined::new(inline),
            begun: false,
        };
        log.forget()?;
        Ok(log)
    }

    pub(crate) fn carry_out(
        &mut self,
        work: Work,
        now: DateTime<Utc>,
    ) -> Result<Done, AppendError> {
        match work {
            Work::Append(batch) => Ok(Done { appended: self.append(batch, now)?, removed: 0 }),
            Work::Remove(removal) => self.remove(removal, now),
        }
    }

    /// Forgets what is remembered of the file: another process has written, or
    /// a transaction was rolled back.
    pub(crate) fn forget(&mut self) -> Result<(), StoreError> {
        self.names = NamesByNumber::default();
        self.inlined.forget();
        self.tenants.clear();
        self.kinds.clear();
        self.streams.clear();
        self.pending.clear();
        self.last_kind = None;
        self.blocks.clear();
        self.last_block = None;
        self.head = head(self.connection)?;
        self.has_tombstones = has_tombstones(self.connection)?;
        Ok(())
    }

    /// Whether the transaction has to be rolled back after this: a damaged row
    /// that was only looked at concerns the batch that asked for it.
    pub(crate) fn is_spoilt_by(&self, error: &StoreError) -> bool {
        self.begun || error.kind() != StoreErrorKind::Corrupt || self.connection.is_autocommit()
    }

    pub(crate) fn head(&self) -> Position {
        self.head
    }

    pub(crate) fn stream(&mut self, stream: &StreamId) -> Result<Option<Head>, StoreError> {
        const STREAM: &str = "SELECT id, category, \
             (SELECT version + events - 1 FROM stream_runs \
              WHERE stream = streams.id ORDER BY version DESC LIMIT 1), \
             EXISTS (SELECT 1 FROM tombstones WHERE stream = streams.id) \
             FROM streams WHERE tenant = ? AND name = ?";
        if let Some(head) = self.streams.get(stream) {
            return Ok(Some(*head));
        }
        let tenant = self.tenant(stream.tenant())?;
        let found = self.connection.prepare_cached(STREAM).and_then(|mut select| {
            let columns =
                |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            select.query_row(params![tenant, stream.name()], columns).optional()
        });
        let Some((number, category, version, is_tombstoned)) = found.map_err(store_error)? else {
            return Ok(None);
        };
        let version: Option<i64> = version;
        let version = u64::try_from(version.unwrap_or(0)).map_err(damaged)?;
        let version = Version::new(version);
        let head = Head { number, tenant, category, version, is_tombstoned };
        self.streams.put(stream.clone(), head);
        Ok(Some(head))
    }

    pub(crate) fn stream_or_new(&mut self, stream: &StreamId) -> Result<Head, StoreError> {
        const NEW: &str = "INSERT INTO streams (tenant, category, name) VALUES (?, ?, ?)";
        if let Some(head) = self.stream(stream)? {
            return Ok(head);
        }
        let tenant = self.tenant(stream.tenant())?;
        let category = number_of(self.connection, Table::Categories, stream.category());
        let category = category.map_err(store_error)?;
        let row = params![tenant, category, stream.name()];
        let number = self.connection.prepare_cached(NEW).and_then(|mut new| new.insert(row));
        let number = number.map_err(store_error)?;
        let version = Version::NONE;
        Ok(Head { number, tenant, category, version, is_tombstoned: false })
    }

    pub(crate) fn tenant(&mut self, tenant: &Tenant) -> Result<i64, StoreError> {
        if let Some(number) = self.tenants.get(tenant) {
            return Ok(*number);
        }
        let number = number_of(self.connection, Table::Tenants, tenant.as_str());
        let number = number.map_err(store_error)?;
        self.tenants.put(tenant.clone(), number);
        Ok(number)
    }

    /// Neighbours are often of one kind.
    pub(crate) fn kind(&mut self, kind: Kind) -> Result<i64, StoreError> {
        if let Some((last, number)) = &self.last_kind
            && *last == kind
        {
            return Ok(*number);
        }
        let number = match self.kinds.get(&kind) {
            Some(number) => *number,
            None => {
                let number = kind_number_of(self.connection, &kind).map_err(store_error)?;
                self.kinds.put(kind.clone(), number);
                number
            }
        };
        self.last_kind = Some((kind, number));
        Ok(number)
    }
}

fn has_tombstones(connection: &Connection) -> Result<bool, StoreError> {
    const ANY: &str = "SELECT EXISTS (SELECT 1 FROM tombstones)";
    let found = connection.prepare_cached(ANY);
    found.and_then(|mut any| any.query_row([], |row| row.get(0))).map_err(store_error)
}
