//! Redis keeps the contract of every port that it implements.

mod raw;

use std::sync::Arc;

use async_trait::async_trait;
use es_core::SharedCache;
use es_redis_streams::{RedisOptions, RedisViews, cmd};
use es_testkit::{
    contract::{Broker, Harness, Opened, Place, ReadModels},
    servers::redis_url,
};

/// A prefix for each place.
struct Prefixes;

#[async_trait]
impl Harness<dyn SharedCache> for Prefixes {
    async fn open(&self, place: &Place) -> Opened<dyn SharedCache> {
        let options = RedisOptions::new(redis_url()).prefix(place.name());
        let options = options.within(std::time::Duration::from_secs(5));
        Opened::new(Arc::new(options.cache().expect("an address")))
    }

    async fn remove(&self, place: &Place) {
        forget(place.name()).await;
    }
}

#[async_trait]
impl Harness<ReadModels<RedisViews>> for Prefixes {
    async fn open(&self, place: &Place) -> Opened<ReadModels<RedisViews>> {
        let options = RedisOptions::new(redis_url()).prefix(place.name());
        let views = options.views().await.expect("a server that can be trusted");
        let models = ReadModels::new(views).breaking(|tx| {
            let key = tx.key("broken");
            tx.run(cmd("SET").arg(&key).arg("not a list").take());
            tx.run(cmd("RPUSH").arg(&key).arg("a").take());
        });
        Opened::new(Arc::new(models))
    }

    async fn remove(&self, place: &Place) {
        forget(place.name()).await;
    }
}

#[async_trait]
impl Harness<Broker> for Prefixes {
    async fn open(&self, place: &Place) -> Opened<Broker> {
        let options = RedisOptions::new(redis_url()).prefix(place.name());
        let broker = options.broker().await.expect("a server that can be trusted");
        Opened::new(Arc::new(Broker::new(broker)))
    }

    async fn remove(&self, place: &Place) {
        forget(place.name()).await;
    }
}

async fn forget(prefix: &str) {
    let mut connection = raw::connect(redis_url()).await;
    let mut all = redis::cmd("KEYS");
    let all: Vec<Vec<u8>> =
        all.arg(format!("{{{prefix}}}*")).query_async(&mut connection).await.expect("keys");
    if !all.is_empty() {
        let gone = redis::cmd("DEL").arg(all).query_async::<u64>(&mut connection).await;
        gone.expect("keys that can be deleted");
    }
}

es_testkit::shared_cache_contract!("es-redis-streams", Prefixes);
es_testkit::views_contract!("es-redis-streams", Prefixes);
es_testkit::broker_contract!("es-redis-streams", Prefixes);
