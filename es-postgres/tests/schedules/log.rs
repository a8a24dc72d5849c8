//! A log in a schema of its own, and sessions that hold appends.

use std::{panic::AssertUnwindSafe, time::Duration};

use es_core::{AppendError, Appended, Batch, EventStore, NewEvent, World};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{fake, servers::postgres_url};
use futures_util::FutureExt;
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, Postgres, Row,
    postgres::{PgConnectOptions, PgRow},
};
use tokio::sync::{Mutex, oneshot};

use crate::inlined::Seen;

/// Long enough for any machine; nothing is expected to take so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The class of the advisory locks at which sessions are made to wait.
const GATES: i32 = 17;

pub(crate) struct Log {
    schema: String,
    url: String,
    pub(crate) store: PostgresStore,
    /// What a test sees through.
    eye: Mutex<PgConnection>,
}

/// Runs a test on an empty log, which is gone afterwards.
pub(crate) async fn on_a_log(name: &str, test: impl AsyncFnOnce(&Log)) {
    let log = Log::open(name).await;
    let outcome = AssertUnwindSafe(test(&log)).catch_unwind().await;
    log.remove().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Log {
    async fn open(name: &str) -> Self {
        let mut schema = format!("gesta_schedules_{name}_{}", std::process::id());
        let url = postgres_url();
        let store = loop {
            match options(&url, &schema).open().await {
                // One name in 32,768 has the locks of a schema that is there.
                Err(error) if error.to_string().contains("happen to use the same locks") => {
                    schema.push('x');
                }
                opened => break opened.expect("a server with a database"),
            }
        };
        let eye = Mutex::new(session(&url, &schema).await);
        Self { schema, url, store, eye }
    }

    /// Ends all sessions, as a test that failed may have left some that wait.
    async fn remove(&self) {
        self.store.close().await;
        let mut session = PgConnection::connect(&self.url).await.expect("a server");
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE application_name = $1";
        let ended = sqlx::query(end).bind(&self.schema).execute(&mut session).await;
        ended.expect("sessions that can be ended");
        run(&mut session, &self.sql("DROP SCHEMA {schema} CASCADE")).await;
    }

    /// What another process would open.
    pub(crate) async fn another_store(&self) -> PostgresStore {
        options(&self.url, &self.schema).open().await.expect("the same log again")
    }

    /// A store whose appends do not wait long for a row.
    pub(crate) async fn hasty_store(&self) -> PostgresStore {
        hasty(&self.url, &self.schema).open().await.expect("the same log again")
    }

    /// A store that folds this model.
    pub(crate) async fn inline(&self, model: Seen) -> PostgresStore {
        let options = options(&self.url, &self.schema).inline(model);
        options.open().await.expect("the same log again")
    }

    /// The same, and its appends do not wait long for a row.
    pub(crate) async fn hasty_inline(&self, model: Seen) -> PostgresStore {
        let options = hasty(&self.url, &self.schema).inline(model);
        options.open().await.expect("the same log again")
    }

    /// Another store, which does not wait long for the server.
    pub(crate) async fn impatient_store(&self, patience: Duration) -> PostgresStore {
        let options = options(&self.url, &self.schema).patience(patience);
        options.open().await.expect("the same log again")
    }

    /// A store for which the server answers to this function, though it has a
    /// better one of that name.
    pub(crate) async fn broken(&self, function: &str) -> PostgresStore {
        let create = format!("CREATE FUNCTION {{schema}}.{function} LANGUAGE sql AS 'SELECT'");
        run(&mut self.session().await, &self.sql(&create)).await;
        let path = format!("{}%2Cpg_catalog", self.schema);
        self.with_setting("search_path", &path).await
    }

    /// A store whose sessions have this setting.
    pub(crate) async fn with_setting(&self, name: &str, value: &str) -> PostgresStore {
        let join = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{join}options=-c%20{name}%3D{value}", self.url);
        options(&url, &self.schema).open().await.expect("the same log again")
    }

    pub(crate) fn sql(&self, statement: &str) -> String {
        statement.replace("{schema}", &self.schema)
    }

    pub(crate) async fn session(&self) -> PgConnection {
        session(&self.url, &self.schema).await
    }

    pub(crate) async fn append(&self, stream: &str) -> Appended {
        self.store.append(to(stream)).await.expect("an append")
    }

    /// An append in a transaction that stays open.
    pub(crate) async fn hold(&self, batch: Batch) -> Held {
        let mut session = self.session().await;
        run(&mut session, "BEGIN").await;
        let appended = self.store.append_in(&mut session, batch).await.expect("an append");
        let pid = pid(&mut session).await;
        Held { session, appended, pid }
    }

    /// The number that the locks of this store bear, as an append shows.
    pub(crate) async fn number(&self) -> i32 {
        let mut held = self.hold(to("number-1")).await;
        let sql = "SELECT classid::bigint::int FROM pg_locks \
             WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid = 2 LIMIT 1";
        let number = numbers(&mut held.session, sql).await[0];
        held.roll_back().await;
        i32::try_from(number).expect("sixteen bits")
    }

    /// The positions that are committed, in their order.
    pub(crate) async fn positions(&self) -> Vec<i64> {
        let sql = self.sql("SELECT position FROM {schema}.events ORDER BY position");
        numbers(&mut *self.eye.lock().await, &sql).await
    }

    /// Waits until a statement that answers a boolean says so.
    pub(crate) async fn until(&self, what: &str, sql: &str) {
        let mut eye = self.eye.lock().await;
        let asking = async {
            loop {
                let row = sqlx::query(sql).fetch_one(&mut *eye).await;
                if row.and_then(|row| row.try_get::<bool, _>(0)).expect("a boolean") {
                    return;
                }
            }
        };
        in_time(what, asking).await;
    }

    /// Waits until so many sessions of the test wait.
    pub(crate) async fn until_waiting(&self, sessions: usize) {
        let sql = format!(
            "SELECT count(*) = {sessions} FROM pg_stat_activity \
             WHERE application_name = '{}' AND wait_event_type = 'Lock'",
            self.schema
        );
        self.until("sessions to wait", &sql).await;
    }

    pub(crate) async fn until_blocked_by(&self, pid: i32) {
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity \
             WHERE wait_event_type = 'Lock' AND {pid} = ANY (pg_blocking_pids(pid)))"
        );
        self.until("a session to wait for another", &sql).await;
    }
}

fn options(url: &str, schema: &str) -> PostgresOptions {
    hasty(url, schema).busy_timeout(PATIENCE)
}

/// With the time that an append waits if nothing is said: a test that is slow may see it.
fn hasty(url: &str, schema: &str) -> PostgresOptions {
    let join = if url.contains('?') { '&' } else { '?' };
    PostgresOptions::new(format!("{url}{join}application_name={schema}")).schema(schema)
}

async fn session(url: &str, name: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("the address of a server");
    let options = options.application_name(name).disable_statement_logging();
    options.connect().await.expect("a server")
}

/// A place where sessions wait until it is opened.
pub(crate) struct Gate {
    number: i32,
    keeper: PgConnection,
    pid: i32,
}

impl Gate {
    /// SQL that passes through the gate of this number.
    pub(crate) fn passage(number: i32) -> String {
        let key = Self::key(number);
        format!("pg_advisory_lock_shared({key}), pg_advisory_unlock_shared({key})")
    }

    pub(crate) async fn shut(log: &Log, number: i32) -> Self {
        let mut keeper = log.session().await;
        let pid = pid(&mut keeper).await;
        let mut gate = Self { number, keeper, pid };
        gate.close().await;
        gate
    }

    pub(crate) async fn close(&mut self) {
        let key = Self::key(self.number);
        run(&mut self.keeper, &format!("SELECT pg_advisory_lock({key})")).await;
    }

    pub(crate) async fn open(&mut self) {
        let key = Self::key(self.number);
        run(&mut self.keeper, &format!("SELECT pg_advisory_unlock({key})")).await;
    }

    pub(crate) async fn until_somebody_waits(&self, log: &Log) {
        log.until_blocked_by(self.pid).await;
    }

    fn key(number: i32) -> String {
        let process = std::process::id();
        format!("{GATES}, {}", process.wrapping_mul(8) % 0x1000_0000 + number.unsigned_abs())
    }
}

/// An append whose transaction has not ended.
pub(crate) struct Held {
    pub(crate) session: PgConnection,
    pub(crate) appended: Appended,
    pub(crate) pid: i32,
}

impl Held {
    pub(crate) async fn commit(mut self) {
        run(&mut self.session, "COMMIT").await;
    }

    pub(crate) async fn roll_back(mut self) {
        run(&mut self.session, "ROLLBACK").await;
    }
}

/// One event of the type `thing.happened` for this stream.
pub(crate) fn to(stream: &str) -> Batch {
    Batch::to(fake::stream(stream)).event(thing())
}

pub(crate) fn thing() -> NewEvent {
    fake::event("thing.happened").build()
}

/// Who appends to this new stream waits for its row until this is rolled back.
pub(crate) fn taken_row(stream: &str) -> String {
    format!(
        "BEGIN; INSERT INTO {{schema}}.streams (tenant, stream, version, expected) \
         VALUES ('default', '{stream}', 0, 0)"
    )
}

/// Who has drawn a position for this version waits until this is rolled back.
pub(crate) fn taken_place(stream: &str, version: u64) -> String {
    format!(
        "BEGIN; INSERT INTO {{schema}}.events (position, tenant, stream, version, type, \
         schema_version, content_type, id, recorded_at, payload) VALUES (-1, 'default', \
         '{stream}', {version}, 'none', 1, 'none', gen_random_uuid(), now(), '')"
    )
}

pub(crate) async fn pid(session: &mut PgConnection) -> i32 {
    let found = numbers(session, "SELECT pg_backend_pid()").await;
    i32::try_from(found[0]).expect("a process id")
}

pub(crate) async fn run(session: &mut PgConnection, sql: &str) {
    let done = session.execute(sql).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

pub(crate) async fn numbers(session: &mut PgConnection, sql: &str) -> Vec<i64> {
    let sql = format!("SELECT one.number::bigint FROM ({sql}) AS one (number)");
    let rows = sqlx::query::<Postgres>(&sql).fetch_all(session).await;
    let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.iter().map(|row: &PgRow| row.try_get(0).expect("a number")).collect()
}

/// Fails a test that would hang.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

/// A task with an answer.
pub(crate) struct Begun<T>(oneshot::Receiver<T>);

pub(crate) fn begin<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Begun<T> {
    let (answer, answered) = oneshot::channel();
    World::real().detach(async move { drop(answer.send(future.await)) });
    Begun(answered)
}

impl<T> Begun<T> {
    pub(crate) async fn end(self) -> T {
        in_time("a task to end", self.at_last()).await
    }

    /// The answer, if there is one by now.
    pub(crate) fn try_end(mut self) -> Option<T> {
        self.0.try_recv().ok()
    }

    /// However long it takes.
    pub(crate) async fn at_last(self) -> T {
        self.0.await.expect("a task that did not panic")
    }
}

/// An append by itself, begun in a task.
pub(crate) fn begin_append(
    store: &PostgresStore,
    batch: Batch,
) -> Begun<Result<Appended, AppendError>> {
    let store = store.clone();
    begin(async move { store.append(batch).await })
}
