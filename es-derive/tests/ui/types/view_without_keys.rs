use cqrs::{Event, Evolve, Projector};
use es_core::memory::{MemoryStore, MemoryViews};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "account.closed")]
struct Closed;

#[derive(Default, Serialize, Deserialize)]
struct Count(u64);

impl Evolve for Count {
    type Event = Closed;
    fn evolve(&mut self, _: &Closed) {
        self.0 += 1;
    }
}

fn main() {
    let _ = Projector::new(MemoryStore::new(), MemoryViews::new()).view::<Count>();
}
