use std::{panic::AssertUnwindSafe, time::Duration};

use bytes::Bytes;
use es_core::{CachePlace, Invalidation, Position, SharedCache};
use es_postgres::{PostgresCache, PostgresOptions, PostgresStore};
use es_testkit::{
    not_run,
    servers::{PrivatePostgres, ServerError, postgres_url},
};
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use sqlx::{Connection, Executor, PgConnection, Row};

/// How long anything may take that is to come about.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) type Heard = BoxStream<'static, Invalidation>;

/// A schema of the test's own.
pub(crate) struct Scene {
    schema: String,
}

/// Runs a test in an empty schema, which is gone afterwards.
pub(crate) async fn in_a_schema(name: &str, test: impl AsyncFnOnce(&Scene)) {
    let scene = Scene { schema: format!("gesta_cache_{name}_{}", std::process::id()) };
    let outcome = AssertUnwindSafe(test(&scene)).catch_unwind().await;
    scene.run("DROP SCHEMA {schema} CASCADE").await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Scene {
    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::new(postgres_url()).schema(&self.schema)
    }

    pub(crate) async fn run(&self, sql: &str) {
        let sql = sql.replace("{schema}", &self.schema);
        let done = self.session().await.execute(sqlx::raw_sql(&sql)).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The one number that this says.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let sql = sql.replace("{schema}", &self.schema);
        let row = self.session().await.fetch_one(&*sql).await;
        row.and_then(|row| row.try_get(0)).expect("a query for a number")
    }

    async fn session(&self) -> PgConnection {
        PgConnection::connect(&postgres_url()).await.expect("a server")
    }
}

/// A server of the test's own; where there can be none, that is said.
pub(crate) fn server() -> Option<PrivatePostgres> {
    match PrivatePostgres::start() {
        Err(error @ (ServerError::Missing | ServerError::Unsupported(_))) => {
            not_run(&format!("the cache on a private server: {error}"));
            None
        }
        started => Some(started.expect("a server that starts")),
    }
}

/// A process with its cache.
pub(crate) async fn process(options: PostgresOptions) -> (PostgresStore, PostgresCache) {
    let store = options.open().await.expect("a server with a database");
    let cache = store.cache().expect("a store of every tenant");
    (store, cache)
}

pub(crate) fn place(key: &str) -> CachePlace {
    CachePlace::new(key, Duration::from_secs(300)).tag(format!("tag of {key}"))
}

/// What takes away the answer at the place with this key.
pub(crate) fn change(key: &str) -> Invalidation {
    Invalidation::Tags { tags: place(key).tags, position: Position::new(2) }
}

pub(crate) async fn put(cache: &PostgresCache, place: &CachePlace, value: &str) {
    let stamp = cache.get(place).await.expect("a look").stamp;
    let value = Bytes::copy_from_slice(value.as_bytes());
    cache.put(place, &stamp, Position::new(1), value).await.expect("room");
}

pub(crate) async fn found(cache: &PostgresCache, key: &str) -> Option<Bytes> {
    cache.get(&place(key)).await.expect("a look").found.map(|found| found.value)
}

pub(crate) async fn next(heard: &mut Heard) -> Invalidation {
    tokio::time::timeout(SOON, heard.next()).await.expect("in time").expect("no end")
}

/// What this comes to at last.
pub(crate) async fn soon<T>(mut tried: impl AsyncFnMut() -> Option<T>) -> T {
    let all = async {
        loop {
            if let Some(done) = tried().await {
                return done;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, all).await.expect("it comes about")
}

/// Somebody who listens already.
pub(crate) async fn listening(cache: &PostgresCache) -> Heard {
    let mut heard = cache.listen();
    assert_eq!(next(&mut heard).await, Invalidation::Everything);
    heard
}

/// The next that is not everything.
pub(crate) async fn next_of_something(heard: &mut Heard) -> Invalidation {
    soon(async || Some(next(heard).await).filter(|told| *told != Invalidation::Everything)).await
}
