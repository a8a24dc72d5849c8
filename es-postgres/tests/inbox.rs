//! A message that a handler has received in its own transaction is known from its commit on,
//! and not before.

use std::{panic::AssertUnwindSafe, time::Duration};

use chrono::TimeDelta;
use es_core::{ContentType, Group, Message, Name, StoreErrorKind, Tenant, World};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{MovedClock, servers::postgres_url};
use futures_util::{FutureExt, future::join_all};
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3_600);
/// How long anything may take that is to come about.
const SOON: Duration = Duration::from_secs(20);

struct Scene {
    schema: String,
    clock: MovedClock,
    store: PostgresStore,
}

/// Runs a test on an empty inbox beside a table of counts, which are gone afterwards.
async fn in_a_schema(name: &str, test: impl AsyncFnOnce(&Scene)) {
    let schema = format!("gesta_inbox_{name}_{}", std::process::id());
    let clock = MovedClock::new();
    let options = PostgresOptions::new(postgres_url()).schema(&schema);
    let world = World::real().with_clock(clock.clone());
    let store = options.world(world).open().await.expect("a server with a database");
    let scene = Scene { schema, clock, store };
    scene.run("CREATE TABLE {schema}.handled (message text NOT NULL)").await;
    let outcome = AssertUnwindSafe(test(&scene)).catch_unwind().await;
    scene.store.close().await;
    scene.run("DROP SCHEMA {schema} CASCADE").await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Scene {
    async fn session(&self) -> PgConnection {
        PgConnection::connect(&postgres_url()).await.expect("a server")
    }

    fn sql(&self, sql: &str) -> String {
        sql.replace("{schema}", &self.schema)
    }

    async fn run(&self, sql: &str) {
        let done = self.session().await.execute(sqlx::raw_sql(&self.sql(sql))).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn number(&self, sql: &str) -> i64 {
        let row = self.session().await.fetch_one(&*self.sql(sql)).await;
        row.and_then(|row| row.try_get(0)).expect("a query for a number")
    }

    async fn handled(&self) -> i64 {
        self.number("SELECT count(*) FROM {schema}.handled").await
    }

    /// Handles the message as a handler does, and says whether it was the first time.
    async fn handle(&self, group: &str, message: &Message, end: End) -> bool {
        let mut session = self.session().await;
        let mut tx = session.begin().await.expect("a transaction");
        let is_first = self.store.receive_in(&mut tx, &self::group(group), message).await;
        let is_first = is_first.expect("an answer");
        if is_first {
            let insert = self.sql("INSERT INTO {schema}.handled VALUES ('one')");
            tx.execute(insert.as_str()).await.expect("an insert");
        }
        match end {
            End::Commit => tx.commit().await,
            End::RollBack => tx.rollback().await,
        }
        .expect("an end");
        is_first
    }
}

#[derive(Clone, Copy)]
enum End {
    Commit,
    RollBack,
}

fn group(name: &str) -> Group {
    Group::new(name).expect("a name")
}

fn message(id: impl Into<String>) -> Message {
    Message::new(id, Name::from_static("mail.wanted"), ContentType::JSON, "{}")
}

#[tokio::test]
async fn a_message_is_handled_once_however_often_it_is_delivered() {
    in_a_schema("once", async |scene| {
        for is_first in [true, false, false] {
            assert_eq!(scene.handle("mails", &message("1"), End::Commit).await, is_first);
        }
        assert_eq!(scene.handled().await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_was_rolled_back_is_handled_the_next_time() {
    in_a_schema("undone", async |scene| {
        assert!(scene.handle("mails", &message("1"), End::RollBack).await);
        assert!(scene.handle("mails", &message("1"), End::Commit).await);
        assert_eq!(scene.handled().await, 1);
    })
    .await;
}

#[tokio::test]
async fn each_group_and_each_tenant_handles_a_message_by_itself() {
    in_a_schema("apart", async |scene| {
        let acme = message("1").of(Tenant::new("acme").expect("a name"));
        for is_first in [true, false] {
            for (group, message) in
                [("mails", &message("1")), ("bills", &message("1")), ("mails", &acme)]
            {
                assert_eq!(scene.handle(group, message, End::Commit).await, is_first);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_id_may_be_any_text_of_any_length() {
    in_a_schema("ids", async |scene| {
        let long = "x".repeat(1024 * 1024);
        let ids = ["", "\0", "'; --", "größe 表 🦀", &long, &format!("{long}y")];
        for is_first in [true, false] {
            for id in ids {
                let name = &id[..id.len().min(20)];
                let first = scene.handle("mails", &message(id), End::Commit).await;
                assert_eq!(first, is_first, "{name:?}");
            }
        }
    })
    .await;
}

/// Whichever way the first ends, the second is right.
#[tokio::test]
async fn who_comes_while_another_is_at_it_waits_for_its_end() {
    in_a_schema("waits", async |scene| {
        for (id, end, is_first) in [("1", End::Commit, false), ("2", End::RollBack, true)] {
            let mut session = scene.session().await;
            let mut first = session.begin().await.expect("a transaction");
            let (mails, message) = (group("mails"), message(id));
            let received = scene.store.receive_in(&mut first, &mails, &message).await;
            assert!(received.expect("an answer"));

            let second = scene.handle("mails", &message, End::Commit);
            let blocked = async {
                const BLOCKED: &str = "SELECT count(*) FROM pg_stat_activity \
                     WHERE wait_event_type = 'Lock' AND query LIKE '%{schema}%inbox%'";
                while scene.number(BLOCKED).await == 0 {}
                match end {
                    End::Commit => first.commit().await,
                    End::RollBack => first.rollback().await,
                }
                .expect("an end");
            };
            let both = async { tokio::join!(second, blocked) };
            let (second, ()) = tokio::time::timeout(SOON, both).await.expect("an end in time");
            assert_eq!(second, is_first);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_is_the_first() {
    in_a_schema("many", async |scene| {
        for id in 0..10 {
            let message = message(id.to_string());
            // Some die on the way.
            let ends = [End::RollBack, End::Commit, End::Commit, End::Commit];
            let all = ends.iter().map(|end| scene.handle("mails", &message, *end));
            join_all(all).await;
        }
        assert_eq!(scene.handled().await, 10);
    })
    .await;
}

/// A handler that goes away takes its transaction along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_is_dropped_has_received_nothing() {
    in_a_schema("dropped", async |scene| {
        let (store, message) = (scene.store.clone(), message("1"));
        let mut doomed = JoinSet::new();
        let (told, at_it) = tokio::sync::oneshot::channel();
        let it = message.clone();
        doomed.spawn(async move {
            let mut session = PgConnection::connect(&postgres_url()).await.expect("a server");
            let mut tx = session.begin().await.expect("a transaction");
            let received = store.receive_in(&mut tx, &group("mails"), &it).await;
            told.send(received.expect("an answer")).expect("somebody who listens");
            std::future::pending::<()>().await;
        });
        assert!(at_it.await.expect("an answer"));
        doomed.shutdown().await;
        assert!(scene.handle("mails", &message, End::Commit).await);
        assert_eq!(scene.handled().await, 1);
    })
    .await;
}

#[tokio::test]
async fn under_a_stricter_isolation_who_is_late_is_told_to_try_again() {
    in_a_schema("strict", async |scene| {
        let mut session = scene.session().await;
        let mut tx = session.begin().await.expect("a transaction");
        let strict = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ";
        tx.execute(strict).await.expect("a setting");
        tx.execute(&*scene.sql("SELECT FROM {schema}.handled")).await.expect("a snapshot");
        assert!(scene.handle("mails", &message("1"), End::Commit).await);
        let late = scene.store.receive_in(&mut tx, &group("mails"), &message("1")).await;
        assert_eq!(late.expect_err("a refusal").kind(), StoreErrorKind::Busy);
        tx.rollback().await.expect("a rollback");
        assert!(!scene.handle("mails", &message("1"), End::Commit).await);
    })
    .await;
}

#[tokio::test]
async fn what_is_old_enough_is_forgotten_and_handled_once_more() {
    in_a_schema("forgets", async |scene| {
        assert!(scene.handle("mails", &message("old"), End::Commit).await);
        scene.clock.move_by(TimeDelta::minutes(31));
        assert!(scene.handle("mails", &message("young"), End::Commit).await);
        assert_eq!(scene.store.forget_received(HOUR).await.expect("an answer"), 0);
        scene.clock.move_by(TimeDelta::minutes(31));
        assert_eq!(scene.store.forget_received(HOUR).await.expect("an answer"), 1);
        assert!(scene.handle("mails", &message("old"), End::Commit).await);
        assert!(!scene.handle("mails", &message("young"), End::Commit).await);
    })
    .await;
}

/// More than one statement takes away; and an age that no clock reaches takes none.
#[tokio::test]
async fn many_are_forgotten_a_thousand_at_a_time() {
    in_a_schema("steps", async |scene| {
        const FILL: &str = "INSERT INTO {schema}.inbox \
             SELECT 'default', 'mails', sha256(n::text::bytea), '2000-01-01' \
             FROM generate_series(1, 2500) AS n";
        scene.run(FILL).await;
        assert_eq!(scene.store.forget_received(Duration::MAX).await.expect("an answer"), 0);
        assert_eq!(scene.store.forget_received(HOUR).await.expect("an answer"), 2_500);
        assert_eq!(scene.number("SELECT count(*) FROM {schema}.inbox").await, 0);
    })
    .await;
}
