//! A store with the tables of the journals, a folder for the effects, and programs.

use std::{fs::OpenOptions, path::Path, process::Stdio, sync::Arc, time::Duration};

use cqrs::{ProjectionError, Projector};
use es_core::{EventStore, EventStoreExt, Name, StoreErrorKind, Views, World};
use es_postgres::PostgresStore;
use es_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use es_testkit::servers::{PrivatePostgres, ServerError};
use tests::models::{Journal, MODELS, Mailer, batch_of, mailbox, projector, retry_all};
use tokio::process::Command;

const WORKER: &str = env!("CARGO_BIN_EXE_model_worker");
/// How long the last worker may take.
const LONG: Duration = Duration::from_secs(240);
/// How often it is given what is parked.
const RETRIES: u32 = 20;
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// The lines of a journal: stream and number.
pub(crate) type Lines = Vec<(String, u64)>;

pub(crate) struct Place<S> {
    pub(crate) store: S,
    folder: tempfile::TempDir,
    address: String,
    /// The lines of a table, in their order.
    lines: Box<dyn Fn(&str) -> Lines + Send + Sync>,
    lock: Box<dyn Fn() -> Lock + Send + Sync>,
}

/// What somebody who stands still keeps others from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// From nothing.
    None,
    /// From writing, until he goes on.
    File,
    /// From his part, until the server ends his transaction.
    Part,
}

pub(crate) async fn sqlite() -> Place<SqliteStore> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let options = SqliteOptions::new(&path).synchronous(Synchronous::Normal);
    let store = options.open().await.unwrap();
    let open = {
        let path = path.clone();
        move || rusqlite::Connection::open(&path).unwrap()
    };
    for table in ["ledger", "lines"] {
        let columns = "id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT, number INTEGER";
        open().execute_batch(&format!("CREATE TABLE {table} ({columns})")).unwrap();
    }
    let locks = open.clone();
    let lines = move |table: &str| {
        let connection = open();
        let sql = format!("SELECT stream, number FROM {table} ORDER BY id");
        let mut select = connection.prepare(&sql).unwrap();
        let line = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?));
        let lines = select.query_map([], line).unwrap().map(Result::unwrap);
        lines.map(|(stream, number)| (stream, number.cast_unsigned())).collect()
    };
    let lock = move || {
        let connection = locks();
        connection.busy_timeout(Duration::from_millis(50)).unwrap();
        match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
            Ok(()) => Lock::None,
            Err(_) => Lock::File,
        }
    };
    Place {
        store,
        folder,
        address: path.display().to_string(),
        lines: Box::new(lines),
        lock: Box::new(lock),
    }
}

/// On a server of its own; where there can be none, that is said.
pub(crate) async fn postgres() -> Option<Place<PostgresStore>> {
    let server = match PrivatePostgres::start() {
        Err(missing @ ServerError::Missing) => {
            tests::not_run(&format!("read models on Postgres: {missing}"));
            return None;
        }
        started => Arc::new(started.unwrap()),
    };
    let locks = Arc::clone(&server);
    let address = server.url();
    let store = PostgresStore::open(&address).await.unwrap();
    for table in ["ledger", "lines"] {
        let columns = "id BIGSERIAL, stream TEXT, number BIGINT";
        server.psql(&format!("CREATE TABLE {table} ({columns})")).unwrap();
    }
    let lines = move |table: &str| {
        let sql = format!("SELECT stream || ' ' || number FROM {table} ORDER BY id");
        let text = server.psql(&sql).unwrap();
        let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
        lines.map(|(stream, number)| (stream.to_owned(), number.parse().unwrap())).collect()
    };
    let folder = tempfile::tempdir().unwrap();
    let lock = move || {
        // Shorter than a lease; what goes on is not idle for so long.
        const STILL: &str = "SELECT count(*) FROM pg_sleep(0.25), pg_stat_activity \
             WHERE state LIKE 'idle in transaction%' \
             AND clock_timestamp() - state_change > interval '0.2 s'";
        if locks.psql(STILL).unwrap().trim() == "0" { Lock::None } else { Lock::Part }
    };
    Some(Place { store, folder, address, lines: Box::new(lines), lock: Box::new(lock) })
}

impl<S: EventStore + Views<Tx: Journal>> Place<S> {
    /// The program, which tells of failures in a file of this place.
    pub(crate) fn program(&self, what: &[&str]) -> Command {
        let told = self.folder.path().join("told");
        let told = OpenOptions::new().create(true).append(true).open(told).unwrap();
        let mut command = Command::new(WORKER);
        command.arg(&self.address).arg(self.folder.path()).args(what);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(told).kill_on_drop(true);
        command
    }

    /// The failures that the programs have told of, and no panic that the test wants.
    pub(crate) fn told(&self) -> String {
        let told = std::fs::read_to_string(self.folder.path().join("told")).unwrap_or_default();
        told.lines().filter(|line| line.starts_with("failed: ")).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn mailbox(&self) -> std::path::PathBuf {
        mailbox(Path::new(self.folder.path()))
    }

    pub(crate) fn lines(&self, table: &str) -> Lines {
        (self.lines)(table)
    }

    pub(crate) fn lock(&self) -> Lock {
        (self.lock)()
    }

    pub(crate) async fn append(&self, number: u64) {
        self.store.append(batch_of(number)).await.unwrap();
    }

    /// The models as this process keeps them, without a bug.
    pub(crate) fn projector(&self) -> Projector<S> {
        let mailer = Mailer::open(&self.mailbox()).unwrap();
        projector(self.store.clone(), self.store.clone(), mailer, &MODELS)
    }

    /// The last worker, which lives: it takes over what the dead have left and finishes
    /// their rebuilds; beside it, it is given what was parked.
    pub(crate) async fn settle(&self) -> Result<(), String> {
        let projector = self.projector();
        let projecting = projector.start_worker();
        let settled = async {
            self.follow(&projector).await?;
            for _ in 0..RETRIES {
                match retry_all(&projector).await {
                    Err(error) if !is_between(&error) => return Err(error.to_string()),
                    _ if self.parked(&projector).await == 0 => return Ok(()),
                    _ => {}
                }
            }
            Err(format!("{} events are parked", self.parked(&projector).await))
        };
        let settled = tokio::time::timeout(LONG, settled).await;
        let stopped = projecting.stop().await.map_err(|error| error.to_string());
        match settled {
            Ok(settled) => settled.and(stopped),
            Err(_) => Err(format!("it takes too long: {:#?}", projector.status().await)),
        }
    }

    /// Waits until everything shows the whole log, and no rebuild is under way.
    async fn follow(&self, projector: &Projector<S>) -> Result<(), String> {
        while self.builds_of_views().await > 2 {
            World::real().sleep(LOOK).await;
        }
        let head = self.store.head().await.unwrap();
        let waited = projector.wait_for(head, &MODELS, LONG).await;
        waited.map(drop).map_err(|error| error.to_string())
    }

    async fn builds_of_views(&self) -> usize {
        let views = ["by-row", "by-stream"].map(Name::from_static);
        self.store.builds(&views).await.unwrap().len()
    }

    pub(crate) async fn parked(&self, projector: &Projector<S>) -> usize {
        let mut all = 0;
        for model in MODELS {
            all += projector.parked(model).await.unwrap().len();
        }
        all
    }
}

/// Whether somebody has taken a part meanwhile, as may happen under a lease so short.
fn is_between(error: &ProjectionError) -> bool {
    let kinds = [StoreErrorKind::Fenced, StoreErrorKind::Busy];
    matches!(error, ProjectionError::Store(error) if kinds.contains(&error.kind()))
}
