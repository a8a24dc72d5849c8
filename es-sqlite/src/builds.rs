use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use es_core::{
    Build, BuildChange, Builds, Checkpoint, InlineModel, Name, Part, StoreError, Taking,
};
use rusqlite::{Connection, Row};

use crate::{
    SqliteStore, changes,
    error::{damaged, store_error},
    inline, parts,
};

#[async_trait]
impl Builds for SqliteStore {
    async fn builds(&self, models: &[Name]) -> Result<Vec<Build>, StoreError> {
        let (models, now) = (models.to_vec(), self.world().now());
        let find = move |connection: &Connection| {
            let mut builds = Vec::new();
            for model in &models {
                find(connection, model, now, &mut builds)?;
            }
            Ok(builds)
        };
        self.readers()?.run(move |reader| find(&reader.connection)).await
    }

    async fn change(&self, change: BuildChange) -> Result<(), StoreError> {
        change.check()?;
        self.writer().run(move |connection| changes::make(connection, &change)).await
    }

    async fn take(
        &self,
        part: &Part,
        owner: &Name,
        lease: Duration,
        taking: Taking,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let (part, owner, world) = (part.clone(), owner.clone(), self.world().clone());
        let take = move |connection: &Connection| {
            parts::take(connection, &part, (&owner, lease, taking), world.now())
        };
        self.writer().run(take).await
    }

    async fn renew(
        &self,
        owner: &Name,
        held: &[(Part, u64)],
        lease: Duration,
    ) -> Result<Vec<Part>, StoreError> {
        let (owner, mut still, world) = (owner.clone(), held.to_vec(), self.world().clone());
        let renew = move |connection: &Connection| {
            let now = world.now();
            let mut held = Vec::with_capacity(still.len());
            for (part, epoch) in still.drain(..) {
                if parts::renew(connection, &part, (&owner, epoch, lease), now)? {
                    held.push(part);
                }
            }
            Ok(held)
        };
        self.writer().run(renew).await
    }

    async fn keep_inline(&self, model: &Name) -> Result<(), StoreError> {
        let known = self.options().inline.clone();
        let known = known.and_then(|inline| Some((inline.model(model)?.clone(), inline)));
        let (model, inline) = known.ok_or_else(|| InlineModel::unknown(model))?;
        let (world, keeping) = (self.world().clone(), Arc::clone(&inline));
        let keep =
            move |connection: &Connection| inline::keep(connection, &*keeping, &model, world.now());
        let folded = self.writer().run(keep).await?;
        inline.committed(&folded);
        Ok(())
    }
}

/// Builds and parts are of one moment: they come in one statement.
fn find(
    connection: &Connection,
    model: &Name,
    now: DateTime<Utc>,
    builds: &mut Vec<Build>,
) -> Result<(), StoreError> {
    const FIND: &str = "SELECT number, revision, serves, \
         first_slice, last_slice, epoch, position, owner, lease, leased_at \
         FROM builds b LEFT JOIN parts p ON p.model = b.model AND p.build = b.number \
         WHERE b.model = ? ORDER BY number, first_slice";
    let mut select = connection.prepare_cached(FIND).map_err(store_error)?;
    let mut rows = select.query([model.as_str()]).map_err(store_error)?;
    let first = builds.len();
    while let Some(row) = rows.next().map_err(store_error)? {
        let build = build_of(row, model)?;
        if builds[first..].last().is_none_or(|last| last.number != build.number) {
            builds.push(build);
        }
        let has_part = row.get_ref(3).map_err(store_error)? != rusqlite::types::ValueRef::Null;
        if let (true, Some(build)) = (has_part, builds.last_mut()) {
            build.parts.push(parts::state_of(row, 3, now)?);
        }
    }
    Ok(())
}

fn build_of(row: &Row<'_>, model: &Name) -> Result<Build, StoreError> {
    let number = |column| row.get::<_, i64>(column).map_err(store_error);
    let mut build = Build::new(model.clone(), u64::try_from(number(0)?).map_err(damaged)?);
    build.revision = number(1)?.cast_unsigned();
    build.serves = number(2)? == 1;
    Ok(build)
}
