//! Snapshots, by themselves and together with the events after them.

use std::{any::Any, sync::Arc};

use async_trait::async_trait;
use es_core::{
    ContentType, EventStore, Name, Read, RecordedEvent, Snapped, Snapshot, Snapshots, StoreError,
    StreamId, Version,
};
use futures_util::TryStreamExt;
use sqlx::{PgConnection, Row, ValueRef, postgres::PgRow};

use crate::{
    PostgresStore,
    call::Call,
    error::{damaged, signed, store_error},
    reading::{BYTES, FIRST, Reading},
    row::{COLUMNS, Decoder, number, size},
    schema::Schema,
    store::Shared,
};

/// The columns of an event come first, then those of the snapshot.
const OF_SNAPSHOT: usize = 11;
/// The state among the columns of a snapshot.
const STATE: usize = 3;

pub(crate) fn from_snapshot_sql(schema: &Schema) -> Arc<str> {
    let sql = include_str!("statements/from_snapshot.sql").replace("{columns}", COLUMNS);
    schema.sql(&sql).into()
}

#[async_trait]
impl Snapshots for PostgresStore {
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        const FIND: &str = "SELECT version, fingerprint, content_type, state, checksum \
             FROM {schema}.snapshots WHERE tenant = $1 AND stream = $2";
        let shared = self.shared();
        shared.allows(Some(stream.tenant()))?;
        let found = shared.readers.rows(|| {
            Call::new(shared.schema.sql(FIND))
                .bind(stream.tenant().as_str().to_owned())
                .bind(stream.name().to_owned())
        });
        found.await?.first().map(|row| snapshot(row, 0)).transpose()
    }

    /// Twice is as good as once, so that a broken connection is tried again.
    async fn save(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> {
        const PUT: &str = "INSERT INTO {schema}.snapshots AS s \
             (tenant, stream, version, fingerprint, content_type, state, checksum) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, stream) DO UPDATE \
             SET version = $3, fingerprint = $4, content_type = $5, state = $6, checksum = $7 \
             WHERE s.version < $3 OR s.fingerprint <> $4";
        let version = signed(snapshot.version.get())?;
        let shared = self.shared();
        shared.allows(Some(stream.tenant()))?;
        let put = shared.readers.rows(|| {
            Call::new(shared.schema.sql(PUT))
                .bind(stream.tenant().as_str().to_owned())
                .bind(stream.name().to_owned())
                .bind(version)
                .bind(snapshot.fingerprint.cast_signed())
                .bind(snapshot.content_type.as_str().to_owned())
                .bind(snapshot.state.to_vec())
                .bind(snapshot.checksum.cast_signed())
        });
        put.await.map(|_| ())
    }
}

/// In one statement, if these are the snapshots of this very store.
pub(crate) async fn read_from(
    store: &PostgresStore,
    stream: &StreamId,
    snapshots: &dyn Snapshots,
) -> Snapped {
    let shared = store.shared();
    let begun = if are_of(shared, snapshots) { begin(shared, stream).await } else { Ok(None) };
    let snapshot = match begun {
        Ok(Some((snapshot, reading))) => {
            return Snapped { snapshot: Ok(snapshot), pages: store.rest(reading) };
        }
        Ok(None) => snapshots.load(stream).await,
        Err(error) => Err(error),
    };
    let kept = snapshot.as_ref().ok().and_then(Option::as_ref);
    let pages = store.read(from(stream, kept));
    Snapped { snapshot, pages }
}

fn are_of(shared: &Arc<Shared>, snapshots: &dyn Snapshots) -> bool {
    let snapshots: &dyn Any = snapshots;
    let store = snapshots.downcast_ref::<PostgresStore>();
    store.is_some_and(|store| Arc::ptr_eq(store.shared(), shared))
}

fn from(stream: &StreamId, snapshot: Option<&Snapshot>) -> Read {
    let whole = Read::stream(stream);
    match snapshot {
        Some(snapshot) => whole.from_snapshot(snapshot),
        None => whole,
    }
}

/// A snapshot, and the stream from there on with its first events already here; nothing, if
/// one statement cannot bring both, and each has to be asked for by itself.
async fn begin(
    shared: &Shared,
    stream: &StreamId,
) -> Result<Option<(Option<Snapshot>, Reading)>, StoreError> {
    shared.allows(Some(stream.tenant()))?;
    let Some(rows) = fetch(shared, stream).await? else { return Ok(None) };
    // What of it is damaged is found out by asking for each.
    let Ok((snapshot, events)) = decode(stream, &rows) else { return Ok(None) };
    let mut reading = Reading::new(&shared.schema, from(stream, snapshot.as_ref()), None);
    reading.begin(events);
    Ok(Some((snapshot, reading)))
}

async fn fetch(shared: &Shared, stream: &StreamId) -> Result<Option<Vec<PgRow>>, StoreError> {
    let mut lent = shared.readers.lend().await?;
    let answer = async { Ok(rows(shared, &mut lent, stream).await) };
    match shared.readers.in_time(answer).await? {
        Ok(Some(rows)) => {
            lent.give_back();
            Ok(Some(rows))
        }
        // The rest of the rows is still to come.
        Ok(None) => Ok(None),
        Err(error) => {
            lent.failed(error);
            Ok(None)
        }
    }
}

/// The rows, unless they are too much for the memory.
async fn rows(
    shared: &Shared,
    connection: &mut PgConnection,
    stream: &StreamId,
) -> Result<Option<Vec<PgRow>>, sqlx::Error> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    let mut call = Call::new(Arc::clone(&shared.from_snapshot_sql))
        .bind(stream.tenant().as_str().to_owned())
        .bind(stream.name().to_owned())
        .bind(i64::try_from(FIRST).unwrap_or(i64::MAX));
    let mut coming = call.fetch(connection);
    while let Some(row) = coming.try_next().await? {
        bytes += size(&row);
        if bytes > BYTES {
            return Ok(None);
        }
        rows.push(row);
    }
    Ok(Some(rows))
}

fn decode(
    stream: &StreamId,
    rows: &[PgRow],
) -> Result<(Option<Snapshot>, Vec<RecordedEvent>), StoreError> {
    let has = |row: &PgRow, column| row.try_get_raw(column).is_ok_and(|value| !value.is_null());
    let kept = rows.iter().find(|row| has(row, OF_SNAPSHOT + STATE));
    let kept = kept.map(|row| snapshot(row, OF_SNAPSHOT)).transpose()?;
    let mut decoder = Decoder::new(Some(stream.clone()));
    let events = rows.iter().filter(|row| has(row, 0)).map(|row| decoder.event(row));
    let mut events = events.collect::<Result<Vec<_>, _>>()?;
    // So they come, though nobody has promised it.
    if !events.is_sorted_by_key(|event| event.version) {
        events.sort_unstable_by_key(|event| event.version);
    }
    Ok((kept, events))
}

/// The columns from this one on.
fn snapshot(row: &PgRow, first: usize) -> Result<Snapshot, StoreError> {
    // PostgreSQL's integers are signed; a fingerprint is only bits.
    let bits = |at: usize| row.try_get::<i64, _>(at).map(i64::cast_unsigned).map_err(store_error);
    let content_type: &str = row.try_get(first + 2).map_err(store_error)?;
    let content_type = ContentType::new(Name::new(content_type).map_err(damaged)?);
    let state: Vec<u8> = row.try_get(first + STATE).map_err(store_error)?;
    let version = Version::new(number(row, first)?);
    let mut snapshot = Snapshot::new(version, bits(first + 1)?, content_type, state);
    snapshot.checksum = bits(first + 4)?;
    Ok(snapshot)
}
