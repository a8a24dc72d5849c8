use es_core::{Random, World};
use parking_lot::Mutex;

use crate::TestClock;

/// Random numbers that are the same for the same seed, for ever: splitmix64.
///
/// Source: Steele, Lea, Flood, *Fast splittable pseudorandom number
/// generators*, 2014.
///
/// ```
/// use es_core::Random;
/// use es_testkit::SeededRandom;
///
/// let (one, other) = (SeededRandom::new(7), SeededRandom::new(7));
/// assert_eq!(one.next_u64(), other.next_u64());
/// assert!(one.below(10) < 10);
/// ```
#[derive(Debug)]
pub struct SeededRandom {
    state: Mutex<u64>,
}

impl SeededRandom {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(seed) }
    }

    /// A number below `bound`; zero if the bound is zero.
    pub fn below(&self, bound: usize) -> usize {
        let bound = bound.max(1) as u64;
        usize::try_from(self.next_u64() % bound).unwrap_or_default()
    }

    /// One of these.
    ///
    /// # Panics
    ///
    /// If there are none.
    pub fn one_of<'a, T>(&self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        let mut state = self.state.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A [`World`] in which a seed decides what is random, and a test what time it
/// is.
///
/// ```
/// use std::time::Duration;
/// use es_testkit::TestWorld;
///
/// let (one, other) = (TestWorld::new(7), TestWorld::new(7));
/// assert_eq!(one.world().event_id(), other.world().event_id());
/// one.clock().advance(Duration::from_secs(1));
/// assert!(one.world().now() > other.world().now());
/// ```
#[derive(Debug, Clone)]
pub struct TestWorld {
    clock: TestClock,
    world: World,
}

impl TestWorld {
    /// The world of this seed, at [`TestClock::START`].
    pub fn new(seed: u64) -> Self {
        let clock = TestClock::new();
        let random = SeededRandom::new(seed);
        let world = World::real().with_clock(clock.clone()).with_random(random);
        Self { clock, world }
    }

    /// Its clock.
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// The world, for whoever takes one.
    pub fn world(&self) -> &World {
        &self.world
    }
}
