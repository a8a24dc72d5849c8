//! Removes events inside the writer's open transaction, between the appends of
//! its group.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use es_core::{
    AppendError, AppendId, Appended, Conflict, DELETED, Direction, EventId, Expected, Keep, Name,
    NewEvent, Removed, Retention, StoreError, StreamId, TOMBSTONED, TRUNCATED, Version, Write,
    Written,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    SqliteStore,
    append::{BLOCK, signed},
    error::{damaged, store_error},
    log::{Done, Head, Log, Work},
    names::{Kind, Table, number},
    query::of_stream,
    row::{Ids, Numbers, correlation, ids, tags},
};

/// Events that are removed between two looks at the file, and streams that are
/// listed at a time.
const STEP: usize = 256;

/// What is asked of the writer.
#[derive(Debug)]
pub(crate) enum Removal {
    Truncate { stream: StreamId, kept: Kept, id: EventId },
    End { stream: StreamId, expected: Expected, marker: NewEvent },
}

/// What remains of a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kept {
    From(Version),
    Young { newest: Option<u64>, since: Option<DateTime<Utc>> },
}

#[async_trait]
impl Retention for SqliteStore {
    async fn truncate(&self, stream: &StreamId, before: Version) -> Result<u64, StoreError> {
        self.shorten(stream.clone(), Kept::From(before)).await
    }

    async fn delete(&self, stream: &StreamId, expected: Expected) -> Result<Appended, AppendError> {
        self.end(stream, expected, DELETED).await
    }

    async fn tombstone(
        &self,
        stream: &StreamId,
        expected: Expected,
    ) -> Result<Appended, AppendError> {
        self.end(stream, expected, TOMBSTONED).await
    }

    async fn retain(&self, keep: Keep) -> Result<Removed, StoreError> {
        let kept = Kept::Young { newest: keep.newest, since: keep.since(self.world().now()) };
        let (mut removed, mut after) = (Removed::default(), 0);
        loop {
            let asked = keep.clone();
            let listed = self.readers()?;
            let listed =
                listed.run(move |reader| streams(&reader.connection, &asked, after)).await?;
            for (number, stream) in listed.iter().cloned() {
                after = number;
                removed.add(self.shorten(stream, kept).await?);
            }
            if listed.len() < STEP {
                return Ok(removed);
            }
        }
    }
}

impl SqliteStore {
    async fn shorten(&self, stream: StreamId, kept: Kept) -> Result<u64, StoreError> {
        let removal = Removal::Truncate { stream, kept, id: self.world().event_id() };
        match self.writer().carry_out(Work::Remove(removal)).await {
            Ok(done) => Ok(done.removed),
            Err(AppendError::Store(error)) => Err(error),
            Err(other) => Err(damaged(other)),
        }
    }

    async fn end(
        &self,
        stream: &StreamId,
        expected: Expected,
        marker: Name,
    ) -> Result<Appended, AppendError> {
        let marker = NewEvent::marker(marker, self.world().event_id());
        let removal = Removal::End { stream: stream.clone(), expected, marker };
        Ok(self.writer().carry_out(Work::Remove(removal)).await?.appended)
    }
}

/// Some streams of a category, by their numbers.
fn streams(
    connection: &Connection,
    keep: &Keep,
    after: i64,
) -> Result<Vec<(i64, StreamId)>, StoreError> {
    const STREAMS: &str = "SELECT id, name FROM streams \
         WHERE id > ? AND tenant = ? AND category = ? ORDER BY id LIMIT ?";
    let tenant = number(connection, Table::Tenants, keep.tenant.as_str())?;
    let category = number(connection, Table::Categories, &keep.category)?;
    let (Some(tenant), Some(category)) = (tenant, category) else { return Ok(Vec::new()) };
    let mut select = connection.prepare_cached(STREAMS).map_err(store_error)?;
    let key = params![after, tenant, category, STEP];
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
    let found = select.query_map(key, row).map_err(store_error)?;
    let stream = |found: rusqlite::Result<(i64, String)>| {
        let (number, name) = found.map_err(store_error)?;
        let stream = StreamId::parse(name).map_err(damaged)?;
        Ok((number, stream.of(keep.tenant.clone())))
    };
    found.map(stream).collect()
}

/// A row that is to go.
#[derive(Debug)]
struct Old {
    numbers: Numbers,
    append: Option<AppendId>,
    tags: Vec<es_core::Tag>,
    correlation: Option<String>,
}

impl Log<'_> {
    pub(crate) fn remove(
        &mut self,
        removal: Removal,
        now: DateTime<Utc>,
    ) -> Result<Done, AppendError> {
        self.begun = false;
        self.pending.flush()?;
        match removal {
            Removal::Truncate { stream, kept, id } => {
                let removed = self.truncate(&stream, kept, id)?;
                Ok(Done { removed, ..Done::default() })
            }
            Removal::End { stream, expected, marker } => {
                let appended = self.end(&stream, expected, marker, now)?;
                Ok(Done { appended, removed: 0 })
            }
        }
    }

    fn truncate(&mut self, stream: &StreamId, kept: Kept, id: EventId) -> Result<u64, StoreError> {
        let Some(head) = self.stream(stream)? else { return Ok(0) };
        let last = head.version;
        let from = match kept {
            Kept::From(version) => version,
            Kept::Young { newest, since } => self.kept_from(head, newest, since)?,
        };
        let Some(gone) = from.min(last).get().checked_sub(1) else { return Ok(0) };
        let first = self.old(head, Version::NONE, gone, 1)?;
        let Some(first) = first.first() else { return Ok(0) };
        let is_marked = self.type_of(first.numbers)? == TRUNCATED;
        if is_marked && first.numbers.version.get() == gone {
            return Ok(0);
        }
        self.begun = true;
        let (removed, last) = self.discard(head, gone)?;
        self.mark(head, last, id)?;
        Ok(removed - u64::from(is_marked))
    }

    fn end(
        &mut self,
        stream: &StreamId,
        expected: Expected,
        marker: NewEvent,
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        let head = self.stream(stream)?.filter(|head| head.version > Version::NONE);
        let Some(head) = head else {
            let (stream, actual) = (stream.clone(), Version::NONE);
            return Err(Box::new(Conflict { stream, actual, unseen: Vec::new() }).into());
        };
        let before = head.version.get() - 1;
        let last = self.old(head, Version::new(before), head.version.get(), 1)?;
        let last = last.first().ok_or_else(|| damaged("a stream has lost its last event"))?.numbers;
        let ended = self.type_of(last)?;
        if ended == TOMBSTONED || ended == marker.event_type {
            let Numbers { version, position, .. } = last;
            let writes = vec![Written { version, position }];
            return Ok(Appended { writes, position, repeated: true });
        }
        self.check_expected(&Write::new(stream.clone()).expect(expected), &[])?;
        self.begun = true;
        self.discard(head, head.version.get())?;
        self.change(
            "DELETE FROM events WHERE position = ?",
            params![signed(last.position.get())?],
        )?;
        self.change("DELETE FROM stream_runs WHERE stream = ?", params![head.number])?;
        self.let_go(stream, head)?;
        if marker.event_type == TOMBSTONED {
            self.change("INSERT INTO tombstones (stream) VALUES (?)", params![head.number])?;
            self.has_tombstones = true;
            self.streams.put(stream.clone(), Head { is_tombstoned: true, ..head });
        }
        let write = Write::new(stream.clone()).events([marker]);
        let written = self.write_stream(write, now.timestamp_micros())?;
        self.pending.flush()?;
        Ok(Appended { writes: vec![written], position: written.position, repeated: false })
    }

    /// Removes all up to this version but the last, of which only what leads to
    /// it is removed; the number of events, and the last.
    fn discard(&mut self, head: Head, up_to: u64) -> Result<(u64, Numbers), StoreError> {
        const DELETE: &str = "DELETE FROM events WHERE position = ?";
        let (mut after, mut removed) = (Version::NONE, 0);
        loop {
            let olds = self.old(head, after, up_to, STEP)?;
            for old in &olds {
                self.unlist(head, old)?;
                let numbers = old.numbers;
                (after, removed) = (numbers.version, removed + 1);
                if after.get() == up_to {
                    return Ok((removed, numbers));
                }
                self.change(DELETE, params![signed(numbers.position.get())?])?;
            }
            if olds.is_empty() {
                return Err(damaged("the index of a stream names an event that is not there"));
            }
        }
    }

    /// Removes what leads to an event. A repetition of its append is answered
    /// without it from now on.
    fn unlist(&mut self, head: Head, old: &Old) -> Result<(), StoreError> {
        const TAG: &str = "DELETE FROM event_tags WHERE tenant = ? AND tag = ? AND position = ?";
        const CORRELATION: &str = "DELETE FROM event_correlations \
             WHERE tenant = ? AND correlation = ? AND position = ?";
        const KNOWN: &str = "UPDATE appends SET results = ? \
             WHERE tenant = ? AND id = ? AND last = ? AND results IS NULL";
        let Numbers { version, position, .. } = old.numbers;
        let at = signed(position.get())?;
        for tag in &old.tags {
            self.change(TAG, params![head.tenant, tag.as_str(), at])?;
        }
        if let Some(correlation) = &old.correlation {
            self.change(CORRELATION, params![head.tenant, correlation, at])?;
        }
        if let Some(append) = old.append {
            let results = format!("[[{version},{position}]]");
            self.change(KNOWN, params![results, head.tenant, append.uuid().into_bytes(), at])?;
        }
        Ok(())
    }

    /// Lets a marker stand where the last removed event stood.
    fn mark(&mut self, head: Head, last: Numbers, id: EventId) -> Result<(), StoreError> {
        const MARK: &str = "UPDATE events SET kind = ?, ids = ?, tags = NULL, metadata = NULL, \
             payload = ? WHERE position = ?";
        const BLOCKS: &str = "INSERT OR IGNORE INTO event_blocks \
             (block, kind, tenant, category) VALUES (?, ?, ?, ?)";
        const RUN: &str = "SELECT version + events FROM stream_runs \
             WHERE stream = ? AND version <= ? ORDER BY version DESC LIMIT 1";
        const RUNS: &str = "DELETE FROM stream_runs WHERE stream = ? AND version <= ?";
        let NewEvent { event_type, schema_version, content_type, payload, .. } =
            NewEvent::marker(TRUNCATED, id);
        let kind = self.kind(Kind { event_type, schema_version, content_type })?;
        let (version, at) = (signed(last.version.get())?, signed(last.position.get())?);
        self.change(MARK, params![kind, Ids::new(id, None).as_bytes(), &payload[..], at])?;
        let block = signed(last.position.get() / BLOCK)?;
        self.change(BLOCKS, params![block, kind, head.tenant, head.category])?;
        let end: i64 = self
            .connection
            .prepare_cached(RUN)
            .and_then(|mut run| run.query_row(params![head.number, version], |row| row.get(0)))
            .map_err(store_error)?;
        self.change(RUNS, params![head.number, version])?;
        let run = params![head.number, version, at, end - version];
        self.insert_run.execute(run).map(|_| ()).map_err(store_error)
    }

    /// Removes the snapshot of a stream, and its unique claims.
    fn let_go(&self, stream: &StreamId, head: Head) -> Result<(), StoreError> {
        const SNAPSHOT: &str = "DELETE FROM snapshots WHERE tenant = ? AND stream = ?";
        const CLAIMS: &str = "DELETE FROM claims WHERE tenant = ? AND holder = ?";
        self.change(SNAPSHOT, params![stream.tenant().as_str(), stream.name()])?;
        self.change(CLAIMS, params![head.tenant, stream.name()])
    }

    /// Events of the stream after one version and up to another.
    fn old(
        &self,
        head: Head,
        after: Version,
        up_to: u64,
        limit: usize,
    ) -> Result<Vec<Old>, StoreError> {
        let sql = format!("{} LIMIT ?6", of_stream(Direction::Forwards));
        let mut select = self.connection.prepare_cached(&sql).map_err(store_error)?;
        let (from, up_to) = (signed(after.get() + 1)?, signed(up_to)?);
        let key = params![0, i64::MAX, head.number, from, up_to, limit];
        let mut found = select.query(key).map_err(store_error)?;
        let mut olds = Vec::new();
        while let Some(row) = found.next().map_err(store_error)? {
            olds.push(Old {
                numbers: Numbers::of(row)?,
                append: ids(row, 5)?.1,
                tags: tags(row, 6)?,
                correlation: correlation(row, 7)?,
            });
        }
        Ok(olds)
    }

    fn kept_from(
        &self,
        head: Head,
        newest: Option<u64>,
        since: Option<DateTime<Utc>>,
    ) -> Result<Version, StoreError> {
        let by_count = newest.map(|newest| head.version.get().saturating_sub(newest) + 1);
        let by_age = match since {
            Some(since) => Some(self.first_since(head, since)?),
            None => None,
        };
        Ok(by_age.max(by_count.map(Version::new)).unwrap_or_default())
    }

    /// The first event that is young enough, or the last.
    fn first_since(&self, head: Head, since: DateTime<Utc>) -> Result<Version, StoreError> {
        let sql = of_stream(Direction::Forwards);
        let sql = format!("SELECT version FROM ({sql}) WHERE recorded_at > ?6 LIMIT 1");
        let key = params![0, i64::MAX, head.number, 1, i64::MAX, since.timestamp_micros()];
        let found: Option<i64> = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut first| first.query_row(key, |row| row.get(0)).optional())
            .map_err(store_error)?;
        found.map_or(Ok(head.version), |first| {
            u64::try_from(first).map(Version::new).map_err(damaged)
        })
    }

    fn type_of(&mut self, numbers: Numbers) -> Result<Name, StoreError> {
        Ok(self.names.kind(self.connection, numbers.kind)?.event_type)
    }

    fn change(&self, sql: &str, row: &[&dyn rusqlite::ToSql]) -> Result<(), StoreError> {
        let changed =
            self.connection.prepare_cached(sql).and_then(|mut change| change.execute(row));
        changed.map(|_| ()).map_err(store_error)
    }
}
