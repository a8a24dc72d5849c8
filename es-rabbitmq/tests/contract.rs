//! RabbitMQ keeps the contract of every port that it implements, but for a history.

mod noting;

use std::sync::Arc;

use async_trait::async_trait;
use es_rabbitmq::RabbitOptions;
use es_testkit::{
    contract::{Broker, Harness, Need, Opened, Place},
    servers::rabbitmq_url,
};

use noting::{Noted, Noting};

/// A prefix for each place, and what is to be removed of it.
#[derive(Default)]
struct Prefixes(Noted);

#[async_trait]
impl Harness<Broker> for Prefixes {
    async fn open(&self, place: &Place) -> Opened<Broker> {
        let options = RabbitOptions::new(rabbitmq_url()).prefix(place.name()).partitions(4);
        let broker = options.world(place.world().clone()).connect().await.expect("a server");
        let noting = Noting::new(broker, &self.0);
        Opened::new(Arc::new(Broker::new(noting).without(Need::History)))
    }

    async fn remove(&self, place: &Place) {
        self.0.remove(&rabbitmq_url(), place.name(), 4).await;
    }
}

es_testkit::broker_contract!("es-rabbitmq", Prefixes::default());
