use std::fmt;

use es_core::{
    Changes, Checkpoint, Kind, Lookup, Part, Row, RowId, StoreError, StoreErrorKind, Views,
};
use rusqlite::{Connection, params};

use crate::{
    SqliteStore,
    error::{gone, store_error},
    lookup::{find, kind_number},
    parts::{self, number_of_build},
};

/// What a free-form projection does at its commit: steps that run in order, in
/// one transaction together with the checkpoint.
///
/// Each step gets the connection inside that transaction, so it may read what
/// the steps before it have written.
///
/// ```
/// use es_core::{Builds, BuildChange, Changes, Name, Part, Position, Slices, Views};
/// use es_sqlite::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("bank.db");
/// let store = SqliteStore::open(path).await?;
/// let balances = Part::new(Name::new("balances")?, 1, Slices::ALL);
/// store.change(BuildChange::begin(balances.model.clone(), 1)).await?;
/// let (mut tx, seen) = store.begin(&balances).await?;
/// tx.run(|connection| {
///     connection.execute_batch("CREATE TABLE IF NOT EXISTS balances (id TEXT, balance INTEGER)")?;
///     connection.execute("INSERT INTO balances VALUES (?, ?)", ("ada", 7)).map(drop)
/// });
/// store.commit(&balances, tx, Changes::default(), seen, seen.at(Position::new(3))).await?;
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

    async fn begin(&self, part: &Part) -> Result<(SqliteTx, Checkpoint), StoreError> {
        let part = part.clone();
        let find = move |connection: &Connection| parts::checkpoint(connection, &part);
        let found = self.readers()?.run(move |reader| find(&reader.connection)).await?;
        Ok((SqliteTx::default(), found.unwrap_or_default()))
    }

    async fn rows(&self, lookup: Lookup) -> Result<Vec<Row>, StoreError> {
        self.readers()?.run(move |reader| find(&reader.connection, lookup)).await
    }

    async fn commit(
        &self,
        part: &Part,
        tx: SqliteTx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let (part, world) = (part.clone(), self.world().clone());
        let write = move |connection: &Connection| {
            if !parts::advance(connection, &part, seen, next, world.now())? {
                return Err(fenced(connection, &part)?);
            }
            put(connection, &part, Kind::Row, &changes.rows)?;
            put(connection, &part, Kind::Parked, &changes.parked)?;
            tx.steps.into_iter().try_for_each(|step| step(connection)).map_err(store_error)
        };
        self.writer().run(write).await
    }
}

pub(crate) fn put(
    connection: &Connection,
    part: &Part,
    kind: Kind,
    rows: &[Row],
) -> Result<(), StoreError> {
    const PUT: &str = "INSERT OR REPLACE INTO view_rows (model, build, kind, tenant, key, value) \
         VALUES (?, ?, ?, ?, ?, ?)";
    const DELETE: &str = "DELETE FROM view_rows \
         WHERE model = ? AND build = ? AND kind = ? AND tenant = ? AND key = ?";
    if rows.is_empty() {
        return Ok(());
    }
    let (model, build) = (part.model.as_str(), number_of_build(part.build));
    let kind = kind_number(kind);
    let mut put = connection.prepare_cached(PUT).map_err(store_error)?;
    let mut delete = connection.prepare_cached(DELETE).map_err(store_error)?;
    // In the order of the table: neighbours go to one page.
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by(|one, other| one.id.cmp(&other.id));
    for Row { id: RowId { tenant, key }, value } in rows {
        let tenant = tenant.as_str();
        let done = match value {
            Some(value) => put.execute(params![model, build, kind, tenant, key, &value[..]]),
            None => delete.execute(params![model, build, kind, tenant, key]),
        };
        done.map_err(store_error)?;
    }
    Ok(())
}

fn fenced(connection: &Connection, part: &Part) -> Result<StoreError, StoreError> {
    let Some(found) = parts::checkpoint(connection, part)? else { return Ok(gone(part)) };
    let Checkpoint { epoch, position } = found;
    let message =
        format!("{part} was moved to epoch {epoch}, position {position} by another owner");
    Ok(StoreError::new(StoreErrorKind::Fenced, message))
}
