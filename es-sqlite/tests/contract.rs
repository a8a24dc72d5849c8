//! SQLite keeps the contract of every port that it implements.

use std::sync::Arc;

use async_trait::async_trait;
use es_core::{Checkpoints, EventStore, Snapshots, Timers};
use es_sqlite::{SqliteOptions, SqliteStore};
use es_testkit::contract::{
    Harness, InlineModels, Movable, Opened, Place, ReadModels, Retaining, Tallies,
};
use futures_util::FutureExt;
use tempfile::TempDir;

/// A folder for each test; each place is a file in it.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for a test") }
    }

    fn options(&self, place: &Place) -> SqliteOptions {
        SqliteOptions::new(self.folder.path().join(place.name())).world(place.world().clone())
    }

    async fn store(&self, place: &Place) -> SqliteStore {
        self.options(place).open().await.expect("a file that can be opened")
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

opens!(dyn EventStore, dyn Movable, dyn Checkpoints, dyn Snapshots, dyn Timers);

#[async_trait]
impl Harness<Retaining> for Files {
    async fn open(&self, place: &Place) -> Opened<Retaining> {
        let store = self.store(place).await;
        let retaining = Retaining::new(store.clone()).snapshots(store.clone());
        Opened::new(Arc::new(retaining)).closing(async move { store.close().await })
    }
}

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

#[async_trait]
impl Harness<InlineModels<SqliteStore>> for Files {
    async fn open(&self, place: &Place) -> Opened<InlineModels<SqliteStore>> {
        let (options, tallies) = (self.options(place), Tallies::default());
        let open = options.clone().inline(tallies.clone()).open();
        let store = open.await.expect("a file that can be opened");
        let closing = store.clone();
        let models = InlineModels::new(store.clone(), store, tallies).another(move |tallies| {
            let options = match tallies {
                Some(tallies) => options.clone().inline(tallies),
                None => options.clone(),
            };
            let open = async { options.open().await.expect("a file that can be opened") };
            open.map(|store| Arc::new(store) as Arc<dyn EventStore>).boxed()
        });
        Opened::new(Arc::new(models)).closing(async move { closing.close().await })
    }
}

es_testkit::event_store_contract!("es-sqlite", Files::new());
es_testkit::retention_contract!("es-sqlite", Files::new());
es_testkit::moving_contract!("es-sqlite", Files::new());
es_testkit::checkpoints_contract!("es-sqlite", Files::new());
es_testkit::snapshots_contract!("es-sqlite", Files::new());
es_testkit::timers_contract!("es-sqlite", Files::new());
es_testkit::views_contract!("es-sqlite", Files::new());
es_testkit::inline_contract!("es-sqlite", Files::new());
