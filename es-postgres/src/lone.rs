//! One event for one stream: the append of a caller that is alone. It does what
//! `simple` does, without arrays: about half of the server's work.

use chrono::{DateTime, Utc};
use es_core::{
    AppendError, Appended, Batch, Expected, NewEvent, Position, StoreError, Version, Write,
    Written, failpoint,
};
use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::{
    batch::{Events, Fields, bucket_of_type, expectation},
    call::Call,
    error::{code, store_error, unsigned, write_error},
    schema::Schema,
    statements::Statements,
    store::Shared,
    writer::{is_undone, run},
};

/// SQLSTATEs.
const KNOWN: &str = "23505";
/// Of a tombstoned stream, whose version has no next one.
const BEYOND: &str = "22003";

/// The event and its write, if the batch is of this kind.
fn only(batch: &Batch) -> Option<(&Write, &NewEvent)> {
    match (batch.writes.as_slice(), batch.unless.as_slice(), batch.claims.as_slice()) {
        ([write], [], []) => match write.events.as_slice() {
            [event] if event.tags.is_empty() => Some((write, event)),
            _ => None,
        },
        _ => None,
    }
}

/// The statement for each kind of expectation, with and without an append id and
/// a correlation.
pub(crate) fn statements(schema: &Schema) -> Statements {
    Statements::new(schema, include_str!("statements/lone.sql"), ["append", "correlation", "new"])
}

/// The statement that appends this batch, if it is one event.
pub(crate) fn call(
    statements: &Statements,
    batch: &Batch,
    now: DateTime<Utc>,
) -> Option<Result<Call, StoreError>> {
    let (write, event) = only(batch)?;
    Some(append(statements, write, event, now))
}

fn append(
    statements: &Statements,
    write: &Write,
    event: &NewEvent,
    now: DateTime<Utc>,
) -> Result<Call, StoreError> {
    let may_be_new = match write.expected {
        Expected::Any | Expected::NoStream => true,
        Expected::Exists => false,
        Expected::Exact(version) => version == Version::NONE,
    };
    let Fields { metadata, correlation } = Events::fields(event)?;
    let sql = statements.with([write.append_id.is_some(), correlation.is_some(), may_be_new]);
    let tenant = write.stream.tenant().as_str();
    Ok(Call::new(sql)
        .bind(now)
        .bind(bucket_of_type(tenant, event))
        .bind(tenant.to_owned())
        .bind(write.stream.name().to_owned())
        .bind(expectation(write.expected)?)
        .bind(event.event_type.as_str().to_owned())
        .bind(i64::from(event.schema_version))
        .bind(event.content_type.as_str().to_owned())
        .bind(event.id.uuid())
        .bind(metadata)
        .bind(event.payload.to_vec())
        .bind(write.append_id.map(|id| id.uuid()))
        .bind(correlation))
}

/// What came of a statement for the simple case.
pub(crate) enum Lone {
    Done(Result<Appended, AppendError>),
    /// It is not the simple case; nothing is written.
    Otherwise,
}

pub(crate) async fn send(shared: &Shared, connection: &mut PgConnection, call: Call) -> Lone {
    failpoint!("postgres.before_append");
    let sent = run(shared, connection, call).await;
    failpoint!("postgres.after_append");
    match sent {
        Ok(rows) => match appended(&rows) {
            Ok(Some(appended)) => Lone::Done(Ok(appended)),
            Ok(None) => Lone::Otherwise,
            Err(error) => Lone::Done(Err(error.into())),
        },
        Err(error) if is_undone(&error) => Lone::Otherwise,
        Err(error) => match code(&error).as_deref() {
            Some(KNOWN | BEYOND) => Lone::Otherwise,
            _ => Lone::Done(Err(write_error(error).into())),
        },
    }
}

/// What the statement did; no row, if the stream was not as expected.
fn appended(rows: &[PgRow]) -> Result<Option<Appended>, StoreError> {
    let Some(row) = rows.first() else { return Ok(None) };
    let number = |at: usize| unsigned(row.try_get(at).map_err(store_error)?);
    let (version, position) = (Version::new(number(0)?), Position::new(number(1)?));
    let writes = vec![Written { version, position }];
    Ok(Some(Appended { writes, position, repeated: false }))
}
