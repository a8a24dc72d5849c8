use async_trait::async_trait;
use chrono::{DateTime, Utc};
use es_core::{Name, StoreError, TakenTimer, Tenant, Timer, TimerId, Timers};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    call::Call,
    error::{damaged, store_error},
};

/// Each of these may be done twice, so that a broken connection is tried again. What was
/// taken by an answer that was lost is due once more, as if its taker had died.
#[async_trait]
impl Timers for PostgresStore {
    async fn set(&self, timer: Timer) -> Result<(), StoreError> {
        const PUT: &str = "INSERT INTO {schema}.timers (tenant, owner, name, due, wake, payload) \
             VALUES ($1, $2, $3, $4, $4, $5) ON CONFLICT (tenant, owner, name) DO UPDATE \
             SET due = $4, wake = $4, payload = $5";
        let shared = self.shared();
        shared.allows(Some(&timer.id.tenant))?;
        let put = shared.readers.rows(|| {
            of(Call::new(shared.schema.sql(PUT)), &timer.id)
                .bind(timer.due)
                .bind(timer.payload.to_vec())
        });
        put.await.map(|_| ())
    }

    async fn take_due(
        &self,
        owner: &Name,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<TakenTimer>, StoreError> {
        const TAKE: &str = "WITH due AS MATERIALIZED ( \
                SELECT tenant, owner, name FROM {schema}.timers \
                WHERE owner = $1 AND wake <= $2 ORDER BY wake LIMIT $4 FOR UPDATE SKIP LOCKED \
             ), taken AS ( \
                UPDATE {schema}.timers AS t SET wake = $3 FROM due AS d \
                WHERE (t.tenant, t.owner, t.name) = (d.tenant, d.owner, d.name) \
                RETURNING t.tenant, t.owner, t.name, t.due, t.wake, t.payload \
             ) SELECT * FROM taken ORDER BY due, tenant, name";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let shared = self.shared();
        let taken = shared.readers.rows(|| {
            Call::new(shared.schema.sql(TAKE))
                .bind(owner.as_str().to_owned())
                .bind(now)
                .bind(until)
                .bind(limit)
        });
        taken.await?.iter().map(taken_timer).collect()
    }

    async fn done(&self, taken: &TakenTimer) -> Result<(), StoreError> {
        const FORGET: &str = "DELETE FROM {schema}.timers \
             WHERE (tenant, owner, name, due, wake) = ($1, $2, $3, $4, $5)";
        let TakenTimer { timer, until } = taken;
        let shared = self.shared();
        shared.allows(Some(&timer.id.tenant))?;
        let forget = shared.readers.rows(|| {
            of(Call::new(shared.schema.sql(FORGET)), &timer.id).bind(timer.due).bind(*until)
        });
        forget.await.map(|_| ())
    }

    async fn cancel(&self, id: &TimerId) -> Result<(), StoreError> {
        const FORGET: &str =
            "DELETE FROM {schema}.timers WHERE (tenant, owner, name) = ($1, $2, $3)";
        let shared = self.shared();
        shared.allows(Some(&id.tenant))?;
        let forget = shared.readers.rows(|| of(Call::new(shared.schema.sql(FORGET)), id));
        forget.await.map(|_| ())
    }

    async fn next_due(&self, owner: &Name) -> Result<Option<DateTime<Utc>>, StoreError> {
        const NEXT: &str = "SELECT min(wake) FROM {schema}.timers WHERE owner = $1";
        let shared = self.shared();
        let owner = owner.as_str();
        let found =
            shared.readers.rows(|| Call::new(shared.schema.sql(NEXT)).bind(owner.to_owned()));
        let found = found.await?;
        found.first().map_or(Ok(None), |row| row.try_get(0).map_err(store_error))
    }
}

/// Binds what names the timer as the first three values.
fn of(call: Call, TimerId { tenant, owner, name }: &TimerId) -> Call {
    [tenant.as_str(), owner.as_str(), name.as_str()]
        .into_iter()
        .fold(call, |call, text| call.bind(text.to_owned()))
}

fn taken_timer(row: &PgRow) -> Result<TakenTimer, StoreError> {
    let text = |at: usize| row.try_get::<&str, _>(at).map_err(store_error);
    let name = |at: usize| text(at).and_then(|name| Name::new(name).map_err(damaged));
    let tenant = Tenant::new(text(0)?).map_err(damaged)?;
    let payload: Vec<u8> = row.try_get(5).map_err(store_error)?;
    let timer = Timer {
        id: TimerId { tenant, owner: name(1)?, name: name(2)? },
        due: row.try_get(3).map_err(store_error)?,
        payload: payload.into(),
    };
    Ok(TakenTimer { timer, until: row.try_get(4).map_err(store_error)? })
}
