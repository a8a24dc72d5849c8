//! NATS keeps the contract of every port that it implements.

use std::time::Duration;

use async_trait::async_trait;
use es_nats::NatsOptions;
use es_testkit::{
    contract::{Broker, Harness, Opened, Place},
    servers::nats_url,
};

/// A prefix for each place.
struct Prefixes;

#[async_trait]
impl Harness<Broker> for Prefixes {
    async fn open(&self, place: &Place) -> Opened<Broker> {
        let options = NatsOptions::new(nats_url()).prefix(place.name());
        let options = options.lease(Duration::from_secs(2)).world(place.world().clone());
        Opened::new(std::sync::Arc::new(Broker::new(options.connect().await.expect("a server"))))
    }

    async fn remove(&self, place: &Place) {
        let client = async_nats::connect(nats_url()).await.expect("a server");
        let context = async_nats::jetstream::new(client);
        for stream in [place.name().to_owned(), format!("{}_state", place.name())] {
            context.delete_stream(stream).await.expect("a stream that can be deleted");
        }
    }
}

es_testkit::broker_contract!("es-nats", Prefixes);
