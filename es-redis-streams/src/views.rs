use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use es_core::{
    Changes, Checkpoint, Kind, Lookup, Name, Part, Row, RowId, Rows, StoreError, StoreErrorKind,
    Tenant, Views,
};
use redis::Cmd;

use crate::{
    RedisTx,
    connection::Connection,
    keys::Keys,
    parts::{checkpoint_text, damaged, digits, part_field, part_state},
    scripts,
};

/// Read models in a Redis server; clones share the connection.
///
/// A commit is one script: rows, parked rows, checkpoint and whatever the transaction does
/// become visible together, or not at all. Leases are measured by the server's clock. A
/// build that is discarded goes at once, however many rows it has.
///
/// A server that has forgotten everything has forgotten the checkpoint too: the model
/// begins anew, and who began a transaction before that is fenced. A server that has
/// forgotten the last commits, as after a failover, gets them again. What must not happen is
/// that it forgets single keys: see [`RedisOptions::views`](crate::RedisOptions::views).
///
/// ```no_run
/// use es_core::{Builds, BuildChange, Changes, Lookup, Name, Part, Position, Row, RowId, Rows, Slices, Tenant, Views};
/// use es_redis_streams::RedisOptions;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let views = RedisOptions::new("redis://127.0.0.1:6379").prefix("bank").views().await?;
/// let part = Part::new(Name::new("balances")?, 1, Slices::ALL);
/// views.change(BuildChange::begin(part.model.clone(), 1)).await?;
///
/// let (tx, seen) = views.begin(&part).await?;
/// let ada = RowId::new(Tenant::default(), "ada");
/// let changes = Changes::rows([Row { id: ada.clone(), value: Some("7".into()) }]);
/// views.commit(&part, tx, changes, seen, seen.at(Position::new(3))).await?;
///
/// let found = views.rows(Lookup::new(part.model, Rows::These(vec![ada]))).await?;
/// assert_eq!(found[0].value.as_deref(), Some(b"7".as_slice()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RedisViews {
    pub(crate) connection: Arc<Connection>,
    keys: Arc<Keys>,
}

impl RedisViews {
    pub(crate) fn new(connection: Arc<Connection>, keys: Arc<Keys>) -> Self {
        Self { connection, keys }
    }

    /// The key that a projection has written as [`RedisTx::key`], to read it.
    pub fn key(&self, name: impl fmt::Display) -> String {
        self.keys.own(name)
    }

    /// A script over the hashes of these models.
    pub(crate) fn script<'a>(
        &self,
        script: &str,
        models: impl IntoIterator<Item = &'a Name>,
    ) -> Cmd {
        let keys: Vec<_> = models.into_iter().map(|model| self.keys.model(model)).collect();
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(keys.len()).arg(keys);
        command
    }

    /// A script over a model and all of its rows.
    pub(crate) fn over(&self, script: &str, model: &Name) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(5).arg(self.keys.model(model));
        for kind in [Kind::Row, Kind::Parked] {
            command.arg(&self.keys.rows(kind, model));
        }
        command
    }
}

impl Views for RedisViews {
    type Tx = RedisTx;

    async fn begin(&self, part: &Part) -> Result<(RedisTx, Checkpoint), StoreError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys.model(&part.model)).arg("born");
        command.arg(part_field(part.build, part.slices));
        let (born, found): (Option<String>, Option<String>) = self.connection.ask(&command).await?;
        let state = found.map(|found| part_state(part.slices, &found, 0)).transpose()?;
        let checkpoint = state.map(|state| state.checkpoint).unwrap_or_default();
        Ok((RedisTx::new(Arc::clone(&self.keys), born.unwrap_or_default()), checkpoint))
    }

    async fn rows(&self, lookup: Lookup) -> Result<Vec<Row>, StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(scripts::ROWS).arg(3).arg(self.keys.model(&lookup.model));
        command.arg(&self.keys.rows(lookup.kind, &lookup.model));
        command.arg(lookup.build.map(digits).unwrap_or_default());
        match lookup.rows {
            Rows::These(mut ids) => {
                ids.sort_unstable();
                command.arg("these").arg(ids.iter().map(id_bytes).collect::<Vec<_>>());
            }
            Rows::Of { tenant, after, limit } => {
                let first = from(after.map(|key| RowId::new(tenant.clone(), key)));
                let first =
                    first.unwrap_or_else(|| [b"[", tenant.as_str().as_bytes(), &[0]].concat());
                // No name of a tenant has anything between.
                let last = [b"(", tenant.as_str().as_bytes(), &[1]].concat();
                command.arg("between").arg(first).arg(last).arg(signed(limit));
            }
            Rows::Every { after, limit } => {
                let first = from(after).unwrap_or_else(|| b"-".to_vec());
                command.arg("between").arg(first).arg("+").arg(signed(limit));
            }
        }
        let found: Vec<(Vec<u8>, Vec<u8>)> = self.connection.ask(&command).await?;
        found.into_iter().map(|(id, value)| row(&id, value)).collect()
    }

    async fn commit(
        &self,
        part: &Part,
        tx: RedisTx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let mut command = self.over(scripts::COMMIT, &part.model);
        command.arg(digits(part.build)).arg(part_field(part.build, part.slices));
        command.arg(checkpoint_text(seen)).arg(checkpoint_text(next)).arg(&tx.born);
        tx.write_to(&mut command);
        write_rows(&mut command, changes.rows);
        write_rows(&mut command, changes.parked);
        let done: Vec<String> = self.connection.write(&command).await?;
        let done: Vec<_> = done.iter().map(String::as_str).collect();
        match done[..] {
            ["done"] => Ok(()),
            ["gone"] => Err(StoreError::new(StoreErrorKind::Fenced, format!("{part} is gone"))),
            ["moved", epoch, position] => {
                let (epoch, position) = (short(epoch), short(position));
                let message = format!(
                    "{part} was moved to epoch {epoch}, position {position} by another owner"
                );
                Err(StoreError::new(StoreErrorKind::Fenced, message))
            }
            ["failed", why] => {
                let message = format!("nothing of the commit was done, as a command failed: {why}");
                Err(StoreError::new(StoreErrorKind::Other, message))
            }
            _ => Err(damaged()),
        }
    }
}

/// The rows with a value, then the ids of those without; the last one of an id counts.
fn write_rows(command: &mut Cmd, rows: Vec<Row>) {
    let rows: BTreeMap<RowId, Option<Bytes>> =
        rows.into_iter().map(|row| (row.id, row.value)).collect();
    let puts = rows.iter().filter_map(|(id, value)| Some((id, value.as_ref()?)));
    command.arg(2 * puts.clone().count());
    for (id, value) in puts {
        command.arg(id_bytes(id)).arg(&value[..]);
    }
    let gone = rows.iter().filter(|(_, value)| value.is_none());
    let gone: Vec<_> = gone.map(|(id, _)| id_bytes(id)).collect();
    command.arg(gone.len()).arg(gone);
}

/// No name of a tenant holds a zero byte, so that ids are in order as bytes too.
fn id_bytes(id: &RowId) -> Vec<u8> {
    [id.tenant.as_str().as_bytes(), id.key.as_bytes()].join(&0)
}

fn row(id: &[u8], value: Vec<u8>) -> Result<Row, StoreError> {
    let id = std::str::from_utf8(id).map_err(|_| damaged())?;
    let (tenant, key) = id.split_once('\0').ok_or_else(damaged)?;
    let tenant = Tenant::new(tenant).map_err(|_| damaged())?;
    Ok(Row { id: RowId::new(tenant, key), value: Some(value.into()) })
}

/// Where ids begin that come after this one.
fn from(after: Option<RowId>) -> Option<Vec<u8>> {
    after.map(|id| [b"(".to_vec(), id_bytes(&id)].concat())
}

fn signed(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A number without its noughts.
fn short(digits: &str) -> &str {
    match digits.trim_start_matches('0') {
        "" => "0",
        number => number,
    }
}
