use async_trait::async_trait;
use chrono::{DateTime, Utc};
use es_core::{Name, StoreError, TakenTimer, Tenant, Timer, TimerId, Timers};
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

    async fn take_due(
        &self,
        owner: &Name,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<TakenTimer>, StoreError> {
        let owner = owner.clone();
        self.writer().run(move |connection| take(connection, owner, now, until, limit)).await
    }

    async fn done(&self, taken: &TakenTimer) -> Result<(), StoreError> {
        const FORGET: &str = "DELETE FROM timers_of_owners \
             WHERE (tenant, owner, name, due, wake) = (?, ?, ?, ?, ?)";
        let TakenTimer { timer: Timer { id, due, .. }, until } = taken.clone();
        let forget = move |connection: &Connection| {
            let TimerId { tenant, owner, name } = &id;
            let (due, wake) = (due.timestamp_micros(), until.timestamp_micros());
            let mut delete = connection.prepare_cached(FORGET).map_err(store_error)?;
            let taken = params![tenant.as_str(), owner.as_str(), name.as_str(), due, wake];
            delete.execute(taken).map(|_| ()).map_err(store_error)
        };
        self.writer().run(forget).await
    }

    async fn cancel(&self, id: &TimerId) -> Result<(), StoreError> {
        const FORGET: &str = "DELETE FROM timers_of_owners WHERE (tenant, owner, name) = (?, ?, ?)";
        let id = id.clone();
        let forget = move |connection: &Connection| {
            let TimerId { tenant, owner, name } = &id;
            let mut delete = connection.prepare_cached(FORGET).map_err(store_error)?;
            let id = [tenant.as_str(), owner.as_str(), name.as_str()];
            delete.execute(id).map(|_| ()).map_err(store_error)
        };
        self.writer().run(forget).await
    }

    async fn next_due(&self, owner: &Name) -> Result<Option<DateTime<Utc>>, StoreError> {
        const NEXT: &str = "SELECT min(wake) FROM timers_of_owners WHERE owner = ?";
        let owner = owner.clone();
        let next = move |connection: &Connection| {
            let mut select = connection.prepare_cached(NEXT).map_err(store_error)?;
            let next = select.query_row([owner.as_str()], |row| row.get::<_, Option<i64>>(0));
            next.map_err(store_error)?.map(time).transpose()
        };
        self.readers()?.run(move |reader| next(&reader.connection)).await
    }
}

fn put(connection: &Connection, timer: &Timer) -> Result<(), StoreError> {
    const PUT: &str = "INSERT OR REPLACE INTO timers_of_owners \
         (tenant, owner, name, due, wake, payload) VALUES (?1, ?2, ?3, ?4, ?4, ?5)";
    let Timer { id: TimerId { tenant, owner, name }, due, payload } = timer;
    let due = due.timestamp_micros();
    let row = params![tenant.as_str(), owner.as_str(), name.as_str(), due, &payload[..]];
    let mut put = connection.prepare_cached(PUT).map_err(store_error)?;
    put.execute(row).map(|_| ()).map_err(store_error)
}

fn take(
    connection: &Connection,
    owner: Name,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<TakenTimer>, StoreError> {
    const TAKE: &str = "UPDATE timers_of_owners SET wake = ? WHERE rowid IN \
            (SELECT rowid FROM timers_of_owners WHERE owner = ? AND wake <= ? ORDER BY wake LIMIT ?) \
         RETURNING tenant, name, due, payload";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![until.timestamp_micros(), owner.as_str(), now.timestamp_micros(), limit];
    let mut update = connection.prepare_cached(TAKE).map_err(store_error)?;
    let rows = update.query_map(values, |row| {
        let payload: Vec<u8> = row.get(3)?;
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?, payload))
    });
    let mut taken = Vec::new();
    for row in rows.map_err(store_error)? {
        let (tenant, name, due, payload) = row.map_err(store_error)?;
        let tenant = Tenant::new(tenant).map_err(damaged)?;
        let name = Name::new(name).map_err(damaged)?;
        let id = TimerId { tenant, owner: owner.clone(), name };
        let timer = Timer { id, due: time(due)?, payload: payload.into() };
        taken.push(TakenTimer { timer, until });
    }
    taken.sort_by(|a, b| (a.timer.due, &a.timer.id).cmp(&(b.timer.due, &b.timer.id)));
    Ok(taken)
}

fn time(micros: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| damaged("no such time"))
}
