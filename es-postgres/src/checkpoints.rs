use async_trait::async_trait;
use es_core::{Checkpoint, Checkpoints, Name, Position, StoreError, StoreErrorKind};
use sqlx::{PgConnection, Row, postgres::PgRow};

use crate::{
    PostgresStore,
    call::Call,
    error::{signed, store_error, unsigned, write_error},
    schema::Schema,
};

#[async_trait]
impl Checkpoints for PostgresStore {
    async fn load(&self, name: &Name) -> Result<Checkpoint, StoreError> {
        let shared = self.shared();
        shared.allows_checkpoints()?;
        checkpoint(shared.readers.rows(|| find(&shared.schema, name)).await?.first())
    }

    async fn save(
        &self,
        name: &Name,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let shared = self.shared();
        shared.allows_checkpoints()?;
        let mut lent = shared.projectors.lend().await?;
        let saving = compare_and_set(&mut lent, &shared.schema, name, seen, next);
        let saved = shared.projectors.written_in_time(saving).await;
        match &saved {
            Err(error) if error.kind() == StoreErrorKind::Unknown => lent.broke(),
            _ => lent.give_back(),
        }
        saved
    }
}

pub(crate) fn find(schema: &Schema, name: &Name) -> Call {
    const FIND: &str = "SELECT epoch, position FROM {schema}.checkpoints WHERE name = $1";
    Call::new(schema.sql(FIND)).bind(name.as_str().to_owned())
}

pub(crate) fn checkpoint(row: Option<&PgRow>) -> Result<Checkpoint, StoreError> {
    let Some(row) = row else { return Ok(Checkpoint::default()) };
    let number = |at: usize| unsigned(row.try_get(at).map_err(store_error)?);
    Ok(Checkpoint { epoch: number(0)?, position: Position::new(number(1)?) })
}

/// Puts `next` in the place of `seen`, or fails if something else stands there.
/// Whoever comes second waits for the row, and then finds it moved.
pub(crate) async fn compare_and_set(
    connection: &mut PgConnection,
    schema: &Schema,
    name: &Name,
    seen: Checkpoint,
    next: Checkpoint,
) -> Result<(), StoreError> {
    const BEGIN: &str = "INSERT INTO {schema}.checkpoints (name, epoch, position) \
         VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE SET epoch = $2, position = $3 \
         WHERE checkpoints.epoch = $4 AND checkpoints.position = $5";
    const MOVE: &str = "UPDATE {schema}.checkpoints SET epoch = $2, position = $3 \
         WHERE name = $1 AND epoch = $4 AND position = $5";
    let sql = if seen == Checkpoint::default() { BEGIN } else { MOVE };
    let moved = Call::new(schema.sql(sql))
        .bind(name.as_str().to_owned())
        .bind(signed(next.epoch)?)
        .bind(signed(next.position.get())?)
        .bind(signed(seen.epoch)?)
        .bind(signed(seen.position.get())?)
        .execute(&mut *connection)
        .await
        .map_err(write_error)?;
    if moved.rows_affected() == 1 {
        return Ok(());
    }
    Err(fenced(connection, schema, name).await?)
}

/// Says who has moved it.
pub(crate) async fn fenced(
    connection: &mut PgConnection,
    schema: &Schema,
    name: &Name,
) -> Result<StoreError, StoreError> {
    let found = find(schema, name).fetch_all(connection).await.map_err(write_error)?;
    let Checkpoint { epoch, position } = checkpoint(found.first())?;
    let message =
        format!("{name} was moved to epoch {epoch}, position {position} by another owner");
    Ok(StoreError::new(StoreErrorKind::Fenced, message))
}
