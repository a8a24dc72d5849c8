use async_trait::async_trait;
use es_core::{Checkpoint, Checkpoints, Name, Position, StoreError, StoreErrorKind};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    SqliteStore,
    append::signed,
    error::{damaged, store_error},
};

#[async_trait]
impl Checkpoints for SqliteStore {
    async fn load(&self, name: &Name) -> Result<Checkpoint, StoreError> {
        let name = name.clone();
        self.readers()?.run(move |reader| find(&reader.connection, &name)).await
    }

    async fn save(
        &self,
        name: &Name,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let name = name.clone();
        self.writer().run(move |connection| compare_and_set(connection, &name, seen, next)).await
    }
}

fn find(connection: &Connection, name: &Name) -> Result<Checkpoint, StoreError> {
    const FIND: &str = "SELECT epoch, position FROM checkpoints WHERE name = ?";
    let found = connection.prepare_cached(FIND).and_then(|mut select| {
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        select.query_row([name.as_str()], columns).optional()
    });
    let Some((epoch, position)) = found.map_err(store_error)? else {
        return Ok(Checkpoint::default());
    };
    let number = |number| u64::try_from(number).map_err(damaged);
    Ok(Checkpoint { epoch: number(epoch)?, position: Position::new(number(position)?) })
}

/// Puts `next` in the place of `seen`, or fails if something else stands there.
fn compare_and_set(
    connection: &Connection,
    name: &Name,
    seen: Checkpoint,
    next: Checkpoint,
) -> Result<(), StoreError> {
    const PUT: &str = "INSERT OR REPLACE INTO checkpoints (name, epoch, position) VALUES (?, ?, ?)";
    let found = find(connection, name)?;
    if found != seen {
        let Checkpoint { epoch, position } = found;
        let message =
            format!("{name} was moved to epoch {epoch}, position {position} by another owner");
        return Err(StoreError::new(StoreErrorKind::Fenced, message));
    }
    let row = params![name.as_str(), signed(next.epoch)?, signed(next.position.get())?];
    let mut put = connection.prepare_cached(PUT).map_err(store_error)?;
    put.execute(row).map(|_| ()).map_err(store_error)
}
