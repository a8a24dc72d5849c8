use std::sync::Arc;

use es_core::World;
use foldhash::quality::FixedState;
use moka::sync::Cache;

use super::entry::{Entry, Key};

type Weigh<T> = Arc<dyn Fn(&T) -> u32 + Send + Sync>;

/// The answers that this process remembers: those that are asked for most often
/// and most lately, as many as weigh no more than allowed. How long they are good
/// is told by the clock of the world, not by the machine's.
pub(super) struct Local<T: Send + Sync + 'static> {
    entries: Cache<Key, Arc<Entry<T>>, FixedState>,
}

impl<T: Send + Sync + 'static> Local<T> {
    pub(super) fn new(max_weight: u64, weigh: Weigh<T>, world: &World) -> Self {
        let weigh = move |_: &Key, entry: &Arc<Entry<T>>| weigh(&entry.answer);
        let hasher = FixedState::with_seed(world.random_u64());
        let entries = Cache::builder().max_capacity(max_weight).weigher(weigh);
        Self { entries: entries.build_with_hasher(hasher) }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry<T>>> {
        self.entries.get(key)
    }

    pub(super) fn insert(&self, key: &Key, entry: Arc<Entry<T>>) {
        self.entries.insert(key.clone(), entry);
        // What is too much goes now, and not when the machine's clock says so.
        self.entries.run_pending_tasks();
    }
}
