//! What the senders of appends are told: what was written, why not, or what the
//! log knows already.

use std::{collections::HashMap, sync::Arc};

use es_core::{
    AppendError, AppendId, Appended, Batch, Claim, Conflict, Expected, Name, Position, Read,
    StoreError, StoreErrorKind, StreamId, Version, Written, limits,
};
use sqlx::{PgConnection, Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    call::Call,
    error::{damaged, store_error, unsigned, write_error},
    reading::Reading,
    store::Shared,
    writer::run,
};

/// What the caller is told of an answer of `append_one`.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    connection: &mut PgConnection,
    batch: &Batch,
    row: &PgRow,
) -> Result<Appended, AppendError> {
    let outcome: String = row.try_get(0).map_err(store_error)?;
    let number: Option<i64> = row.try_get(1).map_err(store_error)?;
    let number = unsigned(number.unwrap_or_default())?;
    let list = |at: usize| row.try_get::<Option<Vec<i64>>, _>(at).map_err(store_error);
    let versions = list(3)?.unwrap_or_default();
    match outcome.as_str() {
        "written" => written(batch, &versions, &list(4)?.unwrap_or_default()).map_err(Into::into),
        "repeated" => repeated(shared, connection, batch).await,
        "conflict" => {
            let at = usize::try_from(number).unwrap_or_default().saturating_sub(1);
            let write = batch.writes.get(at).ok_or_else(|| damaged("a conflict names no write"))?;
            let actual = unsigned(versions.first().copied().unwrap_or_default())?;
            let actual = Version::new(actual);
            Err(conflict(shared, &write.stream, write.expected, actual).await?.into())
        }
        "gone" => {
            let at = usize::try_from(number).unwrap_or_default().saturating_sub(1);
            let write = batch.writes.get(at).ok_or_else(|| damaged("a refusal names no write"))?;
            Err(AppendError::Gone { stream: write.stream.clone() })
        }
        "model" => {
            let model: Option<String> = row.try_get(2).map_err(store_error)?;
            let model = Name::new(model.unwrap_or_default()).map_err(damaged)?;
            let why = "this program was not opened with it".into();
            Err(AppendError::Model { model, why })
        }
        "overtaken" => Err(AppendError::Overtaken { position: Position::new(number) }),
        "outdated" => {
            let message = "a condition or a claim needs a transaction that is READ COMMITTED";
            Err(StoreError::new(StoreErrorKind::Invalid, message).into())
        }
        "claimed" => {
            let at = usize::try_from(number).unwrap_or_default().saturating_sub(1);
            let holder: Option<String> = row.try_get(2).map_err(store_error)?;
            let claims = batch.claims_in_order();
            let claim = claims.get(at).ok_or_else(|| damaged("a refusal names no claim"))?;
            Err(claimed(claim, &holder.unwrap_or_default())?)
        }
        other => Err(damaged(format!("append_one answers {other:?}")).into()),
    }
}

fn claimed(claim: &Claim, holder: &str) -> Result<AppendError, StoreError> {
    let stream = StreamId::parse(holder).map_err(damaged)?;
    Ok(AppendError::Claimed {
        scope: claim.scope().clone(),
        key: claim.key().clone(),
        holder: stream.of(claim.holder().tenant().clone()),
    })
}

fn written(batch: &Batch, versions: &[i64], positions: &[i64]) -> Result<Appended, StoreError> {
    let mut positions = positions.iter().copied();
    let mut appended = Appended::default();
    for (write, version) in batch.writes.iter().zip(versions) {
        let mut position = Position::START;
        if let Some(last) = write.events.len().checked_sub(1) {
            let found = positions.nth(last).ok_or_else(|| damaged("a position is missing"))?;
            position = Position::new(unsigned(found)?);
        }
        appended.writes.push(Written { version: Version::new(unsigned(*version)?), position });
    }
    let last = appended.writes.iter().map(|write| write.position).max();
    appended.position = last.unwrap_or_default();
    Ok(appended)
}

/// That a stream is not as expected, with what was missed.
pub(crate) async fn conflict(
    shared: &Arc<Shared>,
    stream: &StreamId,
    expected: Expected,
    actual: Version,
) -> Result<Box<Conflict>, StoreError> {
    let seen = match expected {
        Expected::Exact(version) => version,
        _ => Version::NONE,
    };
    let unseen = unseen(shared, stream, seen, actual).await?;
    Ok(Box::new(Conflict { stream: stream.clone(), actual, unseen }))
}

async fn unseen(
    shared: &Arc<Shared>,
    stream: &StreamId,
    seen: Version,
    actual: Version,
) -> Result<Vec<es_core::RecordedEvent>, StoreError> {
    let missed = actual.get().saturating_sub(seen.get());
    if missed == 0 || missed > limits::CONFLICT_EVENTS as u64 {
        return Ok(Vec::new());
    }
    let read = Read::stream(stream).after_version(seen).limit(missed);
    let mut reading = Reading::new(&shared.schema, read, None);
    let mut events = Vec::new();
    while let Some(page) = reading.page(shared).await {
        events.extend(page?.events);
    }
    Ok(events)
}

/// The first results of appends that are in the log already.
async fn repeated(
    shared: &Shared,
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<Appended, AppendError> {
    let known = known(shared, connection, &[batch]).await?;
    repetition(batch, &known).unwrap_or_else(|| Err(damaged("an append is lost").into()))
}

/// What a batch is told of which some ids, or all, are in the log already.
pub(crate) fn repetition(
    batch: &Batch,
    known: &HashMap<AppendId, Appended>,
) -> Option<Result<Appended, AppendError>> {
    let ids = ids(batch);
    let found = ids.iter().filter_map(|id| Some((*id, known.get(id)?.clone())));
    let found: Vec<_> = found.collect();
    match found.len() {
        0 => None,
        all if all == ids.len() && batch.is_wholly_identified() => Some(Ok(join(found))),
        _ => Some(Err(AppendError::Repeated { known: found })),
    }
}

fn ids(batch: &Batch) -> Vec<AppendId> {
    let mut ids: Vec<_> = batch.writes.iter().filter_map(|write| write.append_id).collect();
    ids.dedup();
    ids
}

/// The first results of all ids of these batches of one tenant that are known.
pub(crate) async fn known(
    shared: &Shared,
    connection: &mut PgConnection,
    batches: &[&Batch],
) -> Result<HashMap<AppendId, Appended>, StoreError> {
    const KNOWN: &str = "SELECT a.id, a.last, a.versions, a.positions, \
         (SELECT e.version FROM {schema}.events e WHERE e.position = a.last) \
         FROM {schema}.appends a WHERE a.tenant = $1 AND a.id = ANY ($2)";
    let tenant = batches.first().and_then(|batch| batch.tenant());
    let tenant = tenant.map(|tenant| tenant.as_str().to_owned()).unwrap_or_default();
    let uuids: Vec<Uuid> =
        batches.iter().flat_map(|batch| ids(batch)).map(AppendId::uuid).collect();
    let call = Call::new(shared.schema.sql(KNOWN)).bind(tenant).bind(uuids);
    let rows = run(shared, connection, call).await.map_err(write_error)?;
    let each = rows.iter().map(|row| {
        let id: Uuid = row.try_get(0).map_err(store_error)?;
        Ok((AppendId::new(id), first_result(row)?))
    });
    each.collect()
}

fn first_result(row: &PgRow) -> Result<Appended, StoreError> {
    let list = |at: usize| row.try_get::<Option<Vec<i64>>, _>(at).map_err(store_error);
    let (versions, positions) = match (list(2)?, list(3)?) {
        (Some(versions), Some(positions)) => (versions, positions),
        _ => {
            let version: Option<i64> = row.try_get(4).map_err(store_error)?;
            let version = version.ok_or_else(|| damaged("the event of an append is missing"))?;
            (vec![version], vec![row.try_get(1).map_err(store_error)?])
        }
    };
    let writes = versions.into_iter().zip(positions).map(|(version, position)| {
        let version = Version::new(unsigned(version)?);
        Ok(Written { version, position: Position::new(unsigned(position)?) })
    });
    let writes = writes.collect::<Result<Vec<_>, StoreError>>()?;
    let position = writes.iter().map(|write| write.position).max().unwrap_or_default();
    Ok(Appended { writes, position, repeated: true })
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
