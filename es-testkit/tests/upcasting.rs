//! A store that lifts old events keeps the contract of the store in it.

use std::sync::Arc;

use async_trait::async_trait;
use es_core::{EventStore, Name, Upcasters, Upcasting, memory::MemoryStore};
use es_testkit::contract::{Harness, Opened, Place};

struct Lifted;

/// Rules of every kind but many to one, for events that nobody here writes.
fn upcasters() -> Upcasters {
    let old = |name| Name::from_static(name);
    Upcasters::new()
        .one_to_one(old("old.renamed"), 1, Ok)
        .one_to_many(old("old.split"), 1, [], |_| Ok(Vec::new()))
        .dropping(old("old.noise"))
}

#[async_trait]
impl Harness<dyn EventStore> for Lifted {
    async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
        let store = MemoryStore::in_world(place.world().clone());
        Opened::new(Arc::new(Upcasting::new(store, upcasters()).expect("rules without a circle")))
    }
}

es_testkit::event_store_contract!("upcasting, in memory", Lifted);
