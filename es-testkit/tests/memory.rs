//! Every port in memory keeps its contract.

use std::sync::Arc;

use async_trait::async_trait;
use es_core::{
    Checkpoints, EventStore, Snapshots, Timers,
    memory::{
        MemoryBroker, MemoryCheckpoints, MemorySnapshots, MemoryStore, MemoryTimers, MemoryViews,
    },
};
use es_testkit::contract::{Broker, Harness, Opened, Place, ReadModels};

struct InMemory;

#[async_trait]
impl Harness<dyn EventStore> for InMemory {
    async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
        Opened::new(Arc::new(MemoryStore::in_world(place.world().clone())))
    }
}

#[async_trait]
impl Harness<dyn Checkpoints> for InMemory {
    async fn open(&self, _: &Place) -> Opened<dyn Checkpoints> {
        Opened::new(Arc::new(MemoryCheckpoints::new()))
    }
}

#[async_trait]
impl Harness<dyn Snapshots> for InMemory {
    async fn open(&self, _: &Place) -> Opened<dyn Snapshots> {
        Opened::new(Arc::new(MemorySnapshots::new()))
    }
}

#[async_trait]
impl Harness<dyn Timers> for InMemory {
    async fn open(&self, _: &Place) -> Opened<dyn Timers> {
        Opened::new(Arc::new(MemoryTimers::new()))
    }
}

#[async_trait]
impl Harness<ReadModels<MemoryViews>> for InMemory {
    async fn open(&self, _: &Place) -> Opened<ReadModels<MemoryViews>> {
        Opened::new(Arc::new(ReadModels::new(MemoryViews::new())))
    }
}

#[async_trait]
impl Harness<Broker> for InMemory {
    async fn open(&self, place: &Place) -> Opened<Broker> {
        let broker = MemoryBroker::in_world(place.world().clone());
        Opened::new(Arc::new(Broker::new(broker)))
    }
}

es_testkit::event_store_contract!("in memory", InMemory);
es_testkit::checkpoints_contract!("in memory", InMemory);
es_testkit::snapshots_contract!("in memory", InMemory);
es_testkit::timers_contract!("in memory", InMemory);
es_testkit::views_contract!("in memory", InMemory);
es_testkit::broker_contract!("in memory", InMemory);
