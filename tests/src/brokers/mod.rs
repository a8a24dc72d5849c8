//! Bells that are rung over a broker, and programs that hear them until they are killed.

mod hasty;
mod inbox;
mod rung;

pub use hasty::Hasty;
pub use inbox::{Entry, Inbox};
pub use rung::{Rung, batch_of, ears};

use std::time::Duration;

use cqrs::{ModelSettings, Projector, Relay, StartAt};
use es_bus::{Broker, EventBus};
use es_core::{EventStore, Publisher, StoreError, Views};
use es_nats::{NatsBroker, NatsOptions};
use es_rabbitmq::RabbitOptions;
use es_redis_streams::{RedisBroker, RedisOptions};
use es_testkit::mutants::{BrokerBug, MutantBroker};

/// So short that what a dead program had is given to others soon.
pub const LEASE: Duration = Duration::from_millis(400);
/// The name of the relay.
pub const RELAY: &str = "bells-told";
/// Most events that a relay has published when its checkpoint moves.
pub const IN_FLIGHT: usize = 64;

/// A bus over the broker at this address, with a bug if one is wanted.
///
/// # Errors
///
/// [`StoreError`] if the broker cannot be reached.
pub async fn bus(url: &str, bug: Option<BrokerBug>) -> Result<EventBus, StoreError> {
    if url.starts_with("redis:") {
        Ok(over(redis(url).await?, bug))
    } else if url.starts_with("amqp:") {
        Ok(over(RabbitOptions::new(url).partitions(4).connect().await?, bug))
    } else {
        Ok(over(nats(url).await?, bug))
    }
}

fn over(broker: impl Broker + Clone, bug: Option<BrokerBug>) -> EventBus {
    match bug {
        None => EventBus::new(broker),
        bug => EventBus::new(MutantBroker::new(bug, broker)),
    }
}

/// The broker in this Redis.
///
/// # Errors
///
/// [`StoreError`] if it cannot be reached.
pub async fn redis(url: &str) -> Result<RedisBroker, StoreError> {
    RedisOptions::new(url).lease(LEASE).broker().await
}

async fn nats(url: &str) -> Result<NatsBroker, StoreError> {
    NatsOptions::new(url).lease(LEASE).connect().await
}

/// What tells of every bell that is rung in this log.
pub fn relay<V: Views>(
    store: impl EventStore,
    views: V,
    publisher: impl Publisher,
) -> Projector<V> {
    let relay = Relay::new(RELAY, publisher).of::<Rung>();
    let projector = Projector::new(store, views).lease(LEASE).batches(IN_FLIGHT, Duration::ZERO);
    projector.relay_with(relay, StartAt::Beginning, ModelSettings::new().parts(4))
}
