use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use es_core::{
    Changes, Checkpoint, Kind, Lookup, Part, Row, RowId, Rows, StoreError, StoreErrorKind, Tenant,
    Views,
};
use sqlx::{
    Executor, PgConnection, Postgres, Row as _,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use crate::{
    PostgresStore,
    builds::number,
    call::Call,
    checkpoints::checkpoint,
    connections::{Connections, Lent},
    error::{damaged, signed, store_error, write_error},
    schema::Schema,
};

/// What a free-form projection writes, in one transaction together with its
/// checkpoint.
///
/// ```no_run
/// use es_core::{Builds, BuildChange, Changes, Name, Part, Position, Slices, Views};
/// use es_postgres::PostgresStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = PostgresStore::open("postgres://localhost/bank").await?;
/// let balances = Part::new(Name::new("balances")?, 1, Slices::ALL);
/// store.change(BuildChange::begin(balances.model.clone(), 1)).await?;
/// let (mut tx, seen) = store.begin(&balances).await?;
/// tx.run(sqlx::query("INSERT INTO balances VALUES ($1, $2)").bind("ada").bind(7));
/// let all = sqlx::query("SELECT * FROM balances").fetch_all(tx.connection().await?).await?;
/// store.commit(&balances, tx, Changes::default(), seen, seen.at(Position::new(3))).await?;
/// # Ok(())
/// # }
/// ```
pub struct PostgresTx {
    connections: Connections,
    /// Once a transaction is open. Dropped with it, the server rolls it back.
    open: Option<Lent>,
    steps: Vec<Step>,
    /// A step failed, or whoever waited for it went away: what was done is rolled
    /// back, and must not be committed without.
    is_broken: bool,
}

type Step = Query<'static, Postgres, PgArguments>;

impl PostgresTx {
    /// Does this at the commit, if there is one, after what was given earlier.
    pub fn run(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// The connection with the open transaction, after all that was to be
    /// [run](Self::run) so far. Leave the transaction open. After an error, or a
    /// call that was dropped half-way, nothing is left to commit.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the server cannot be reached, or fails.
    pub async fn connection(&mut self) -> Result<&mut PgConnection, StoreError> {
        if std::mem::replace(&mut self.is_broken, true) {
            let message = "the transaction was rolled back half-way, begin another";
            return Err(StoreError::new(StoreErrorKind::Unavailable, message));
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.connections.begin().await?,
        };
        for step in self.steps.drain(..) {
            let step = async { step.execute(&mut *open).await.map_err(store_error) };
            self.connections.in_time(step).await?;
        }
        self.is_broken = false;
        Ok(self.open.insert(open))
    }

    fn is_empty(&self) -> bool {
        self.open.is_none() && self.steps.is_empty() && !self.is_broken
    }
}

impl fmt::Debug for PostgresTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tx = f.debug_struct("PostgresTx");
        tx.field("open", &self.open.is_some()).field("steps", &self.steps.len()).finish()
    }
}

impl Views for PostgresStore {
    type Tx = PostgresTx;

    async fn begin(&self, part: &Part) -> Result<(PostgresTx, Checkpoint), StoreError> {
        let shared = self.shared();
        shared.allows_checkpoints()?;
        let found = shared.readers.rows(|| find(&shared.schema, part)).await?;
        let checkpoint = checkpoint(found.first())?;
        let connections = shared.projectors.clone();
        let tx = PostgresTx { connections, open: None, steps: Vec::new(), is_broken: false };
        Ok((tx, checkpoint))
    }

    async fn rows(&self, lookup: Lookup) -> Result<Vec<Row>, StoreError> {
        let tenants: Vec<_> = match &lookup.rows {
            Rows::These(ids) => ids.iter().map(|id| Some(&id.tenant)).collect(),
            Rows::Of { tenant, .. } => vec![Some(tenant)],
            Rows::Every { .. } => vec![None],
        };
        tenants.into_iter().try_for_each(|tenant| self.shared().allows(tenant))?;
        let shared = self.shared();
        let found = match &lookup.rows {
            Rows::These(ids) => shared.readers.rows(|| these(&shared.schema, &lookup, ids)).await,
            Rows::Of { tenant, after, limit } => {
                let call = || of(&shared.schema, &lookup, tenant, after.as_deref(), *limit);
                shared.readers.rows(call).await
            }
            Rows::Every { after, limit } => {
                let call = || every(&shared.schema, &lookup, after.as_ref(), *limit);
                shared.readers.rows(call).await
            }
        };
        read_rows(&found?)
    }

    async fn commit(
        &self,
        part: &Part,
        mut tx: PostgresTx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        self.shared().allows_checkpoints()?;
        let schema = &self.shared().schema;
        if tx.is_empty() {
            let mut lent = tx.connections.lend().await?;
            let moving = move_part(&mut lent, schema, part, changes, seen, next);
            let moved = tx.connections.written_in_time(moving).await;
            match &moved {
                Err(error) if error.kind() == StoreErrorKind::Unknown => lent.broke(),
                _ => lent.give_back(),
            }
            return moved;
        }
        // A failure on the way drops the transaction, and the server rolls back. Who has
        // lost the part is told so before any of its steps is done.
        let connections = tx.connections.clone();
        let steps = std::mem::take(&mut tx.steps);
        let connection = tx.connection().await?;
        let commit = async {
            move_part(connection, schema, part, changes, seen, next).await?;
            for step in steps {
                step.execute(&mut *connection).await.map_err(store_error)?;
            }
            connection.execute("COMMIT").await.map_err(write_error)
        };
        connections.written_in_time(commit).await?;
        if let Some(lent) = tx.open.take() {
            lent.give_back();
        }
        Ok(())
    }
}

pub(crate) fn find(schema: &Schema, part: &Part) -> Call {
    const FIND: &str = "SELECT epoch, position FROM {schema}.parts \
         WHERE model = $1 AND build = $2 AND first_slice = $3 AND last_slice = $4";
    part_key(Call::new(schema.sql(FIND)), part)
}

/// Binds the first four values.
pub(crate) fn part_key(call: Call, part: &Part) -> Call {
    call.bind(part.model.as_str().to_owned())
        .bind(number(part.build))
        .bind(i32::from(part.slices.first))
        .bind(i32::from(part.slices.last))
}

/// Moves the checkpoint, begins the lease anew and writes the rows, or nothing of it.
async fn move_part(
    connection: &mut PgConnection,
    schema: &Schema,
    part: &Part,
    changes: Changes,
    seen: Checkpoint,
    next: Checkpoint,
) -> Result<(), StoreError> {
    let moving = moving(schema, part, changes, seen, next)?;
    let moved = moving.fetch_all(&mut *connection).await.map_err(write_error)?;
    match moved.first().map(|row| row.try_get::<i64, _>(0)).transpose().map_err(store_error)? {
        Some(1) => Ok(()),
        _ => Err(fenced(connection, schema, part).await?),
    }
}

pub(crate) fn moving(
    schema: &Schema,
    part: &Part,
    changes: Changes,
    seen: Checkpoint,
    next: Checkpoint,
) -> Result<Call, StoreError> {
    const ALONE: &str = "UPDATE {schema}.parts \
         SET epoch = $5, position = $6, until = clock_timestamp() + lease \
         WHERE model = $1 AND build = $2 AND first_slice = $3 AND last_slice = $4 \
         AND epoch = $7 AND position = $8 RETURNING 1::bigint";
    const WITH_ROWS: &str = "WITH moved AS (
            UPDATE {schema}.parts
            SET epoch = $5, position = $6, until = clock_timestamp() + lease
            WHERE model = $1 AND build = $2 AND first_slice = $3 AND last_slice = $4
                AND epoch = $7 AND position = $8 RETURNING model, build
        ), put AS (
            INSERT INTO {schema}.view_rows (model, build, kind, tenant, key, value)
            SELECT moved.model, moved.build, row.kind, row.tenant, row.key, row.value FROM moved,
                unnest($9::smallint[], $10::text[], $11::bytea[], $12::bytea[])
                    AS row (kind, tenant, key, value)
            WHERE row.value IS NOT NULL
            ON CONFLICT (model, build, kind, tenant, key) DO UPDATE SET value = excluded.value
        ), gone AS (
            DELETE FROM {schema}.view_rows WHERE ctid = ANY (ARRAY(
                SELECT v.place FROM moved,
                    unnest($9::smallint[], $10::text[], $11::bytea[], $12::bytea[])
                        AS row (kind, tenant, key, value)
                CROSS JOIN LATERAL (
                    SELECT ctid AS place FROM {schema}.view_rows
                    WHERE model = moved.model AND build = moved.build AND kind = row.kind
                        AND tenant = row.tenant COLLATE \"C\" AND key = row.key LIMIT 1
                ) AS v
                WHERE row.value IS NULL
            ))
        )
        SELECT count(*) FROM moved";
    let has_rows = !(changes.rows.is_empty() && changes.parked.is_empty());
    let sql = if has_rows { WITH_ROWS } else { ALONE };
    let call = part_key(Call::new(schema.sql(sql)), part)
        .bind(signed(next.epoch)?)
        .bind(signed(next.position.get())?)
        .bind(signed(seen.epoch)?)
        .bind(signed(seen.position.get())?);
    Ok(if has_rows { bind_rows(call, changes) } else { call })
}

/// The last one of a key counts; in the order of the key, so that nobody waits for
/// somebody who waits for him.
fn bind_rows(call: Call, changes: Changes) -> Call {
    let of = |kind: Kind, rows: Vec<Row>| {
        rows.into_iter().map(move |row| ((kind_number(kind), row.id), row.value))
    };
    let rows: BTreeMap<(i16, RowId), Option<Bytes>> =
        of(Kind::Row, changes.rows).chain(of(Kind::Parked, changes.parked)).collect();
    let (mut kinds, mut tenants) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    let (mut keys, mut values) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for ((kind, id), value) in rows {
        kinds.push(kind);
        tenants.push(id.tenant.as_str().to_owned());
        keys.push(id.key.into_bytes());
        values.push(value.map(|value| value.to_vec()));
    }
    call.bind(kinds).bind(tenants).bind(keys).bind(values)
}

/// Says who has moved it.
async fn fenced(
    connection: &mut PgConnection,
    schema: &Schema,
    part: &Part,
) -> Result<StoreError, StoreError> {
    let found = find(schema, part).fetch_all(connection).await.map_err(write_error)?;
    let message = match found.first() {
        Some(row) => {
            let Checkpoint { epoch, position } = checkpoint(Some(row))?;
            format!("{part} was moved to epoch {epoch}, position {position} by another owner")
        }
        None => format!("{part} is gone"),
    };
    Ok(StoreError::new(StoreErrorKind::Fenced, message))
}

/// The build that a lookup means: `$2`, or the one that answers. It is a query of its own,
/// which leaves a mere value to compare with: behind a wall the server would not search
/// for anything else.
const BUILD: &str = "(SELECT coalesce($2, (SELECT b.number FROM {schema}.builds AS b \
     WHERE b.model = $1 AND b.serves)))";

/// A call that begins with the model, the build and the kind.
fn looking(schema: &Schema, lookup: &Lookup, sql: &str) -> Call {
    // A build that no table holds is none.
    let build = lookup.build.map(|build| number(build).unwrap_or(-1));
    Call::new(schema.sql(&sql.replace("{build}", BUILD)))
        .bind(lookup.model.as_str().to_owned())
        .bind(build)
        .bind(kind_number(lookup.kind))
}

/// Each row is looked up by itself: without statistics the server would rather walk the
/// whole build.
pub(crate) fn these(schema: &Schema, lookup: &Lookup, ids: &[RowId]) -> Call {
    const THESE: &str = "SELECT one.tenant, one.key, v.value \
         FROM unnest($4::text[], $5::bytea[]) AS one (tenant, key) \
         CROSS JOIN LATERAL (SELECT value FROM {schema}.view_rows \
             WHERE model = $1 AND build = {build} AND kind = $3 \
             AND tenant = one.tenant COLLATE \"C\" AND key = one.key LIMIT 1) AS v \
         ORDER BY one.tenant COLLATE \"C\", one.key";
    let tenants: Vec<_> = ids.iter().map(|id| id.tenant.as_str().to_owned()).collect();
    let keys: Vec<_> = ids.iter().map(|id| id.key.clone().into_bytes()).collect();
    looking(schema, lookup, THESE).bind(tenants).bind(keys)
}

pub(crate) fn of(
    schema: &Schema,
    lookup: &Lookup,
    tenant: &Tenant,
    after: Option<&str>,
    limit: usize,
) -> Call {
    const OF: &str = "SELECT tenant, key, value FROM {schema}.view_rows \
         WHERE model = $1 AND build = {build} AND kind = $3 AND tenant = $4 {after} \
         ORDER BY key LIMIT $5";
    let sql = OF.replace("{after}", if after.is_some() { "AND key > $6" } else { "" });
    let call = looking(schema, lookup, &sql)
        .bind(tenant.as_str().to_owned())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX));
    match after {
        Some(key) => call.bind(key.as_bytes().to_vec()),
        None => call,
    }
}

pub(crate) fn every(schema: &Schema, lookup: &Lookup, after: Option<&RowId>, limit: usize) -> Call {
    const EVERY: &str = "SELECT tenant, key, value FROM {schema}.view_rows \
         WHERE model = $1 AND build = {build} AND kind = $3 \
         AND (tenant, key) > ($5, $6) ORDER BY tenant, key LIMIT $4";
    let after = after.map(|id| (id.tenant.as_str().to_owned(), id.key.clone().into_bytes()));
    let (tenant, key) = after.unwrap_or_default();
    looking(schema, lookup, EVERY)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(tenant)
        .bind(key)
}

fn kind_number(kind: Kind) -> i16 {
    match kind {
        Kind::Row => 0,
        Kind::Parked => 1,
    }
}

/// Rows with tenant, key and value; those of one tenant share its name.
pub(crate) fn read_rows(rows: &[PgRow]) -> Result<Vec<Row>, StoreError> {
    let mut tenant = Tenant::default();
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let name: &str = row.try_get(0).map_err(store_error)?;
        if tenant.as_str() != name {
            tenant = Tenant::new(name).map_err(damaged)?;
        }
        let bytes = |at: usize| row.try_get::<Vec<u8>, _>(at).map_err(store_error);
        let key = String::from_utf8(bytes(1)?).map_err(damaged)?;
        let id = RowId::new(tenant.clone(), key);
        found.push(Row { id, value: Some(bytes(2)?.into()) });
    }
    Ok(found)
}
