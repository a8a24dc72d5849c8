//! Reads one page.

use es_core::{Direction, Page, Position, Read, Scope, StoreError, limits};
use rusqlite::{Connection, Row, ToSql};

use crate::{
    append::{BLOCK, append_range},
    error::{damaged, store_error},
    names::NamesByNumber,
    query::{Query, Source, clamp},
    row::{Numbers, Rows, integer, unsigned},
    window::Window,
};

/// Payload after which a page is full.
const PAGE_BYTES: usize = 1024 * 1024;
/// Most rows that one page looks at, so that a filter that finds nothing does
/// not hold a reader for ever.
const LOOKED_AT: usize = 8_192;
/// Rows looked at in vain after which the coarse index is asked again.
const IN_VAIN: usize = 1_024;

/// A page whose events are still rows.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) rows: Rows,
    pub(crate) through: Position,
}

impl Draft {
    pub(crate) fn empty(through: Position) -> Self {
        Self { rows: Rows::default(), through }
    }

    pub(crate) fn into_page(self) -> Page {
        Page { events: self.rows.into_events(), through: self.through }
    }
}

impl Query {
    /// Reads up to `wanted` events of the window; the window that is left.
    pub(crate) fn page(
        &self,
        connection: &Connection,
        names: &mut NamesByNumber,
        window: Window,
        wanted: usize,
    ) -> Result<(Draft, Window), StoreError> {
        let wanted = wanted.min(limits::PAGE_EVENTS);
        match &self.source {
            Source::Nothing => Ok(window.last_page(Rows::default())),
            Source::Log if self.is_filtered() => match self.next_block(connection, window)? {
                None => Ok(window.last_page(Rows::default())),
                Some(block) => {
                    let narrowed = window.narrowed(self.read.direction, block);
                    self.select(connection, names, narrowed, wanted)
                }
            },
            _ => self.select(connection, names, window, wanted),
        }
    }

    fn is_filtered(&self) -> bool {
        self.kinds.is_some() || self.tenant.is_some() || self.category.is_some()
    }

    /// The next block that holds something.
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
    ) -> Result<(Draft, Window), StoreError> {
        let mut select = connection.prepare_cached(&self.sql).map_err(store_error)?;
        let key = self.key(window);
        let key: Vec<&dyn ToSql> = key.iter().map(|value| value as &dyn ToSql).collect();
        let mut found = select.query(key.as_slice()).map_err(store_error)?;
        let mut rows = Rows::for_page(wanted);
        let (mut looked_at, mut in_vain, mut last) = (0, 0, None);
        while let Some(row) = found.next().map_err(store_error)? {
            let full = rows.len() == wanted || rows.payload_bytes() >= PAGE_BYTES;
            if let Some(last) = last
                && (full || looked_at == LOOKED_AT || in_vain == IN_VAIN)
            {
                return Ok(window.page(self.read.direction, rows, last));
            }
            let numbers = self.numbers(row, last)?;
            (looked_at, in_vain, last) = (looked_at + 1, in_vain + 1, Some(numbers));
            if self.wants(connection, names, numbers)? {
                rows.push(connection, names, row, numbers)?;
                if self.is_plain || rows.keep_last_if(|event| self.read.accepts(event)) {
                    in_vain = 0;
                }
            }
        }
        Ok(window.last_page(rows))
    }

    /// The numbers of a row, which the index has promised to be of the stream, and to come
    /// after the last one.
    fn numbers(&self, row: &Row<'_>, last: Option<Numbers>) -> Result<Numbers, StoreError> {
        let numbers = Numbers::of(row)?;
        let Source::Stream(stream) = self.source else { return Ok(numbers) };
        let follows = |last: Numbers| match self.read.direction {
            Direction::Forwards => last.version < numbers.version,
            Direction::Backwards => last.version > numbers.version,
        };
        if stream == numbers.stream && last.is_none_or(follows) {
            return Ok(numbers);
        }
        Err(damaged(format!(
            "the event at position {} is not the one of its stream that its index names",
            numbers.position
        )))
    }

    /// Whether the row fits, by its numbers alone.
    fn wants(
        &self,
        connection: &Connection,
        names: &mut NamesByNumber,
        numbers: Numbers,
    ) -> Result<bool, StoreError> {
        if self.kinds.as_ref().is_some_and(|kinds| !kinds.contains(&numbers.kind)) {
            return Ok(false);
        }
        let anyones = self.tenant.is_none() && self.category.is_none();
        if anyones || matches!(self.source, Source::Stream(_)) {
            return Ok(true);
        }
        let stream = names.stream(connection, numbers.stream)?;
        Ok(self.tenant.is_none_or(|tenant| tenant == stream.tenant)
            && self.category.is_none_or(|category| category == stream.category))
    }
}

/// Where an append stands, as a window of the log.
pub(crate) fn window_of_append(
    connection: &Connection,
    read: &Read,
    window: Window,
) -> Result<Window, StoreError> {
    let (Scope::Append(id), Some(tenant)) = (&read.scope, &read.tenant) else { return Ok(window) };
    let range = append_range(connection, tenant, *id)?;
    match range.map(|(first, last)| (u64::try_from(first), u64::try_from(last))) {
        Some((Ok(first), Ok(last))) => Ok(window.within(first, last)),
        _ => Ok(window.emptied()),
    }
}
