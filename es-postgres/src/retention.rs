//! Removes events: a stream at a time, each in one statement, which is done
//! wholly or not at all, whoever goes away meanwhile.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use es_core::{
    AppendError, Appended, DELETED, Expected, Keep, Name, NewEvent, Position, Removed, Retention,
    StoreError, StoreErrorKind, StreamId, TOMBSTONED, Version, Written,
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    answers::conflict,
    batch::{bucket_of_type, expectation},
    call::Call,
    error::{damaged, store_error},
    row::number,
};

/// Streams that are listed at a time.
const STREAMS: usize = 1_000;

/// What remains of a stream.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    from: Option<i64>,
    newest: Option<i64>,
    since: Option<DateTime<Utc>>,
}

#[async_trait]
impl Retention for PostgresStore {
    async fn truncate(&self, stream: &StreamId, before: Version) -> Result<u64, StoreError> {
        self.shared().allows(Some(stream.tenant()))?;
        let kept = Kept { from: Some(clamp(before.get())), ..Kept::default() };
        self.shorten(stream.tenant().as_str(), stream.name(), kept).await
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
        self.shared().allows(Some(&keep.tenant))?;
        let since = keep.since(self.shared().options.world.now());
        let kept = Kept { newest: keep.newest.map(clamp), since, from: None };
        let tenant = keep.tenant.as_str();
        let (mut removed, mut after) = (Removed::default(), format!("{}-", keep.category));
        loop {
            let streams = self.streams(&keep, &after).await?;
            for stream in &streams {
                removed.add(self.shorten(tenant, stream, kept).await?);
            }
            match streams.into_iter().nth(STREAMS - 1) {
                Some(last) => after = last,
                None => return Ok(removed),
            }
        }
    }
}

impl PostgresStore {
    async fn shorten(&self, tenant: &str, stream: &str, kept: Kept) -> Result<u64, StoreError> {
        const TRUNCATE: &str = "SELECT {schema}.truncate_stream($1, $2, $3, $4, $5, $6)";
        let shared = self.shared();
        let marker = shared.options.world.event_id().uuid();
        let truncate = || {
            Call::new(shared.schema.sql(TRUNCATE))
                .bind(tenant.to_owned())
                .bind(stream.to_owned())
                .bind(kept.from)
                .bind(kept.newest)
                .bind(kept.since)
                .bind(marker)
        };
        number(&self.answer(truncate).await?, 0)
    }

    /// Some streams of a category, in the order of their names.
    async fn streams(&self, keep: &Keep, after: &str) -> Result<Vec<String>, StoreError> {
        const LIST: &str = "SELECT stream FROM {schema}.streams WHERE tenant = $1 \
             AND stream > $2 AND stream < $3 ORDER BY stream LIMIT $4";
        let shared = self.shared();
        let listed = shared.readers.rows(|| {
            Call::new(shared.schema.sql(LIST))
                .bind(keep.tenant.as_str().to_owned())
                .bind(after.to_owned())
                .bind(format!("{}.", keep.category))
                .bind(clamp(STREAMS as u64))
        });
        listed.await?.iter().map(|row| row.try_get(0).map_err(store_error)).collect()
    }

    async fn end(
        &self,
        stream: &StreamId,
        expected: Expected,
        marker: Name,
    ) -> Result<Appended, AppendError> {
        const END: &str = "SELECT outcome, reached, place \
             FROM {schema}.end_stream({store}, $1, $2, $3, $4, $5, $6, $7)";
        let shared = self.shared();
        shared.allows(Some(stream.tenant()))?;
        let (now, id) = (shared.options.world.now(), shared.options.world.event_id());
        let marker = NewEvent::marker(marker, id);
        let wanted = expectation(expected)?;
        let end = || {
            Call::new(shared.schema.sql(END))
                .bind(stream.tenant().as_str().to_owned())
                .bind(now)
                .bind(bucket_of_type(stream.tenant().as_str(), &marker))
                .bind(stream.name().to_owned())
                .bind(wanted)
                .bind(marker.event_type.as_str().to_owned())
                .bind(id.uuid())
        };
        let row = self.answer(end).await?;
        let outcome: &str = row.try_get(0).map_err(store_error)?;
        if outcome == "conflict" {
            let actual: Option<i64> = row.try_get(1).map_err(store_error)?;
            let actual = actual.map_or(Ok(0), |_| number(&row, 1))?;
            return Err(conflict(shared, stream, expected, Version::new(actual)).await?.into());
        }
        shared.horizon.wake();
        let (version, position) = (Version::new(number(&row, 1)?), Position::new(number(&row, 2)?));
        let writes = vec![Written { version, position }];
        Ok(Appended { writes, position, repeated: outcome == "repeated" })
    }

    /// Twice is as good as once, so that a broken connection is tried again.
    async fn answer(&self, call: impl Fn() -> Call + Send) -> Result<PgRow, StoreError> {
        let rows = self.shared().readers.rows(call).await.map_err(|error| match error.kind() {
            // The server may still carry it out.
            StoreErrorKind::Unavailable => {
                let message = format!("whether it is done is not known, do it again: {error}");
                StoreError::new(StoreErrorKind::Unknown, message).because(error)
            }
            _ => error,
        })?;
        rows.into_iter().next().ok_or_else(|| damaged("a function answers nothing"))
    }
}

/// Beyond what PostgreSQL can count there is nothing.
fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
