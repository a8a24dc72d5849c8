use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use es_core::{
    CachePlace, CacheStamp, FoundAnswer, Invalidation, LookedUp, Position, SharedCache, StoreError,
};
use futures_util::stream::BoxStream;
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    call::Call,
    error::{damaged, store_error},
    invalidations,
};

/// How much longer than an answer its tags are remembered: as long as it may take to
/// make it. Whatever takes longer is not kept.
const MAKING: Duration = Duration::from_secs(60);

/// A shared cache in the schema of a store, through the store's own connections; clones
/// share them. See [`PostgresStore::cache`].
///
/// Its tables are unlogged: the server writes them without waiting for a disk, and empties
/// them when it has crashed. Each tag that anybody has looked for lately has a stamp, which
/// is drawn by lot; an invalidation gives it another one. An answer is kept with the stamps
/// that its tags had before it was made, and is found as long as they are the same. A stamp
/// that was lost is drawn anew, and with that the answer is lost too.
///
/// How long an answer is kept is told by the server's clock.
///
/// ```no_run
/// use es_core::{CachePlace, SharedCache};
/// use es_postgres::{PostgresCache, PostgresStore};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::open("postgres://postgres@localhost/bank").await?;
/// let cache: PostgresCache = store.cache()?;
/// let place = CachePlace::new("balance_of ada", Duration::from_secs(300)).tag("accounts/ada");
/// assert!(cache.get(&place).await?.found.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PostgresCache {
    store: PostgresStore,
}

impl PostgresStore {
    /// A cache of answers that the processes of this schema share, see [`PostgresCache`].
    /// It takes connections of those that read, and has none of its own.
    ///
    /// What one process invalidates the others hear of at once, through the connection
    /// that wakes their followers; [behind a pooler](crate::PostgresOptions::behind_pooler), and
    /// if the one that has invalidated dies meanwhile, as soon as they
    /// [look](crate::PostgresOptions::poll).
    ///
    /// # Errors
    ///
    /// `Invalid` from a store that was opened for one tenant: nobody can tell by a key or a
    /// tag whose answer it is, so that the server could not keep them apart.
    pub fn cache(&self) -> Result<PostgresCache, StoreError> {
        self.shared().allows(None)?;
        Ok(PostgresCache { store: self.clone() })
    }
}

#[async_trait]
impl SharedCache for PostgresCache {
    async fn get(&self, place: &CachePlace) -> Result<LookedUp, StoreError> {
        const LOOK_UP: &str = "SELECT stamp, as_of, value, millis_left \
             FROM {schema}.look_up($1, $2, make_interval(secs => $3))";
        let (shared, needed) = (self.store.shared(), place.ttl + MAKING);
        let looking = || on(place, shared.schema.sql(LOOK_UP)).bind(needed.as_secs_f64());
        let rows = shared.readers.rows(looking).await?;
        looked_up(rows.first().ok_or_else(|| damaged("look_up() answers nothing"))?)
    }

    async fn put(
        &self,
        place: &CachePlace,
        stamp: &CacheStamp,
        as_of: Position,
        value: Bytes,
    ) -> Result<(), StoreError> {
        const KEEP: &str = "SELECT FROM {schema}.keep_answer($1, $2, $3, $4, $5, \
             make_interval(secs => $6))";
        let shared = self.store.shared();
        let keeping = || {
            on(place, shared.schema.sql(KEEP))
                .bind(stamp.as_str().to_owned())
                .bind(sortable(as_of))
                .bind(value.to_vec())
                .bind(place.ttl.as_secs_f64())
        };
        shared.readers.rows(keeping).await.map(drop)
    }

    async fn invalidate(&self, invalidation: &Invalidation) -> Result<(), StoreError> {
        invalidations::invalidate(self.store.shared(), invalidation).await
    }

    fn listen(&self) -> BoxStream<'static, Invalidation> {
        invalidations::listen(self.store.shared())
    }
}

fn on(place: &CachePlace, sql: String) -> Call {
    let tags: Vec<_> = place.tags.iter().map(|tag| tag.clone().into_bytes()).collect();
    Call::new(sql).bind(place.key.clone().into_bytes()).bind(tags)
}

fn looked_up(row: &PgRow) -> Result<LookedUp, StoreError> {
    let stamp = CacheStamp::new(row.try_get::<String, _>(0).map_err(store_error)?);
    let as_of: Option<i64> = row.try_get(1).map_err(store_error)?;
    let Some(as_of) = as_of.map(position) else { return Ok(LookedUp { found: None, stamp }) };
    let value: Vec<u8> = row.try_get(2).map_err(store_error)?;
    let left: i64 = row.try_get(3).map_err(store_error)?;
    let left = Duration::from_millis(left.max(0).unsigned_abs());
    Ok(LookedUp { found: Some(FoundAnswer { as_of, value: value.into(), left }), stamp })
}

const SIGN: u64 = 1 << 63;

/// PostgreSQL's integers are signed: the order of positions is theirs with the sign turned.
fn sortable(position: Position) -> i64 {
    (position.get() ^ SIGN).cast_signed()
}

fn position(sortable: i64) -> Position {
    Position::new(sortable.cast_unsigned() ^ SIGN)
}
