//! Opens the stores, and checks that SQLite is set as was asked.

use std::future::Future;
use std::sync::Arc;

use anyhow::{Result, ensure};
use eventcore::{Event, StreamPosition};
use eventcore_memory::{InMemoryCheckpointStore, InMemoryEventStore, InMemoryProjectorCoordinator};
use eventcore_postgres::PostgresEventStore;
use eventcore_sqlite::SqliteEventStore;
use eventcore_sqlite::rusqlite::Connection;
use eventcore_types::{
    CheckpointStore, EventFilter, EventPage, EventReader, EventStore, ProjectorCoordinator,
};
use sqlx::PgPool;

use crate::args::{Options, remove_database};

/// All that the workloads ask of a store.
pub trait Backend:
    EventStore
    + EventReader<Error: std::fmt::Display>
    + CheckpointStore
    + ProjectorCoordinator
    + Send
    + Sync
    + 'static
{
}

impl Backend for SqliteEventStore {}
impl Backend for InMemoryEventStore {}
impl Backend for PostgresEventStore {}

pub fn open_memory() -> Arc<InMemoryEventStore> {
    Arc::new(InMemoryEventStore::new())
}

/// `SqliteEventStore::new` sets no `synchronous`, so the connection is made
/// here and given to the library, which takes it as it is.
pub async fn open_sqlite(options: &Options) -> Result<Arc<SqliteEventStore>> {
    remove_database(&options.path)?;
    let connection = Connection::open(&options.path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", options.durability.pragma_value())?;
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    ensure!(mode == "wal", "journal_mode is {mode}");
    ensure!(synchronous == options.durability.pragma_value(), "synchronous is {synchronous}");
    let store = SqliteEventStore::from_connection(connection);
    store.migrate().await?;
    Ok(Arc::new(store))
}

pub async fn open_postgres(pool: &PgPool) -> Arc<PostgresEventStore> {
    let store = PostgresEventStore::from_pool(pool.clone());
    store.migrate().await;
    Arc::new(store)
}

/// Events from a store, with checkpoints and leadership held in memory like
/// the read model that they belong to.
pub struct MemoryCheckpoints<S> {
    events: Arc<S>,
    checkpoints: InMemoryCheckpointStore,
    coordinator: InMemoryProjectorCoordinator,
}

impl<S> MemoryCheckpoints<S> {
    pub fn new(events: Arc<S>) -> Self {
        Self {
            events,
            checkpoints: InMemoryCheckpointStore::new(),
            coordinator: InMemoryProjectorCoordinator::new(),
        }
    }
}

impl<S: Backend> EventReader for MemoryCheckpoints<S> {
    type Error = <S as EventReader>::Error;

    fn read_events<E: Event>(
        &self,
        filter: EventFilter,
        page: EventPage,
    ) -> impl Future<Output = Result<Vec<(E, StreamPosition)>, Self::Error>> + Send {
        self.events.read_events(filter, page)
    }
}

impl<S: Backend> CheckpointStore for MemoryCheckpoints<S> {
    type Error = <InMemoryCheckpointStore as CheckpointStore>::Error;

    async fn load(&self, name: &str) -> Result<Option<StreamPosition>, Self::Error> {
        self.checkpoints.load(name).await
    }

    async fn save(&self, name: &str, position: StreamPosition) -> Result<(), Self::Error> {
        self.checkpoints.save(name, position).await
    }
}

impl<S: Backend> ProjectorCoordinator for MemoryCheckpoints<S> {
    type Error = <InMemoryProjectorCoordinator as ProjectorCoordinator>::Error;
    type Guard = <InMemoryProjectorCoordinator as ProjectorCoordinator>::Guard;

    async fn try_acquire(&self, subscription_name: &str) -> Result<Self::Guard, Self::Error> {
        self.coordinator.try_acquire(subscription_name).await
    }
}
