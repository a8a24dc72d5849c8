//! Opens the stores, and checks that SQLite is set as was asked.

use std::future::Future;

use anyhow::{Result, ensure};
use cqrs_es::EventStore;
use cqrs_es::mem_store::MemStore;
use cqrs_es::persist::PersistedEventStore;
use postgres_es::PostgresEventRepository;
use sqlite_es::SqliteEventRepository;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};

use crate::args::{Durability, Options, remove_database};
use crate::catchup;
use crate::domain::Account;
use crate::measure::Report;

/// Connections that `default_sqlite_pool` of sqlite-es allows.
const CONNECTIONS: u32 = 10;

/// The tables of sqlite-es's own migration; it offers no call that makes them.
const SQLITE_SCHEMA: &str = "
CREATE TABLE events
(
  aggregate_type text                          NOT NULL,
  aggregate_id   text                          NOT NULL,
  sequence       integer CHECK (sequence >= 0) NOT NULL,
  event_type     text                          NOT NULL,
  event_version  text                          NOT NULL,
  payload        text                          NOT NULL,
  metadata       text                          NOT NULL,
  PRIMARY KEY (aggregate_type, aggregate_id, sequence)
) STRICT;
CREATE TABLE snapshots
(
  aggregate_type   text                                  NOT NULL,
  aggregate_id     text                                  NOT NULL,
  last_sequence    integer CHECK (last_sequence >= 0)    NOT NULL,
  current_snapshot integer CHECK (current_snapshot >= 0) NOT NULL,
  payload          text                                  NOT NULL,
  PRIMARY KEY (aggregate_type, aggregate_id, last_sequence)
) STRICT;";

/// The tables of postgres-es's own script; it offers no call that makes them.
const POSTGRES_SCHEMA: &str = "
CREATE TABLE events
(
    aggregate_type text                         NOT NULL,
    aggregate_id   text                         NOT NULL,
    sequence       bigint CHECK (sequence >= 0) NOT NULL,
    event_type     text                         NOT NULL,
    event_version  text                         NOT NULL,
    payload        json                         NOT NULL,
    metadata       json                         NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
);
CREATE TABLE snapshots
(
    aggregate_type   text                                 NOT NULL,
    aggregate_id     text                                 NOT NULL,
    last_sequence    bigint CHECK (last_sequence >= 0)    NOT NULL,
    current_snapshot bigint CHECK (current_snapshot >= 0) NOT NULL,
    payload          json                                 NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, last_sequence)
);";

/// What the workloads ask of a store.
pub trait Backend {
    type Store: EventStore<Account, AC: Send> + 'static;

    /// Another handle of the same store.
    fn store(&self) -> Self::Store;

    /// Replays events of many accounts into a read model, if it can.
    fn catch_up(&self, options: &Options) -> impl Future<Output = Result<Report>> + Send;

    /// Whether a commit is refused when another came between.
    fn checks_versions(&self) -> bool;

    fn setting(&self) -> String;
}

pub struct Sqlite {
    pool: SqlitePool,
    durability: Durability,
}

impl Sqlite {
    /// Opens a pool as `default_sqlite_pool` does, save for `synchronous`.
    pub async fn open(options: &Options) -> Result<Self> {
        remove_database(&options.path)?;
        let durability = options.durability;
        let connect = SqliteConnectOptions::new()
            .filename(&options.path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(match durability {
                Durability::Full => SqliteSynchronous::Full,
                Durability::Normal => SqliteSynchronous::Normal,
            })
            .foreign_keys(true);
        let pool =
            SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(connect).await?;
        let sqlite = Self { pool, durability };
        sqlite.check().await?;
        sqlx::raw_sql(SQLITE_SCHEMA).execute(&sqlite.pool).await?;
        Ok(sqlite)
    }

    /// Asks a connection of the pool for its settings.
    async fn check(&self) -> Result<()> {
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&self.pool).await?;
        let synchronous: i64 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&self.pool).await?;
        ensure!(mode == "wal", "journal_mode is {mode}");
        ensure!(synchronous == self.durability.pragma_value(), "synchronous is {synchronous}");
        Ok(())
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Backend for Sqlite {
    type Store = PersistedEventStore<SqliteEventRepository, Account>;

    fn store(&self) -> Self::Store {
        PersistedEventStore::new_event_store(SqliteEventRepository::new(self.pool.clone()))
    }

    async fn catch_up(&self, _: &Options) -> Result<Report> {
        let repository = SqliteEventRepository::new(self.pool.clone());
        catchup::into_map(repository, &self.setting()).await
    }

    fn checks_versions(&self) -> bool {
        true
    }

    fn setting(&self) -> String {
        let durability = self.durability.name();
        format!("synchronous={durability}; pool of {CONNECTIONS}, no snapshots")
    }
}

pub struct Postgres(PgPool);

impl Postgres {
    pub async fn new(pool: PgPool) -> Result<Self> {
        sqlx::raw_sql(POSTGRES_SCHEMA).execute(&pool).await?;
        Ok(Self(pool))
    }
}

impl Backend for Postgres {
    type Store = PersistedEventStore<PostgresEventRepository, Account>;

    fn store(&self) -> Self::Store {
        PersistedEventStore::new_event_store(PostgresEventRepository::new(self.0.clone()))
    }

    async fn catch_up(&self, options: &Options) -> Result<Report> {
        catchup::into_table(options, &self.0, &self.setting()).await
    }

    fn checks_versions(&self) -> bool {
        true
    }

    fn setting(&self) -> String {
        format!("pool of {}, no snapshots", self.0.size())
    }
}

#[derive(Default)]
pub struct Memory(MemStore<Account>);

impl Backend for Memory {
    type Store = MemStore<Account>;

    fn store(&self) -> Self::Store {
        self.0.clone()
    }

    async fn catch_up(&self, _: &Options) -> Result<Report> {
        let why = "QueryReplay reads a PersistedEventRepository, which mem_store is not";
        Ok(Report::Unsupported(why.to_owned()))
    }

    fn checks_versions(&self) -> bool {
        false
    }

    fn setting(&self) -> String {
        "mem_store checks no version, and prints a line a load and a commit \
         (to the null device here)"
            .to_owned()
    }
}
