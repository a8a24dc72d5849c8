//! Why a group left appends out: the streams had grown. What their writers have
//! not seen is fetched for all of them in one statement.

use std::sync::Arc;

use es_core::{
    AppendError, Batch, Conflict, Expected, RecordedEvent, StoreError, StreamId, Version, Write,
    limits,
};
use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::{
    call::Call,
    error::{damaged, signed, store_error, unsigned},
    row::{COLUMNS, Decoder},
    store::Shared,
    writer::run,
};

/// Most bytes of unseen events that are fetched for one append; who has missed
/// more goes the long way.
const BYTES: i64 = 64 * 1024;
/// The same, for all of a group.
const ALL_BYTES: i64 = 4 * 1024 * 1024;

/// The stream of a batch with one write, and the version that it expects.
fn only(batch: &Batch) -> Option<(&Write, Version)> {
    match batch.writes.as_slice() {
        [write] if batch.unless.is_empty() && batch.claims.is_empty() => match write.expected {
            Expected::Exact(version) => Some((write, version)),
            Expected::NoStream => Some((write, Version::NONE)),
            Expected::Any | Expected::Exists => None,
        },
        _ => None,
    }
}

/// For each batch the conflict, if it is one, and all is known that belongs to it.
pub(crate) async fn find(
    shared: &Shared,
    connection: &mut PgConnection,
    batches: &[&Batch],
) -> Result<Vec<Option<AppendError>>, StoreError> {
    let writes: Vec<_> = batches.iter().map(|batch| only(batch)).collect();
    let known = || writes.iter().flatten();
    let count = i64::try_from(known().count()).unwrap_or(i64::MAX);
    if count == 0 {
        return Ok(batches.iter().map(|_| None).collect());
    }
    let call = Call::new(Arc::clone(&shared.conflicts_sql))
        .bind(known().map(|(write, _)| write.stream.tenant().to_string()).collect::<Vec<_>>())
        .bind(known().map(|(write, _)| write.stream.name().to_owned()).collect::<Vec<_>>())
        .bind(known().map(|(_, seen)| signed(seen.get()).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .bind(i64::try_from(limits::CONFLICT_EVENTS).unwrap_or(i64::MAX))
        .bind((ALL_BYTES / count).min(BYTES));
    let rows = run(shared, connection, call).await.map_err(store_error)?;
    let mut rows = rows.iter().peekable();
    let mut ordinal = 0_i64;
    let mut found = Vec::with_capacity(batches.len());
    for write in writes {
        let Some((write, seen)) = write else {
            found.push(None);
            continue;
        };
        ordinal += 1;
        let is_own = |of: i64| of == ordinal;
        let mut own = Vec::new();
        while let Some(row) = rows.next_if(|row| row.try_get(11).is_ok_and(is_own)) {
            own.push(row);
        }
        // What is damaged concerns the one who is told of it, by itself.
        let conflict = conflict(&write.stream, seen, &own).unwrap_or_default();
        let is_own =
            |event: &RecordedEvent| write.append_id.is_some() && event.append_id == write.append_id;
        // Its first try may have come through only now.
        let conflict = conflict.filter(|one| !one.unseen.iter().any(is_own));
        found.push(conflict.map(|one| AppendError::Conflict(Box::new(one))));
    }
    Ok(found)
}

fn conflict(
    stream: &StreamId,
    seen: Version,
    rows: &[&PgRow],
) -> Result<Option<Conflict>, StoreError> {
    let first = rows.first().ok_or_else(|| damaged("the version of a stream is missing"))?;
    let actual = Version::new(unsigned(first.try_get(12).map_err(store_error)?)?);
    if actual <= seen {
        // It is what was expected by now, or less than nobody has to explain.
        let conflict = Conflict { stream: stream.clone(), actual, unseen: Vec::new() };
        return Ok((actual < seen).then_some(conflict));
    }
    let mut decoder = Decoder::new(Some(stream.clone()));
    let is_event = |row: &&&PgRow| row.try_get::<Option<i64>, _>(0).is_ok_and(|at| at.is_some());
    let events = rows.iter().filter(is_event).map(|row| decoder.event(row));
    let unseen = events.collect::<Result<Vec<_>, _>>()?;
    let conflict = Conflict { stream: stream.clone(), actual, unseen };
    Ok(conflict.is_complete_after(seen).then_some(conflict))
}

/// The version of each stream, with the events after the one that is expected.
pub(crate) fn sql() -> String {
    format!(
        "SELECT {COLUMNS}, i.ordinal, coalesce(s.version, 0) \
         FROM unnest($1::text[], $2::text[], $3::bigint[]) \
             WITH ORDINALITY AS i (tenant, stream, seen, ordinal) \
         LEFT JOIN {{schema}}.streams AS s \
             ON s.tenant = i.tenant COLLATE \"C\" AND s.stream = i.stream COLLATE \"C\" \
         LEFT JOIN LATERAL (SELECT *, \
                 sum(octet_length(payload) + coalesce(octet_length(metadata), 0)) \
                     OVER (ORDER BY version) AS bytes \
             FROM (SELECT * FROM {{schema}}.events AS e \
                 WHERE e.tenant = i.tenant COLLATE \"C\" AND e.stream = i.stream COLLATE \"C\" \
                     AND e.version > i.seen ORDER BY e.version LIMIT $4) AS unseen) AS e \
             ON e.bytes <= $5 \
         ORDER BY i.ordinal, e.version"
    )
}
