//! A log in a schema of its own, on a clock that the test moves.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use es_core::{Batch, Clock, EventStore, Position, Read, World};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{MovedClock, fake, servers::postgres_url};
use futures_util::{FutureExt, TryStreamExt, future::BoxFuture};
use sqlx::{Connection, Executor, PgConnection, Row};

/// Long enough for any machine; nothing is expected to take so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two looks at the horizon.
const POLL: Duration = Duration::from_millis(100);
/// The pause where no append is under way.
const QUIET: Duration = Duration::from_millis(400);

/// Counts the looks.
#[derive(Debug, Clone, Default)]
struct Looks {
    clock: MovedClock,
    count: Arc<AtomicU64>,
}

impl Clock for Looks {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration == POLL || duration == QUIET {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.clock.sleep(duration)
    }
}

pub(crate) struct Scene {
    pub(crate) schema: String,
    looks: Looks,
    pub(crate) clock: MovedClock,
    pub(crate) store: PostgresStore,
}

/// Runs a test on an empty log, which is gone afterwards.
pub(crate) async fn on_a_log(name: &str, test: impl AsyncFnOnce(&Scene)) {
    let schema = format!("gesta_operation_{name}_{}", std::process::id());
    let (clock, looks) = (MovedClock::new(), Arc::default());
    let looks = Looks { clock: clock.clone(), count: looks };
    let world = World::real().with_clock(looks.clone());
    let options = PostgresOptions::new(postgres_url()).schema(&schema).world(world).poll(POLL);
    let store = options.open().await.expect("a server with a database");
    let scene = Scene { schema, looks, clock, store };
    let outcome = AssertUnwindSafe(test(&scene)).catch_unwind().await;
    scene.store.close().await;
    let drop = scene.sql("DROP SCHEMA {schema} CASCADE");
    scene.session().await.execute(drop.as_str()).await.expect("a schema that can be dropped");
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Scene {
    pub(crate) fn sql(&self, statement: &str) -> String {
        statement.replace("{schema}", &self.schema)
    }

    pub(crate) async fn session(&self) -> PgConnection {
        PgConnection::connect(&postgres_url()).await.expect("a server")
    }

    /// An append in a transaction that stays open, and its backend.
    pub(crate) async fn hold(&self, stream: &str) -> (PgConnection, i32) {
        let mut session = self.session().await;
        session.execute("BEGIN").await.expect("a transaction");
        self.store.append_in(&mut session, to(stream)).await.expect("an append");
        let row = session.fetch_one("SELECT pg_backend_pid()").await;
        let pid = row.and_then(|row| row.try_get(0)).expect("a process id");
        (session, pid)
    }

    /// Returns after a look that began after this call: the second one that ends.
    pub(crate) async fn looked(&self) {
        let count = || self.looks.count.load(Ordering::Relaxed);
        let wanted = count() + 2;
        let looking = async {
            while count() < wanted {
                tokio::task::yield_now().await;
            }
        };
        in_time("a look", looking).await;
    }

    /// Returns once a follower has come to this position.
    pub(crate) async fn followed_to(&self, position: Position) {
        let mut pages = self.store.follow(Read::all());
        let following = async {
            while pages.try_next().await.expect("a page").expect("a page").through < position {}
        };
        in_time("a follower", following).await;
    }
}

/// One event for this stream.
pub(crate) fn to(stream: &str) -> Batch {
    Batch::to(fake::stream(stream)).event(fake::event("thing.happened").build())
}

/// Fails a test that would hang.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}
