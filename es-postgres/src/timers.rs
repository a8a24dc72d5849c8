use async_trait::async_trait;
use chrono::{DateTime, Utc};
use es_core::{Name, StoreError, Tenant, Timer, Timers};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    call::Call,
    error::{damaged, store_error},
};

/// Each of these may be done twice, so that a broken connection is tried again.
#[async_trait]
impl Timers for PostgresStore {
    async fn set(&self, timer: Timer) -> Result<(), StoreError> {
        const PUT: &str = "INSERT INTO {schema}.timers (tenant, name, due, payload) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, name) DO UPDATE \
             SET due = $3, payload = $4";
        let shared = self.shared();
        shared.allows(Some(&timer.tenant))?;
        let put = shared.readers.rows(|| {
            Call::new(shared.schema.sql(PUT))
                .bind(timer.tenant.as_str().to_owned())
                .bind(timer.name.as_str().to_owned())
                .bind(timer.due)
                .bind(timer.payload.to_vec())
        });
        put.await.map(|_| ())
    }

    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<Timer>, StoreError> {
        const DUE: &str = "SELECT tenant, name, due, payload FROM {schema}.timers \
             WHERE due <= $1 ORDER BY due, tenant, name LIMIT $2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let shared = self.shared();
        let found = shared.readers.rows(|| Call::new(shared.schema.sql(DUE)).bind(now).bind(limit));
        found.await?.iter().map(timer).collect()
    }

    async fn cancel(&self, tenant: &Tenant, name: &Name) -> Result<(), StoreError> {
        const FORGET: &str = "DELETE FROM {schema}.timers WHERE tenant = $1 AND name = $2";
        let shared = self.shared();
        shared.allows(Some(tenant))?;
        let forget = shared.readers.rows(|| {
            Call::new(shared.schema.sql(FORGET))
                .bind(tenant.as_str().to_owned())
                .bind(name.as_str().to_owned())
        });
        forget.await.map(|_| ())
    }
}

fn timer(row: &PgRow) -> Result<Timer, StoreError> {
    let text = |at: usize| row.try_get::<&str, _>(at).map_err(store_error);
    let payload: Vec<u8> = row.try_get(3).map_err(store_error)?;
    Ok(Timer {
        tenant: Tenant::new(text(0)?).map_err(damaged)?,
        name: Name::new(text(1)?).map_err(damaged)?,
        due: row.try_get(2).map_err(store_error)?,
        payload: payload.into(),
    })
}
