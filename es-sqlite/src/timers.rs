use async_trait::async_trait;
use chrono::{DateTime, Utc};
use es_core::{Name, StoreError, Tenant, Timer, Timers};
use rusqlite::{Connection, params};

use crate::{
    SqliteStore,
    error::{damaged, store_error},
};

#[async_trait]
impl Timers for SqliteStore {
    async fn set(&self, timer: Timer) -> Result<(), StoreError> {
        self.writer().run(move |connection| put(connection, &timer)).await
    }

    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<Timer>, StoreError> {
        self.readers()?.run(move |reader| due(&reader.connection, now, limit)).await
    }

    async fn cancel(&self, tenant: &Tenant, name: &Name) -> Result<(), StoreError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.writer().run(move |connection| forget(connection, &tenant, &name)).await
    }
}

fn put(connection: &Connection, timer: &Timer) -> Result<(), StoreError> {
    const PUT: &str =
        "INSERT OR REPLACE INTO timers (tenant, name, due, payload) VALUES (?, ?, ?, ?)";
    let Timer { tenant, name, due, payload } = timer;
    let row = params![tenant.as_str(), name.as_str(), due.timestamp_micros(), &payload[..]];
    let mut put = connection.prepare_cached(PUT).map_err(store_error)?;
    put.execute(row).map(|_| ()).map_err(store_error)
}

fn due(
    connection: &Connection,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<Timer>, StoreError> {
    const DUE: &str = "SELECT tenant, name, due, payload FROM timers \
         WHERE due <= ? ORDER BY due, tenant, name LIMIT ?";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = connection.prepare_cached(DUE).map_err(store_error)?;
    let found = select
        .query_map(params![now.timestamp_micros(), limit], |row| {
            let (tenant, name): (String, String) = (row.get(0)?, row.get(1)?);
            let payload: Vec<u8> = row.get(3)?;
            Ok((tenant, name, row.get::<_, i64>(2)?, payload))
        })
        .map_err(store_error)?;
    found
        .map(|row| {
            let (tenant, name, due, payload) = row.map_err(store_error)?;
            Ok(Timer {
                tenant: Tenant::new(tenant).map_err(damaged)?,
                name: Name::new(name).map_err(damaged)?,
                due: DateTime::from_timestamp_micros(due).ok_or_else(|| damaged("no such time"))?,
                payload: payload.into(),
            })
        })
        .collect()
}

fn forget(connection: &Connection, tenant: &Tenant, name: &Name) -> Result<(), StoreError> {
    const FORGET: &str = "DELETE FROM timers WHERE tenant = ? AND name = ?";
    let mut delete = connection.prepare_cached(FORGET).map_err(store_error)?;
    delete.execute([tenant.as_str(), name.as_str()]).map(|_| ()).map_err(store_error)
}
