use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{
    EventStore,
    memory::{MemoryBroker, MemoryStore, MemoryViews},
};

use super::{
    BrokerBug, Bug, InlineBug, Mutant, MutantBroker, MutantViews, ViewBug, inline::MutantFolds,
};
use crate::contract::{
    self, Broker, Harness, InlineModels, Opened, Outcome, Place, Promise, ReadModels, Tallies,
    UnderTest, attempt, broker_promises, event_store_promises, inline_promises, view_promises,
};

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

/// Runs the contract against a store with this bug, and returns the promises
/// that break and would not break without it, up to `enough` of them.
pub fn hunt(bug: Bug, enough: usize) -> Vec<Catch> {
    caught(&(Arc::new(Opens(bug)) as _), &(Arc::new(Sound) as _), event_store_promises(), enough)
}

/// Does the same with read models.
pub fn hunt_in_views(bug: ViewBug, enough: usize) -> Vec<Catch> {
    let opens = |bug| Arc::new(OpensViews(bug)) as _;
    caught(&opens(Some(bug)), &opens(None), &view_promises(), enough)
}

/// Does the same with brokers.
pub fn hunt_in_brokers(bug: BrokerBug, enough: usize) -> Vec<Catch> {
    let opens = |bug| Arc::new(OpensBroker(bug)) as _;
    caught(&opens(Some(bug)), &opens(None), broker_promises(), enough)
}

/// Does the same with models that change with each append.
pub fn hunt_in_inline_models(bug: InlineBug, enough: usize) -> Vec<Catch> {
    let opens = |bug| Arc::new(OpensInline(bug)) as _;
    caught(&opens(Some(bug)), &opens(None), &inline_promises(), enough)
}

fn caught<P: UnderTest + ?Sized>(
    mutant: &Arc<dyn Harness<P>>,
    sound: &Arc<dyn Harness<P>>,
    promises: &[Promise<P>],
    enough: usize,
) -> Vec<Catch> {
    let broken = promises.iter().filter_map(|promise| {
        match attempt(Arc::clone(mutant), promise, PATIENCE) {
            Outcome::Broken(how) if is_kept(sound, promise) => {
                Some(Catch { promise: format!("{promise:?}"), how })
            }
            _ => None,
        }
    });
    broken.take(enough).collect()
}

/// The control: a promise that breaks anyway proves nothing.
fn is_kept<P: UnderTest + ?Sized>(sound: &Arc<dyn Harness<P>>, promise: &Promise<P>) -> bool {
    !attempt(Arc::clone(sound), promise, contract::PATIENCE).is_broken()
}

struct Opens(Bug);

#[async_trait]
impl Harness<dyn EventStore> for Opens {
    async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
        let sound = MemoryStore::in_world(place.world().clone());
        Opened::new(Arc::new(Mutant::new(self.0, sound)))
    }
}

struct Sound;

#[async_trait]
impl Harness<dyn EventStore> for Sound {
    async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
        Opened::new(Arc::new(MemoryStore::in_world(place.world().clone())))
    }
}

struct OpensViews(Option<ViewBug>);

#[async_trait]
impl Harness<ReadModels<MutantViews>> for OpensViews {
    async fn open(&self, place: &Place) -> Opened<ReadModels<MutantViews>> {
        let sound = MemoryViews::in_world(place.world().clone());
        Opened::new(Arc::new(ReadModels::new(MutantViews::new(self.0, sound))))
    }
}

struct OpensInline(Option<InlineBug>);

#[async_trait]
impl Harness<InlineModels<MemoryViews>> for OpensInline {
    async fn open(&self, place: &Place) -> Opened<InlineModels<MemoryViews>> {
        let (views, sound) = (MemoryViews::in_world(place.world().clone()), Tallies::default());
        let folds = MutantFolds { bug: self.0, sound: sound.clone() };
        let store = MemoryStore::in_world(place.world().clone()).inline(&views, folds);
        Opened::new(Arc::new(InlineModels::new(store, views, sound)))
    }
}

struct OpensBroker(Option<BrokerBug>);

#[async_trait]
impl Harness<Broker> for OpensBroker {
    async fn open(&self, place: &Place) -> Opened<Broker> {
        let sound = MemoryBroker::in_world(place.world().clone());
        Opened::new(Arc::new(Broker::new(MutantBroker::new(self.0, sound))))
    }
}
