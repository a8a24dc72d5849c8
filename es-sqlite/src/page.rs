//! Reads one page.

use es_core::{
    Criteria, Direction, Page, Position, Read, RecordedEvent, Scope, StoreError, Version, limits,
};
use rusqlite::{Connection, ToSql, types::Value};

use crate::{
    append::{BLOCK, append_range},
    error::store_error,
    names::{NamesByNumber, Table, kind_numbers, number, stream_number},
    row::{COLUMNS, Rows, integer, unsigned},
};

/// Most rows that one page looks at, so that a filter that finds nothing does
/// not hold a reader for ever.
const LOOKED_AT: usize = 8_192;
/// Rows looked at in vain after which the coarse index is asked again.
const IN_VAIN: usize = 1_024;
/// Payload after which a page is full.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A request with its names turned into numbers.
#[derive(Debug)]
pub(crate) struct Query {
    read: Read,
    source: Source,
    kinds: Option<Vec<i64>>,
    tenant: Option<i64>,
    category: Option<i64>,
}

/// Which rows to look at.
#[derive(Debug)]
enum Source {
    Nothing,
    Log,
    Stream(i64),
    Tagged(Vec<String>),
    Correlated(String),
}

/// How far a page came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) after: Position,
    pub(crate) up_to: Position,
    /// In a stream that is read forwards, only versions above it are left; the
    /// index then need not be walked from the beginning for each page.
    pub(crate) after_version: Version,
}

impl Query {
    /// Looks the names up. A name that the file does not know yet matches
    /// nothing now, but may later: `None` for those.
    pub(crate) fn resolve(connection: &Connection, read: Read) -> Result<Self, StoreError> {
        let tenant = match &read.tenant {
            Some(tenant) => Some(number(connection, Table::Tenants, tenant.as_str())?),
            None => None,
        };
        let category = match &read.scope {
            Scope::Category(category) => Some(number(connection, Table::Categories, category)?),
            _ => None,
        };
        let kinds = match read.types.as_slice() {
            [] => None,
            types => Some(kind_numbers(connection, types)?),
        };
        let unknown =
            tenant == Some(None) || category == Some(None) || kinds.as_deref() == Some(&[]);
        let source = if unknown { Source::Nothing } else { source(connection, &read)? };
        Ok(Self { source, kinds, tenant: tenant.flatten(), category: category.flatten(), read })
    }

    /// Reads up to `wanted` events of the window; the window that is left.
    pub(crate) fn page(
        &self,
        connection: &Connection,
        names: &mut NamesByNumber,
        window: Window,
        wanted: usize,
    ) -> Result<(Page, Window), StoreError> {
        let wanted = wanted.min(limits::PAGE_EVENTS);
        match &self.source {
            Source::Nothing => Ok((Page { events: vec![], through: window.up_to }, window.read())),
            Source::Log if self.is_filtered() => self.skip(connection, names, window, wanted),
            _ => self.select(connection, names, window, wanted),
        }
    }

    fn is_filtered(&self) -> bool {
        self.kinds.is_some() || self.tenant.is_some() || self.category.is_some()
    }

    /// Jumps over the blocks that hold nothing, then selects.
    fn skip(
        &self,
        connection: &Connection,
        names: &mut NamesByNumber,
        window: Window,
        wanted: usize,
    ) -> Result<(Page, Window), StoreError> {
        match self.next_block(connection, window)? {
            None => Ok((Page { events: vec![], through: window.up_to }, window.read())),
            Some(block) => {
                let narrowed = window.narrowed(self.read.direction, block);
                self.select(connection, names, narrowed, wanted)
            }
        }
    }

    fn next_block(
        &self,
        connection: &Connection,
        window: Window,
    ) -> Result<Option<u64>, StoreError> {
        const UP: &str = "SELECT block, kind, tenant, category FROM event_blocks \
             WHERE block >= ?1 AND block <= ?2 ORDER BY block";
        const DOWN: &str = "SELECT block, kind, tenant, category FROM event_blocks \
             WHERE block >= ?1 AND block <= ?2 ORDER BY block DESC";
        let sql = match self.read.direction {
            Direction::Forwards => UP,
            Direction::Backwards => DOWN,
        };
        let block = |position: u64| clamp(position / BLOCK);
        let key = [block(window.after.get().saturating_add(1)), block(window.up_to.get())];
        let mut select = connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = select.query(key).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let is = |wanted: Option<i64>, column| {
                Ok::<_, StoreError>(match wanted {
                    Some(wanted) => integer(row, column)? == wanted,
                    None => true,
                })
            };
            let kind = integer(row, 1)?;
            let kind_fits = self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind));
            if kind_fits && is(self.tenant, 2)? && is(self.category, 3)? {
                return Ok(Some(unsigned(row, 0)?));
            }
        }
        Ok(None)
    }

    fn select(
        &self,
        connection: &Connection,
        names: &mut NamesByNumber,
        window: Window,
        wanted: usize,
    ) -> Result<(Page, Window), StoreError> {
        let (sql, key) = self.sql(window);
        let mut select = connection.prepare_cached(&sql).map_err(store_error)?;
        let key: Vec<&dyn ToSql> = key.iter().map(|value| value as &dyn ToSql).collect();
        let mut found = select.query(key.as_slice()).map_err(store_error)?;
        let mut rows = Rows::default();
        let (mut looked_at, mut in_vain) = (0, 0);
        let mut last = None;
        while let Some(row) = found.next().map_err(store_error)? {
            let full = rows.len() == wanted || rows.payload_bytes() >= PAGE_BYTES;
            if full || looked_at == LOOKED_AT || in_vain == IN_VAIN {
                let events = self.content(rows.into_events());
                return Ok(window.stopped(self.read.direction, events, last));
            }
            (looked_at, in_vain) = (looked_at + 1, in_vain + 1);
            last = Some((Position::new(unsigned(row, 0)?), Version::new(unsigned(row, 2)?)));
            if self.wants(connection, names, row)? {
                rows.push(connection, names, row)?;
                in_vain = 0;
            }
        }
        let events = self.content(rows.into_events());
        Ok((Page { events, through: window.up_to }, window.read()))
    }

    /// Whether the row fits, by its numbers alone.
    fn wants(
        &self,
        connection: &Connection,
        names: &mut NamesByNumber,
        row: &rusqlite::Row<'_>,
    ) -> Result<bool, StoreError> {
        if let Some(kinds) = &self.kinds
            && !kinds.contains(&integer(row, 3)?)
        {
            return Ok(false);
        }
        if self.tenant.is_none() && self.category.is_none() {
            return Ok(true);
        }
        if matches!(self.source, Source::Stream(_)) {
            return Ok(true);
        }
        let stream = names.stream(connection, integer(row, 1)?)?;
        Ok(self.tenant.is_none_or(|tenant| tenant == stream.tenant)
            && self.category.is_none_or(|category| category == stream.category))
    }

    /// Leaves out what the numbers could not tell.
    fn content(&self, mut events: Vec<RecordedEvent>) -> Vec<RecordedEvent> {
        let plain = matches!(self.read.scope, Scope::All | Scope::Stream(_) | Scope::Category(_))
            && self.read.tags.is_empty()
            && self.read.correlation_id.is_none()
            && self.read.since.is_none()
            && self.read.until.is_none();
        if !plain {
            events.retain(|event| self.read.accepts(event));
        }
        events
    }

    fn sql(&self, window: Window) -> (String, Vec<Value>) {
        let order = match self.read.direction {
            Direction::Forwards => "",
            Direction::Backwards => " DESC",
        };
        let range = "position > ?1 AND position <= ?2";
        let mut key = vec![
            Value::Integer(clamp(window.after.get())),
            Value::Integer(clamp(window.up_to.get())),
        ];
        let select = format!("SELECT {COLUMNS} FROM events WHERE");
        let sql = match &self.source {
            Source::Stream(stream) => {
                key.push(Value::Integer(*stream));
                key.push(Value::Integer(clamp(window.after_version.get())));
                format!("{select} stream = ?3 AND version > ?4 AND {range} ORDER BY version{order}")
            }
            Source::Tagged(tags) => {
                key.push(self.tenant.map_or(Value::Null, Value::Integer));
                key.extend(tags.iter().map(|tag| Value::Text(tag.clone())));
                let places: Vec<_> = (0..tags.len()).map(|n| format!("?{}", n + 4)).collect();
                let tagged = format!(
                    "SELECT position FROM event_tags WHERE (?3 IS NULL OR tenant = ?3) \
                     AND tag IN ({}) AND {range}",
                    places.join(", ")
                );
                format!("{select} position IN ({tagged}) ORDER BY position{order}")
            }
            Source::Correlated(id) => {
                key.push(Value::Text(id.clone()));
                format!("{select} correlation = ?3 AND {range} ORDER BY position{order}")
            }
            Source::Log | Source::Nothing => format!("{select} {range} ORDER BY position{order}"),
        };
        (sql, key)
    }
}

fn source(connection: &Connection, read: &Read) -> Result<Source, StoreError> {
    Ok(match &read.scope {
        Scope::Stream(stream) => {
            stream_number(connection, stream)?.map_or(Source::Nothing, Source::Stream)
        }
        Scope::Append(_) => Source::Log,
        Scope::Matching(criteria) => tagged(criteria).map_or(Source::Log, Source::Tagged),
        _ => match (&read.correlation_id, read.tags.first()) {
            (Some(id), _) => Source::Correlated(id.clone()),
            (None, Some(tag)) => Source::Tagged(vec![tag.as_str().to_owned()]),
            (None, None) => Source::Log,
        },
    })
}

/// One tag of each alternative, if each has one: a superset of what matches.
fn tagged(criteria: &Criteria) -> Option<Vec<String>> {
    let tags = criteria.alternatives().iter().map(|one| one.tags.first());
    tags.map(|tag| tag.map(|tag| tag.as_str().to_owned())).collect()
}

/// Where an append stands, as a window of the log.
pub(crate) fn window_of_append(
    connection: &Connection,
    read: &Read,
    window: Window,
) -> Result<Window, StoreError> {
    let (Scope::Append(id), Some(tenant)) = (&read.scope, &read.tenant) else { return Ok(window) };
    let range = append_range(connection, tenant, *id)?;
    let Some((Ok(first), Ok(last))) = range.map(|(f, l)| (u64::try_from(f), u64::try_from(l)))
    else {
        return Ok(window.read());
    };
    Ok(Window {
        after: window.after.max(Position::new(first.saturating_sub(1))),
        up_to: window.up_to.min(Position::new(last)),
        ..window
    })
}

/// Beyond what SQLite can count there is nothing.
pub(crate) fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Window {
    /// Nothing is left.
    fn read(self) -> Self {
        Self { after: self.up_to, ..self }
    }

    pub(crate) fn is_read(self) -> bool {
        self.after >= self.up_to
    }

    /// The window without what stands before this block, in the direction.
    fn narrowed(self, direction: Direction, block: u64) -> Self {
        let (first, last) = (block * BLOCK, block * BLOCK + BLOCK - 1);
        match direction {
            Direction::Forwards => {
                Self { after: self.after.max(Position::new(first.saturating_sub(1))), ..self }
            }
            Direction::Backwards => Self { up_to: self.up_to.min(Position::new(last)), ..self },
        }
    }

    /// The page that ends at the row `last`, and the window behind it.
    fn stopped(
        self,
        direction: Direction,
        events: Vec<RecordedEvent>,
        last: Option<(Position, Version)>,
    ) -> (Page, Self) {
        let (last, after_version) = last.unwrap_or((self.after, self.after_version));
        let left = match direction {
            Direction::Forwards => Self { after: last, after_version, ..self },
            Direction::Backwards => {
                Self { up_to: Position::new(last.get().saturating_sub(1)), ..self }
            }
        };
        (Page { events, through: left.after }, left)
    }
}
