//! What a store lacks it must refuse, and the contract sees to it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{
    Abilities, AppendError, Appended, Batch, Durability, EventStore, Pages, Read, Scope,
    StoreError, StoreErrorKind, memory::MemoryStore,
};
use es_testkit::contract::{
    Harness, Need, Opened, Outcome, Place, attempt, event_store_promises, tally,
};
use futures_util::{StreamExt, stream};

/// A store of single streams, without criteria and claims, as a log on a
/// simple database would be.
struct Modest {
    refuses: bool,
    sound: MemoryStore,
}

fn unsupported() -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported, "this store has single streams only")
}

#[async_trait]
impl EventStore for Modest {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        let several = batch.writes.iter().any(|one| one.stream != batch.writes[0].stream);
        let asks = several || !batch.unless.is_empty() || !batch.claims.is_empty();
        if self.refuses && asks && batch.check().is_ok() {
            return Err(unsupported().into());
        }
        self.sound.append(batch).await
    }

    fn read(&self, read: Read) -> Pages {
        if self.refuses && matches!(read.scope, Scope::Matching(_)) {
            return stream::once(async { Err(unsupported()) }).boxed();
        }
        self.sound.read(read)
    }

    fn follow(&self, read: Read) -> Pages {
        self.sound.follow(read)
    }

    fn abilities(&self) -> Abilities {
        let mut abilities = Abilities::all(Durability::Memory);
        (abilities.many_streams, abilities.criteria) = (false, false);
        (abilities.claims, abilities.reopens) = (false, false);
        abilities
    }
}

struct Opens {
    refuses: bool,
}

#[async_trait]
impl Harness<dyn EventStore> for Opens {
    async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
        let sound = MemoryStore::in_world(place.world().clone());
        Opened::new(Arc::new(Modest { refuses: self.refuses, sound }))
    }
}

/// What becomes of the promises that need something.
fn outcomes(refuses: bool) -> Vec<Outcome> {
    let promises = event_store_promises().iter().filter(|one| !one.needs.is_empty());
    let patience = Duration::from_secs(30);
    promises.map(|one| attempt(Arc::new(Opens { refuses }), one, patience)).collect()
}

#[test]
fn a_store_that_refuses_what_it_lacks_keeps_the_contract() {
    let outcomes = outcomes(true);
    assert!(!outcomes.iter().any(Outcome::is_broken), "{outcomes:?}");
    for need in [Need::Criteria, Need::Claims, Need::ManyStreams] {
        assert!(outcomes.contains(&Outcome::Refused(need)), "{need}");
    }
    assert!(outcomes.contains(&Outcome::Skipped(Need::Reopens)));
}

#[test]
fn a_store_that_does_what_it_says_it_lacks_breaks_the_contract() {
    assert!(outcomes(false).iter().any(Outcome::is_broken));
}

#[test]
fn the_promises_that_need_nothing_are_kept_by_a_modest_store() {
    let ordinary = event_store_promises().iter().filter(|one| one.needs.is_empty());
    for promise in ordinary {
        let outcome = attempt(Arc::new(Opens { refuses: true }), promise, Duration::from_secs(60));
        if let Outcome::Broken(how) = outcome {
            assert!(!how.contains("Unsupported"), "{promise:?} needs more than it says: {how}");
        }
    }
}

#[test]
fn refusals_and_skips_are_counted() {
    let tally = tally("event store", "modest", Opens { refuses: true }, event_store_promises());
    let all = tally.run + tally.refused.len() + tally.skipped.len();
    assert_eq!(all, event_store_promises().len());
    assert!(tally.to_string().contains("refused (claims, criteria, many streams)"), "{tally}");
    assert!(tally.to_string().ends_with("skipped (reopens)"), "{tally}");
}
