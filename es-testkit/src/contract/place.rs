use std::{
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use es_core::World;

/// Where a store of one test lives: a name that no other test uses, and the
/// world from which the store takes its time.
///
/// The name has lower-case letters, digits and underscores, and at most 40
/// bytes: it fits a file, a schema, a prefix of keys or streams.
///
/// ```
/// use es_core::World;
/// use es_testkit::contract::Place;
///
/// let (one, other) = (Place::new(World::real()), Place::new(World::real()));
/// assert_ne!(one.name(), other.name());
/// assert!(one.name().len() <= 40);
/// ```
#[derive(Debug, Clone)]
pub struct Place {
    name: String,
    world: World,
}

impl Place {
    /// A place that was never used.
    pub fn new(world: World) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let chance = World::real().random_u64() % 0x1_0000_0000;
        Self { name: format!("kit_{}_{count}_{chance:08x}", process::id()), world }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a store at this place takes its time from.
    pub fn world(&self) -> &World {
        &self.world
    }
}
