//! A store, and programs on it.

use std::{fs::OpenOptions, process::Stdio};

use es_core::{EventStore, Timers};
use es_postgres::PostgresStore;
use es_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use es_testkit::servers::{PrivatePostgres, ServerError};
use tokio::process::Command;

const WORKER: &str = env!("CARGO_BIN_EXE_saga_worker");

pub(crate) struct Place<S> {
    pub(crate) store: S,
    folder: tempfile::TempDir,
    address: String,
    _server: Option<PrivatePostgres>,
}

pub(crate) async fn sqlite() -> Place<SqliteStore> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let store = SqliteOptions::new(&path).synchronous(Synchronous::Normal).open().await.unwrap();
    Place { store, folder, address: path.display().to_string(), _server: None }
}

/// On a server of its own; where there can be none, that is said.
pub(crate) async fn postgres() -> Option<Place<PostgresStore>> {
    let server = match PrivatePostgres::start() {
        Err(missing @ ServerError::Missing) => {
            tests::not_run(&format!("sagas on Postgres: {missing}"));
            return None;
        }
        started => started.unwrap(),
    };
    let (folder, address) = (tempfile::tempdir().unwrap(), server.url());
    let store = PostgresStore::open(&address).await.unwrap();
    Some(Place { store, folder, address, _server: Some(server) })
}

impl<S: EventStore + Timers + Clone> Place<S> {
    /// The program, which tells of failures in a file of this place.
    pub(crate) fn program(&self, what: &[&str]) -> Command {
        let told = OpenOptions::new().create(true).append(true).open(self.told_in()).unwrap();
        let mut command = Command::new(WORKER);
        command.arg(&self.address).args(what).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(told);
        command
    }

    fn told_in(&self) -> std::path::PathBuf {
        self.folder.path().join("told")
    }

    /// What the programs have told of, in vain.
    pub(crate) fn told(&self) -> String {
        std::fs::read_to_string(self.told_in()).unwrap_or_default()
    }
}
