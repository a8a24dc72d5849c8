use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{EventStore, memory::MemoryStore};

use super::{Bug, Mutant};
use crate::contract::{Harness, Opened, Outcome, Place, attempt, event_store_promises};

/// How long a promise may take on a mutant: one that misses an event would
/// follow for ever.
const PATIENCE: Duration = Duration::from_secs(2);

/// A promise that a bug breaks.
///
/// ```
/// use es_testkit::mutants::Catch;
///
/// let catch = Catch { promise: "appending::positions_increase_strictly".into(), how: "7, 7".into() };
/// assert!(catch.promise.contains("positions"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catch {
    /// The module and the name of the promise.
    pub promise: String,
    /// How it was broken.
    pub how: String,
}

struct Opens(Bug);

#[async_trait]
impl Harness<dyn EventStore> for Opens {
    async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
        let sound = MemoryStore::in_world(place.world().clone());
        Opened::new(Arc::new(Mutant::new(self.0, sound)))
    }
}

/// Runs the contract against a store with this bug, and returns the promises
/// that break and would not break without it, up to `enough` of them.
pub fn hunt(bug: Bug, enough: usize) -> Vec<Catch> {
    let broken = event_store_promises().iter().filter_map(|promise| {
        match attempt(Arc::new(Opens(bug)), promise, PATIENCE) {
            Outcome::Broken(how) if is_kept_without_it(promise) => {
                Some(Catch { promise: format!("{promise:?}"), how })
            }
            _ => None,
        }
    });
    broken.take(enough).collect()
}

struct Sound;

#[async_trait]
impl Harness<dyn EventStore> for Sound {
    async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
        Opened::new(Arc::new(MemoryStore::in_world(place.world().clone())))
    }
}

/// The control: a promise that breaks anyway proves nothing.
fn is_kept_without_it(promise: &crate::contract::Promise<dyn EventStore>) -> bool {
    !attempt(Arc::new(Sound), promise, crate::contract::PATIENCE).is_broken()
}
