//! PostgreSQL keeps the contract of every port that it implements.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{Checkpoints, EventStore, SharedCache, Snapshots, Timers};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{
    contract::{Harness, InlineModels, Movable, Opened, Place, ReadModels, Retaining, Tallies},
    servers::postgres_url,
};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use sqlx::{ConnectOptions, Executor, postgres::PgConnectOptions};

/// A schema for each place.
struct Schemas {
    url: String,
    /// How each store is opened.
    set: fn(PostgresOptions) -> PostgresOptions,
    /// How often a place has got another name.
    renamed: Mutex<HashMap<String, u32>>,
}

impl Schemas {
    /// With `GESTA_POSTGRES_POOLED` the server stands behind a pooler, such as pgbouncer in
    /// transaction mode.
    fn new() -> Self {
        match std::env::var_os("GESTA_POSTGRES_POOLED") {
            Some(_) => Self::with(pooled),
            None => Self::with(|options| options),
        }
    }

    fn with(set: fn(PostgresOptions) -> PostgresOptions) -> Self {
        Self { url: postgres_url(), set, renamed: Mutex::default() }
    }

    fn schema(&self, place: &Place) -> String {
        match self.renamed.lock().get(place.name()) {
            Some(times) => format!("gesta test {} {times}", place.name()),
            None => format!("gesta test {}", place.name()),
        }
    }

    fn options(&self, place: &Place) -> PostgresOptions {
        let options = PostgresOptions::new(&self.url).schema(self.schema(place));
        (self.set)(options.world(place.world().clone()))
    }

    async fn store(&self, place: &Place) -> PostgresStore {
        self.opened(place, |options| options).await
    }

    /// One name in 32,768 has the locks of a schema that is there: then another one is taken.
    async fn opened(
        &self,
        place: &Place,
        set: impl Fn(PostgresOptions) -> PostgresOptions,
    ) -> PostgresStore {
        loop {
            match set(self.options(place)).open().await {
                Err(error) if error.to_string().contains("happen to use the same locks") => {
                    *self.renamed.lock().entry(place.name().to_owned()).or_default() += 1;
                }
                opened => return opened.expect("a server with a database"),
            }
        }
    }

    async fn drop(&self, place: &Place) {
        let to: PgConnectOptions = self.url.parse().expect("a URL");
        // Which a pooler refuses.
        let to = to.extra_float_digits(None);
        let mut connection = to.connect().await.expect("a server");
        let drop = format!("DROP SCHEMA IF EXISTS \"{}\" CASCADE", self.schema(place));
        connection.execute(drop.as_str()).await.expect("a schema that can be dropped");
    }
}

fn pooled(options: PostgresOptions) -> PostgresOptions {
    options.behind_pooler().poll(Duration::from_millis(5))
}

macro_rules! opens {
    ($($port:ty),*) => {
        $(#[async_trait]
        impl Harness<$port> for Schemas {
            async fn open(&self, place: &Place) -> Opened<$port> {
                let store = self.store(place).await;
                let port: Arc<$port> = Arc::new(store.clone());
                Opened::new(port).closing(async move { store.close().await })
            }

            async fn remove(&self, place: &Place) {
                self.drop(place).await;
            }
        })*
    };
}

opens!(dyn EventStore, dyn Movable, dyn Checkpoints, dyn Snapshots, dyn Timers);

#[async_trait]
impl Harness<dyn SharedCache> for Schemas {
    async fn open(&self, place: &Place) -> Opened<dyn SharedCache> {
        let store = self.store(place).await;
        let cache: Arc<dyn SharedCache> = Arc::new(store.cache().expect("every tenant"));
        Opened::new(cache).closing(async move { store.close().await })
    }

    async fn remove(&self, place: &Place) {
        self.drop(place).await;
    }
}

#[async_trait]
impl Harness<Retaining> for Schemas {
    async fn open(&self, place: &Place) -> Opened<Retaining> {
        let store = self.store(place).await;
        let retaining = Retaining::new(store.clone()).snapshots(store.clone());
        Opened::new(Arc::new(retaining)).closing(async move { store.close().await })
    }

    async fn remove(&self, place: &Place) {
        self.drop(place).await;
    }
}

#[async_trait]
impl Harness<ReadModels<PostgresStore>> for Schemas {
    async fn open(&self, place: &Place) -> Opened<ReadModels<PostgresStore>> {
        let store = self.store(place).await;
        let closing = store.clone();
        let models = ReadModels::new(store).breaking(|tx| tx.run(sqlx::query("no SQL at all")));
        Opened::new(Arc::new(models)).closing(async move { closing.close().await })
    }

    async fn remove(&self, place: &Place) {
        self.drop(place).await;
    }
}

#[async_trait]
impl Harness<InlineModels<PostgresStore>> for Schemas {
    async fn open(&self, place: &Place) -> Opened<InlineModels<PostgresStore>> {
        let tallies = Tallies::default();
        let store = self.opened(place, |options| options.inline(tallies.clone())).await;
        let options = self.options(place);
        let all = Arc::new(Mutex::new(vec![store.clone()]));
        let others = Arc::clone(&all);
        let another = move |tallies: Option<Tallies>| -> BoxFuture<'static, Arc<dyn EventStore>> {
            let (options, others) = (options.clone(), Arc::clone(&others));
            Box::pin(async move {
                let options = match tallies {
                    Some(tallies) => options.inline(tallies),
                    None => options,
                };
                let store = options.open().await.expect("a schema that is there");
                others.lock().push(store.clone());
                let store: Arc<dyn EventStore> = Arc::new(store);
                store
            })
        };
        let models = InlineModels::new(store.clone(), store, tallies).another(another);
        Opened::new(Arc::new(models)).closing(async move {
            let all = std::mem::take(&mut *all.lock());
            for store in all {
                store.close().await;
            }
        })
    }

    async fn remove(&self, place: &Place) {
        self.drop(place).await;
    }
}

es_testkit::event_store_contract!("es-postgres", Schemas::new());
es_testkit::retention_contract!("es-postgres", Schemas::new());
es_testkit::moving_contract!("es-postgres", Schemas::new());
es_testkit::checkpoints_contract!("es-postgres", Schemas::new());
es_testkit::snapshots_contract!("es-postgres", Schemas::new());
es_testkit::shared_cache_contract!("es-postgres", Schemas::new());
es_testkit::timers_contract!("es-postgres", Schemas::new());
es_testkit::views_contract!("es-postgres", Schemas::new());
es_testkit::inline_contract!("es-postgres", Schemas::new());

/// Nobody is told of anything there, and whoever listens looks for it.
mod behind_a_pooler {
    use super::*;

    fn schemas() -> Schemas {
        Schemas::with(pooled)
    }

    es_testkit::shared_cache_contract!("es-postgres behind a pooler", schemas());
}
