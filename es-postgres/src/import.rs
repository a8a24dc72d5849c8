//! Takes the events of another store as they are: by COPY, in one transaction
//! that keeps everybody else from appending.

use std::mem;

use async_trait::async_trait;
use es_core::{
    Import, ImportError, Imported, Pages, Position, StoreError, StoreErrorKind, failpoint,
};
use futures_util::{StreamExt, future::join, stream::Fuse};
use sqlx::{Executor, PgConnection, Row, postgres::PgDatabaseError, query};

use crate::{
    PostgresStore,
    connections::Lent,
    copy_in::{CORRELATIONS, Chunk, EVENTS, Rows, TAGS},
    error::{code, signed, store_error, unsigned, write_error},
    store::Shared,
};

/// Rows that are sent at once: as many, or as many bytes.
const ROWS: usize = 8_192;
const BYTES: usize = 4 * 1024 * 1024;

/// Who appends for longer keeps the import from beginning.
const PATIENCE: &str = "SET LOCAL lock_timeout = '10s'";
/// Appends take these in the same order, the streams always first.
const LOCK: &str = "LOCK TABLE {schema}.streams, {schema}.events, {schema}.event_tags, \
     {schema}.event_correlations, {schema}.appends, {schema}.claims IN SHARE ROW EXCLUSIVE MODE";
const IS_EMPTY: &str = "SELECT NOT EXISTS (SELECT FROM {schema}.events) \
     AND NOT EXISTS (SELECT FROM {schema}.appends) AND NOT EXISTS (SELECT FROM {schema}.claims)";
/// Nobody hands a model over while `streams` is locked.
pub(crate) const HAS_INLINE: &str = "SELECT EXISTS (SELECT FROM {schema}.inline_models AS i \
     WHERE {schema}.is_inline(i.model))";
const DRAW: &str = "SELECT setval('{schema}.positions', greatest(last_value, $1)) \
     FROM {schema}.positions";

#[async_trait]
impl Import for PostgresStore {
    async fn import(&self, pages: Pages) -> Result<Imported, ImportError> {
        let shared = self.shared();
        shared.allows(None)?;
        let mut lent = shared.projectors.begin().await?;
        let outcome = Importing { shared, to: &mut lent }.run(pages).await;
        match outcome {
            Ok(imported) => {
                failpoint!("postgres.import_before_commit");
                let commit = async { lent.execute("COMMIT").await.map_err(write_error) };
                shared.projectors.written_in_time(commit).await?;
                failpoint!("postgres.import_after_commit");
                lent.give_back();
                shared.horizon.wake();
                Ok(imported)
            }
            Err(error) => {
                roll_back(shared, lent).await;
                Err(error)
            }
        }
    }
}

/// A connection that cannot do it is closed, which does it too.
async fn roll_back(shared: &Shared, mut lent: Lent) {
    let rollback = async { lent.execute("ROLLBACK").await.map_err(store_error) };
    if shared.projectors.in_time(rollback).await.is_ok() {
        lent.give_back();
    }
}

struct Importing<'i> {
    shared: &'i Shared,
    to: &'i mut PgConnection,
}

impl Importing<'_> {
    async fn run(&mut self, pages: Pages) -> Result<Imported, ImportError> {
        self.execute(PATIENCE).await?;
        self.execute(LOCK).await?;
        if self.is_behind_wall().await? {
            let why = "row level security applies to this role, and COPY does not go through it: \
                       import before `separate_tenants`, or as a role with BYPASSRLS";
            return Err(StoreError::new(StoreErrorKind::Schema, why).into());
        }
        if !self.is_empty().await? {
            return Err(ImportError::NotEmpty);
        }
        if self.says(HAS_INLINE).await? {
            let why = "a read model changes with each append and would not see what is imported: \
                       let workers keep it first";
            return Err(StoreError::new(StoreErrorKind::Invalid, why).into());
        }
        let (mut pages, mut imported) = (pages.fuse(), Imported::default());
        let mut chunk = gather(&mut pages, &mut imported).await?;
        while !chunk.positions.is_empty() {
            let this = mem::take(&mut chunk);
            let (next, sent) = join(gather(&mut pages, &mut imported), self.send(this)).await;
            sent?;
            chunk = next?;
        }
        self.finish(imported.position).await?;
        Ok(imported)
    }

    async fn is_empty(&mut self) -> Result<bool, StoreError> {
        self.says(IS_EMPTY).await
    }

    /// What is hidden would not be missed by `is_empty` either.
    async fn is_behind_wall(&mut self) -> Result<bool, StoreError> {
        self.says("SELECT row_security_active('{schema}.events')").await
    }

    async fn says(&mut self, statement: &str) -> Result<bool, StoreError> {
        let sql = self.shared.schema.sql(statement);
        let found = query(&sql).fetch_one(&mut *self.to).await;
        found.and_then(|row| row.try_get(0)).map_err(store_error)
    }

    async fn send(&mut self, chunk: Chunk) -> Result<(), ImportError> {
        let Chunk { events, tags, correlations, positions } = chunk;
        self.copy(EVENTS, events).await.map_err(|error| refused(error, &positions))?;
        self.copy(TAGS, tags).await.map_err(store_error)?;
        self.copy(CORRELATIONS, correlations).await.map_err(store_error)?;
        failpoint!("postgres.import_chunk");
        Ok(())
    }

    async fn copy(&mut self, statement: &str, rows: Rows) -> Result<(), sqlx::Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut copy = self.to.copy_in_raw(&self.shared.schema.sql(statement)).await?;
        copy.send(rows.finish()).await?;
        copy.finish().await.map(|_| ())
    }

    /// What is derived from the events. It takes the longer the more there are,
    /// so that no patience bounds it.
    async fn finish(&mut self, last: Position) -> Result<(), ImportError> {
        const HOLE: &str = include_str!("statements/hole.sql");
        const STREAMS: &str = include_str!("statements/streams_of_events.sql");
        const APPENDS: &str = include_str!("statements/appends_of_events.sql");
        let hole = self.shared.schema.sql(HOLE);
        let hole = query(&hole).fetch_optional(&mut *self.to).await.map_err(store_error)?;
        if let Some(row) = hole {
            let position = unsigned(row.try_get(0).map_err(store_error)?)?;
            return Err(ImportError::hole(Position::new(position)));
        }
        self.execute(STREAMS).await?;
        self.execute(APPENDS).await?;
        let draw = self.shared.schema.sql(DRAW);
        let draw = query(&draw).bind(signed(last.get())?).execute(&mut *self.to).await;
        draw.map(|_| ()).map_err(|error| store_error(error).into())
    }

    async fn execute(&mut self, statement: &str) -> Result<(), StoreError> {
        let sql = self.shared.schema.sql(statement);
        query(&sql).execute(&mut *self.to).await.map(|_| ()).map_err(store_error)
    }
}

/// The next rows; none at the end of the pages.
async fn gather(pages: &mut Fuse<Pages>, imported: &mut Imported) -> Result<Chunk, ImportError> {
    let mut chunk = Chunk::default();
    while chunk.size() < BYTES && chunk.positions.len() < ROWS {
        let Some(page) = pages.next().await else { break };
        for event in page.map_err(ImportError::Source)?.events {
            imported.take(&event)?;
            chunk.push(event)?;
        }
    }
    Ok(chunk)
}

/// Two events at one version of a stream are the fault of whoever sent them; the
/// server says in which line, behind a comma.
fn refused(error: sqlx::Error, positions: &[Position]) -> ImportError {
    let line = || {
        let place = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?.r#where()?;
        let digits = place.split_once(", ")?.1.split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|digits| digits.parse::<usize>().ok()).next()?.checked_sub(1)
    };
    match line().and_then(|line| positions.get(line)) {
        Some(position) if code(&error).as_deref() == Some("23505") => ImportError::hole(*position),
        _ => store_error(error).into(),
    }
}
