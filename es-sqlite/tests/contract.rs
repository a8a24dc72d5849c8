//! SQLite keeps the contract of every port that it implements.

use std::sync::Arc;

use async_trait::async_trait;
use es_core::{Checkpoints, EventStore, Snapshots, Timers};
use es_sqlite::{SqliteOptions, SqliteStore};
use es_testkit::contract::{Harness, Opened, Place, ReadModels};
use tempfile::TempDir;

/// A folder for each test; each place is a file in it.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for a test") }
    }

    async fn store(&self, place: &Place) -> SqliteStore {
        SqliteOptions::new(self.folder.path().join(place.name()))
            .world(place.world().clone())
            .open()
            .await
            .expect("a file that can be opened")
    }
}

macro_rules! opens {
    ($($port:ty),*) => {
        $(#[async_trait]
        impl Harness<$port> for Files {
            async fn open(&self, place: &Place) -> Opened<$port> {
                let store = self.store(place).await;
                let port: Arc<$port> = Arc::new(store.clone());
                Opened::new(port).closing(async move { store.close().await })
            }
        })*
    };
}

opens!(dyn EventStore, dyn Checkpoints, dyn Snapshots, dyn Timers);

#[async_trait]
impl Harness<ReadModels<SqliteStore>> for Files {
    async fn open(&self, place: &Place) -> Opened<ReadModels<SqliteStore>> {
        let store = self.store(place).await;
        let closing = store.clone();
        let models = ReadModels::new(store)
            .breaking(|tx| tx.run(|connection| connection.execute_batch("no SQL at all")));
        Opened::new(Arc::new(models)).closing(async move { closing.close().await })
    }
}

es_testkit::event_store_contract!("es-sqlite", Files::new());
es_testkit::checkpoints_contract!("es-sqlite", Files::new());
es_testkit::snapshots_contract!("es-sqlite", Files::new());
es_testkit::timers_contract!("es-sqlite", Files::new());
es_testkit::views_contract!("es-sqlite", Files::new());
