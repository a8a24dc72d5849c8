//! Carries out a batch inside the writer's open transaction. Everything is
//! decided before its first event is written, so a refused batch leaves none and
//! the batches around it go on.

use chrono::{DateTime, Utc};
use es_core::{
    AppendError, AppendId, Appended, Batch, Claim, ClaimChange, Metadata, NewEvent, Position,
    RecordedEvent, StoreError, Tag, Tenant, Version, Write, Written,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    error::{damaged, store_error},
    log::{Block, Head, Log},
    names::{Kind, NamesByNumber},
    pending::EventRow,
    row::{COLUMNS, Ids, Numbers, Rows},
};

/// Positions to a block of the coarse index.
pub(crate) const BLOCK: u64 = 512;

impl Log<'_> {
    pub(crate) fn append(
        &mut self,
        batch: Batch,
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        self.begun = false;
        let ids = ids(&batch);
        if ids.len() > 1
            && let Some(first) = self.repeated(&batch, &ids)?
        {
            return Ok(first);
        }
        if let Err(refusal) = self.check(&batch) {
            return self.repeated(&batch, &ids)?.ok_or(refusal);
        }
        let folded = self.fold(&batch, now)?;
        self.begun = true;
        if !self.register(&batch)? {
            return self.repeated(&batch, &ids)?.ok_or_else(|| damaged("an append is lost").into());
        }
        for claim in &batch.claims_in_order() {
            self.change_claim(claim)?;
        }
        self.put_folded(folded)?;
        self.write(batch.writes, now)
    }

    /// Puts the ids of the batch into the index; `false` if one is there
    /// already, which with more than one id has been ruled out before.
    fn register(&mut self, batch: &Batch) -> Result<bool, AppendError> {
        let mut first = self.head.get() + 1;
        let mut writes = batch.writes.iter().peekable();
        while let Some(write) = writes.next() {
            let mut last = first + write.events.len() as u64;
            while let Some(next) = writes.next_if(|next| next.append_id == write.append_id) {
                last += next.events.len() as u64;
            }
            if let Some(id) = write.append_id {
                let tenant = self.tenant(write.stream.tenant())?;
                let id = id.uuid().into_bytes();
                let row = params![tenant, id, signed(first)?, signed(last - 1)?];
                if self.insert_append.execute(row).map_err(store_error)? == 0 {
                    return Ok(false);
                }
            }
            first = last;
        }
        Ok(true)
    }

    fn repeated(
        &mut self,
        batch: &Batch,
        ids: &[AppendId],
    ) -> Result<Option<Appended>, AppendError> {
        let Some(tenant) = batch.tenant() else { return Ok(None) };
        self.pending.flush()?;
        let mut known = Vec::new();
        for id in ids {
            if let Some(first) = first_result(self.connection, &mut self.names, tenant, *id)? {
                known.push((*id, first));
            }
        }
        match known.len() {
            0 => Ok(None),
            all if all == ids.len() && batch.is_wholly_identified() => Ok(Some(join(known))),
            _ => Err(AppendError::Repeated { known }),
        }
    }

    fn change_claim(&mut self, claim: &Claim) -> Result<(), StoreError> {
        const TAKE: &str = "INSERT OR REPLACE INTO claims (tenant, scope, key, holder) \
             VALUES (?1, ?2, ?3, ?4)";
        const RELEASE: &str = "DELETE FROM claims \
             WHERE tenant = ?1 AND scope = ?2 AND key = ?3 AND holder = ?4";
        let sql = match claim.change() {
            ClaimChange::Take => TAKE,
            ClaimChange::Release => RELEASE,
        };
        let tenant = self.tenant(claim.holder().tenant())?;
        let holder = claim.holder().name();
        let row = params![tenant, claim.scope().as_str(), claim.key().as_str(), holder];
        let mut change = self.connection.prepare_cached(sql).map_err(store_error)?;
        change.execute(row).map(|_| ()).map_err(store_error)
    }

    fn write(&mut self, writes: Vec<Write>, now: DateTime<Utc>) -> Result<Appended, AppendError> {
        let ids: Vec<_> = writes
            .iter()
            .map(|write| Some((write.append_id?, write.stream.tenant().clone())))
            .collect();
        let mut written = Vec::with_capacity(writes.len());
        for write in writes {
            written.push(self.write_stream(write, now.timestamp_micros())?);
        }
        let pairs: Vec<_> = ids.into_iter().zip(written.iter().copied()).collect();
        for run in pairs.chunk_by(|(one, _), (next, _)| one == next).filter(|run| run.len() > 1) {
            if let Some((id, tenant)) = &run[0].0 {
                let results: Vec<_> = run.iter().map(|(_, written)| *written).collect();
                self.write_results(*id, tenant, &results)?;
            }
        }
        Ok(Appended { writes: written, position: self.head, repeated: false })
    }

    /// Keeps what a repetition of an append with several writes is told.
    fn write_results(
        &mut self,
        id: AppendId,
        tenant: &Tenant,
        results: &[Written],
    ) -> Result<(), StoreError> {
        const RESULTS: &str = "UPDATE appends SET results = ? WHERE tenant = ? AND id = ?";
        let numbers: Vec<_> =
            results.iter().map(|one| (one.version.get(), one.position.get())).collect();
        let results = serde_json::to_string(&numbers).map_err(damaged)?;
        let key = params![results, self.tenant(tenant)?, id.uuid().into_bytes()];
        let mut update = self.connection.prepare_cached(RESULTS).map_err(store_error)?;
        update.execute(key).map(|_| ()).map_err(store_error)
    }

    pub(crate) fn write_stream(&mut self, write: Write, now: i64) -> Result<Written, StoreError> {
        let Write { append_id, stream, events, .. } = write;
        if events.is_empty() {
            let version = self.stream(&stream)?.map_or(Version::NONE, |head| head.version);
            return Ok(Written { version, position: Position::START });
        }
        let mut head = self.stream_or_new(&stream)?;
        self.write_run(head, events.len())?;
        for event in events {
            let position = Position::new(self.head.get() + 1);
            head.version = head.version.plus(1);
            self.write_event(head, position, append_id, event, now)?;
            self.head = position;
        }
        match self.streams.get_mut(&stream) {
            Some(cached) => *cached = head,
            None => self.streams.put(stream, head),
        }
        Ok(Written { version: head.version, position: self.head })
    }

    /// Notes where the next events of a stream are going to stand.
    fn write_run(&mut self, head: Head, events: usize) -> Result<(), StoreError> {
        let version = signed(head.version.get() + 1)?;
        let (first, events) = (signed(self.head.get() + 1)?, signed(events as u64)?);
        let row = params![head.number, version, first, events];
        self.insert_run.execute(row).map(|_| ()).map_err(store_error)
    }

    pub(crate) fn write_event(
        &mut self,
        head: Head,
        position: Position,
        append_id: Option<AppendId>,
        event: NewEvent,
        now: i64,
    ) -> Result<(), StoreError> {
        let NewEvent { id, event_type, schema_version, content_type, tags, metadata, payload } =
            event;
        let kind = self.kind(Kind { event_type, schema_version, content_type })?;
        let at = signed(position.get())?;
        self.pending.push(EventRow {
            position: at,
            stream: head.number,
            version: signed(head.version.get())?,
            kind,
            recorded_at: now,
            ids: Ids::new(id, append_id),
            tags: joined(&tags),
            metadata: metadata_text(&metadata)?,
            payload,
        });
        if self.pending.is_full() {
            self.pending.flush()?;
        }
        let Head { tenant, category, .. } = head;
        self.note_block(Block { block: position.get() / BLOCK, kind, tenant, category })?;
        for tag in &tags {
            self.index(TAG, tenant, tag.as_str(), at)?;
        }
        if let Some(correlation) = &metadata.fields().correlation_id {
            self.index(CORRELATION, tenant, correlation, at)?;
        }
        Ok(())
    }

    fn note_block(&mut self, note: Block) -> Result<(), StoreError> {
        const NOTE: &str = "INSERT OR IGNORE INTO event_blocks (block, kind, tenant, category) \
             VALUES (?, ?, ?, ?)";
        if self.last_block == Some(note) {
            return Ok(());
        }
        if self.last_block.is_some_and(|last| last.block != note.block) {
            self.blocks.clear();
        }
        self.last_block = Some(note);
        if !self.blocks.insert(note) {
            return Ok(());
        }
        let mut insert = self.connection.prepare_cached(NOTE).map_err(store_error)?;
        let row = params![signed(note.block)?, note.kind, note.tenant, note.category];
        insert.execute(row).map(|_| ()).map_err(store_error)
    }

    fn index(&self, sql: &str, tenant: i64, label: &str, at: i64) -> Result<(), StoreError> {
        let mut insert = self.connection.prepare_cached(sql).map_err(store_error)?;
        insert.execute(params![tenant, label, at]).map(|_| ()).map_err(store_error)
    }
}

const TAG: &str = "INSERT OR IGNORE INTO event_tags (tenant, tag, position) VALUES (?, ?, ?)";
const CORRELATION: &str =
    "INSERT INTO event_correlations (tenant, correlation, position) VALUES (?, ?, ?)";

fn joined(tags: &[Tag]) -> Option<String> {
    let join = || tags.iter().map(Tag::as_str).collect::<Vec<_>>().join("\n");
    (!tags.is_empty()).then(join)
}

fn metadata_text(metadata: &Metadata) -> Result<Option<String>, StoreError> {
    let fields = (!metadata.is_empty()).then(|| metadata.fields());
    fields.map(serde_json::to_string).transpose().map_err(damaged)
}

/// The last position of the log.
pub(crate) fn head(connection: &Connection) -> Result<Position, StoreError> {
    const HEAD: &str = "SELECT coalesce(max(position), 0) FROM events";
    let head: i64 = connection
        .prepare_cached(HEAD)
        .and_then(|mut select| select.query_row([], |row| row.get(0)))
        .map_err(store_error)?;
    u64::try_from(head).map(Position::new).map_err(damaged)
}

/// Where an append of this id stands, if it happened: its first and its last
/// position.
pub(crate) fn append_range(
    connection: &Connection,
    tenant: &Tenant,
    id: AppendId,
) -> Result<Option<(i64, i64)>, StoreError> {
    const RANGE: &str = "SELECT a.first, a.last FROM appends a \
         JOIN tenants t ON t.id = a.tenant WHERE t.name = ? AND a.id = ?";
    let found = connection.prepare_cached(RANGE).and_then(|mut select| {
        let key = (tenant.as_str(), id.uuid().into_bytes());
        select.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()
    });
    found.map_err(store_error)
}

fn first_result(
    connection: &Connection,
    names: &mut NamesByNumber,
    tenant: &Tenant,
    id: AppendId,
) -> Result<Option<Appended>, StoreError> {
    let Some((first, last)) = append_range(connection, tenant, id)? else { return Ok(None) };
    let writes = match several_results(connection, tenant, id)? {
        Some(writes) => writes,
        None => {
            let sql = format!(
                "SELECT {COLUMNS} FROM events e WHERE e.position BETWEEN ? AND ? ORDER BY e.position"
            );
            let events = select(connection, names, &sql, params![first.max(last), last])?;
            let written = |event: &RecordedEvent| Written {
                version: event.version,
                position: event.position,
            };
            events.last().map(written).into_iter().collect()
        }
    };
    let position = writes.iter().map(|write| write.position).max().unwrap_or_default();
    Ok(Some(Appended { writes, position, repeated: true }))
}

/// The results of an append that had several writes.
fn several_results(
    connection: &Connection,
    tenant: &Tenant,
    id: AppendId,
) -> Result<Option<Vec<Written>>, StoreError> {
    const RESULTS: &str = "SELECT a.results FROM appends a \
         JOIN tenants t ON t.id = a.tenant WHERE t.name = ? AND a.id = ?";
    let found: Option<String> = connection
        .prepare_cached(RESULTS)
        .and_then(|mut select| {
            select.query_row((tenant.as_str(), id.uuid().into_bytes()), |row| row.get(0))
        })
        .map_err(store_error)?;
    let Some(results) = found else { return Ok(None) };
    let numbers: Vec<(u64, u64)> = serde_json::from_str(&results).map_err(damaged)?;
    let written = |(version, position)| Written {
        version: Version::new(version),
        position: Position::new(position),
    };
    Ok(Some(numbers.into_iter().map(written).collect()))
}

pub(crate) fn select(
    connection: &Connection,
    names: &mut NamesByNumber,
    sql: &str,
    key: &[&dyn rusqlite::ToSql],
) -> Result<Vec<RecordedEvent>, StoreError> {
    let mut select = connection.prepare_cached(sql).map_err(store_error)?;
    let mut found = select.query(key).map_err(store_error)?;
    let mut rows = Rows::default();
    while let Some(row) = found.next().map_err(store_error)? {
        rows.push(connection, names, row, Numbers::of(row)?)?;
    }
    Ok(rows.into_events())
}

fn ids(batch: &Batch) -> Vec<AppendId> {
    let mut ids: Vec<_> = batch.writes.iter().filter_map(|write| write.append_id).collect();
    ids.dedup();
    ids
}

/// The first results of several appends that were one batch.
fn join(known: Vec<(AppendId, Appended)>) -> Appended {
    let mut joined = Appended { repeated: true, ..Appended::default() };
    for (_, first) in known {
        joined.position = joined.position.max(first.position);
        joined.writes.extend(first.writes);
    }
    joined
}

/// SQLite's integers are signed.
pub(crate) fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| {
        let message = format!("{number} is beyond what a position can be");
        StoreError::new(es_core::StoreErrorKind::Invalid, message)
    })
}
