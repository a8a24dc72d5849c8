use std::fmt;

use es_core::{Checkpoint, Name, Row, RowId, Rows, StoreError, Tenant, Views};
use rusqlite::{Connection, OptionalExtension, params, params_from_iter, types::Value};

use crate::{
    SqliteStore,
    checkpoints::{compare_and_set, find},
    error::{damaged, store_error},
};

/// What a free-form projection does at its commit: steps that run in order, in
/// one transaction together with the checkpoint.
///
/// Each step gets the connection inside that transaction, so it may read what
/// the steps before it have written.
///
/// ```
/// use es_core::{Name, Position, Views};
/// use es_sqlite::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("bank.db");
/// let store = SqliteStore::open(path).await?;
/// let balances = Name::new("balances")?;
/// let (mut tx, seen) = store.begin(&balances).await?;
/// tx.run(|connection| {
///     connection.execute_batch("CREATE TABLE IF NOT EXISTS balances (id TEXT, balance INTEGER)")?;
///     connection.execute("INSERT INTO balances VALUES (?, ?)", ("ada", 7)).map(drop)
/// });
/// store.commit(&balances, tx, vec![], seen, seen.at(Position::new(3))).await?;
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct SqliteTx {
    steps: Vec<Step>,
}

type Step = Box<dyn FnOnce(&Connection) -> rusqlite::Result<()> + Send>;

impl SqliteTx {
    /// Does this at the commit, if there is one.
    pub fn run(&mut self, step: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static) {
        self.steps.push(Box::new(step));
    }
}

impl fmt::Debug for SqliteTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteTx").field("steps", &self.steps.len()).finish()
    }
}

impl Views for SqliteStore {
    type Tx = SqliteTx;

    async fn begin(&self, projection: &Name) -> Result<(SqliteTx, Checkpoint), StoreError> {
        let name = projection.clone();
        let checkpoint = self.readers()?.run(move |reader| find(&reader.connection, &name)).await?;
        Ok((SqliteTx::default(), checkpoint))
    }

    async fn rows(&self, projection: &Name, rows: Rows) -> Result<Vec<Row>, StoreError> {
        let view = projection.clone();
        let read = move |connection: &Connection| match rows {
            Rows::These(ids) => these(connection, &view, ids),
            Rows::Of { tenant, after, limit } => of(connection, &view, &tenant, after, limit),
        };
        self.readers()?.run(move |reader| read(&reader.connection)).await
    }

    async fn commit(
        &self,
        projection: &Name,
        tx: SqliteTx,
        rows: Vec<Row>,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let view = projection.clone();
        let write = move |connection: &Connection| {
            compare_and_set(connection, &view, seen, next)?;
            for row in &rows {
                put(connection, &view, row)?;
            }
            tx.steps.into_iter().try_for_each(|step| step(connection)).map_err(store_error)
        };
        self.writer().run(write).await
    }

    async fn reset(&self, projection: &Name) -> Result<Checkpoint, StoreError> {
        let view = projection.clone();
        self.writer().run(move |connection| reset(connection, &view)).await
    }
}

fn these(
    connection: &Connection,
    view: &Name,
    mut ids: Vec<RowId>,
) -> Result<Vec<Row>, StoreError> {
    const THIS: &str = "SELECT value FROM view_rows WHERE view = ? AND tenant = ? AND key = ?";
    ids.sort_unstable();
    let mut select = connection.prepare_cached(THIS).map_err(store_error)?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let key = [view.as_str(), id.tenant.as_str(), &id.key];
        let value = select.query_row(key, |row| row.get::<_, Vec<u8>>(0)).optional();
        if let Some(value) = value.map_err(store_error)? {
            found.push(Row { id, value: Some(value.into()) });
        }
    }
    Ok(found)
}

fn of(
    connection: &Connection,
    view: &Name,
    tenant: &Tenant,
    after: Option<String>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    const ALL: &str = "SELECT key, value FROM view_rows \
         WHERE view = ?1 AND tenant = ?2 ORDER BY key LIMIT ?3";
    const AFTER: &str = "SELECT key, value FROM view_rows \
         WHERE view = ?1 AND tenant = ?2 AND key > ?4 ORDER BY key LIMIT ?3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let text = |text: &str| Value::from(text.to_owned());
    let mut key = vec![text(view.as_str()), text(tenant.as_str()), Value::from(limit)];
    let sql = if after.is_some() { AFTER } else { ALL };
    key.extend(after.map(Value::from));
    let mut select = connection.prepare_cached(sql).map_err(store_error)?;
    let key = params_from_iter(key);
    let found = select
        .query_map(key, |row| {
            let value: Vec<u8> = row.get(1)?;
            let id = RowId::new(tenant.clone(), row.get::<_, String>(0)?);
            Ok(Row { id, value: Some(value.into()) })
        })
        .map_err(store_error)?;
    found.map(|row| row.map_err(store_error)).collect()
}

fn put(connection: &Connection, view: &Name, row: &Row) -> Result<(), StoreError> {
    const PUT: &str =
        "INSERT OR REPLACE INTO view_rows (view, tenant, key, value) VALUES (?, ?, ?, ?)";
    const DELETE: &str = "DELETE FROM view_rows WHERE view = ? AND tenant = ? AND key = ?";
    let Row { id: RowId { tenant, key }, value } = row;
    let done = match value {
        Some(value) => {
            let row = params![view.as_str(), tenant.as_str(), key, &value[..]];
            connection.prepare_cached(PUT).and_then(|mut put| put.execute(row))
        }
        None => {
            let row = params![view.as_str(), tenant.as_str(), key];
            connection.prepare_cached(DELETE).and_then(|mut delete| delete.execute(row))
        }
    };
    done.map(|_| ()).map_err(store_error)
}

fn reset(connection: &Connection, view: &Name) -> Result<Checkpoint, StoreError> {
    const CLEAR: &str = "DELETE FROM view_rows WHERE view = ?";
    let mut clear = connection.prepare_cached(CLEAR).map_err(store_error)?;
    clear.execute([view.as_str()]).map_err(store_error)?;
    let found = find(connection, view)?;
    let epoch = found.epoch.checked_add(1).ok_or_else(|| damaged("the epochs are used up"))?;
    let next = Checkpoint { epoch, ..Checkpoint::default() };
    compare_and_set(connection, view, found, next)?;
    Ok(next)
}
