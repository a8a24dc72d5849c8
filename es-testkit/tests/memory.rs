//! Every port in memory keeps its contract.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{
    BuildChange, Builds, Checkpoints, EventStore, Name, Part, SharedCache, Slices, Snapshots,
    Taking, Timers, World,
    memory::{
        MemoryBroker, MemoryCheckpoints, MemorySharedCache, MemorySnapshots, MemoryStore,
        MemoryTimers, MemoryViews,
    },
};
use es_testkit::TestClock;
use es_testkit::contract::{
    Broker, Harness, InlineModels, Movable, Opened, Place, ReadModels, Retaining, Tallies,
};

struct InMemory;

#[async_trait]
impl Harness<dyn EventStore> for InMemory {
    async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
        Opened::new(Arc::new(MemoryStore::in_world(place.world().clone())))
    }
}

#[async_trait]
impl Harness<Retaining> for InMemory {
    async fn open(&self, place: &Place) -> Opened<Retaining> {
        let store = MemoryStore::in_world(place.world().clone());
        Opened::new(Arc::new(Retaining::new(store)))
    }
}

#[async_trait]
impl Harness<dyn Movable> for InMemory {
    async fn open(&self, place: &Place) -> Opened<dyn Movable> {
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
impl Harness<dyn SharedCache> for InMemory {
    async fn open(&self, place: &Place) -> Opened<dyn SharedCache> {
        Opened::new(Arc::new(MemorySharedCache::in_world(place.world().clone())))
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
    async fn open(&self, place: &Place) -> Opened<ReadModels<MemoryViews>> {
        let views = MemoryViews::in_world(place.world().clone());
        Opened::new(Arc::new(ReadModels::new(views)))
    }
}

#[async_trait]
impl Harness<InlineModels<MemoryViews>> for InMemory {
    async fn open(&self, place: &Place) -> Opened<InlineModels<MemoryViews>> {
        let views = MemoryViews::in_world(place.world().clone());
        let tallies = Tallies::default();
        let store = MemoryStore::in_world(place.world().clone()).inline(&views, tallies.clone());
        Opened::new(Arc::new(InlineModels::new(store, views, tallies)))
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
es_testkit::retention_contract!("in memory", InMemory);
es_testkit::moving_contract!("in memory", InMemory);
es_testkit::checkpoints_contract!("in memory", InMemory);
es_testkit::snapshots_contract!("in memory", InMemory);
es_testkit::inline_contract!("in memory", InMemory);
es_testkit::shared_cache_contract!("in memory", InMemory);
es_testkit::timers_contract!("in memory", InMemory);
es_testkit::views_contract!("in memory", InMemory);
es_testkit::broker_contract!("in memory", InMemory);

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

#[tokio::test]
async fn a_lease_in_memory_ends_by_the_clock_of_its_world() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let clock = TestClock::new();
    let views = MemoryViews::in_world(World::real().with_clock(clock.clone()));
    let part = Part::new(name("m"), 1, Slices::ALL);
    views.change(BuildChange::begin(part.model.clone(), 1)).await.expect("a build");
    let take = |owner| {
        let (views, part) = (views.clone(), part.clone());
        async move { views.take(&part, &name(owner), HOUR, Taking::IfFree).await }
    };
    let mine = take("one").await.expect("an answer").expect("a free part");
    clock.advance(HOUR - Duration::from_micros(1));
    assert_eq!(take("two").await.expect("an answer"), None);
    clock.advance(Duration::from_micros(1));
    assert_eq!(take("two").await.expect("an answer"), Some(mine.taken_over()));
}
