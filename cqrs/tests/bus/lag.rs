//! How far behind the models of a projector are.

use std::time::Duration;

use cqrs::{Commands, Event, Evolve, Keys, Projector, View};
use es_core::{
    Lag, Recorded, Views, World,
    memory::{MemoryStore, MemoryViews},
};
use es_testkit::TestClock;
use serde::{Deserialize, Serialize};

use crate::bank::{AccountEvent, deposit};

#[derive(Default, Serialize, Deserialize)]
struct Times(u64);

impl Evolve for Times {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {
        self.0 += 1;
    }
}

impl View for Times {
    const NAME: &'static str = "times";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

#[derive(Serialize, Deserialize, Event)]
#[event(name = "stranger.seen")]
struct Seen;

#[derive(Default, Serialize, Deserialize)]
struct Strangers;

impl Evolve for Strangers {
    type Event = Seen;

    fn evolve(&mut self, _: &Seen) {}
}

impl View for Strangers {
    const NAME: &'static str = "strangers";
    type Key = String;

    fn keys(_: Recorded<'_, Seen>) -> Keys<String> {
        Keys::None
    }
}

async fn told<V: Views>(projector: &Projector<V>) -> Vec<(String, Lag)> {
    let all = projector.lag().await.unwrap().into_iter();
    all.map(|(name, lag)| (name.to_string(), lag)).collect()
}

#[tokio::test]
async fn each_model_is_as_far_behind_as_what_it_names() {
    let clock = TestClock::new();
    let world = World::real().with_clock(clock.clone());
    let (store, views) = (MemoryStore::in_world(world.clone()), MemoryViews::new());
    let models = || Projector::new(store.clone(), views.clone()).world(world.clone());
    let both = models().view::<Times>().view::<Strangers>();
    let commands = Commands::new(store.clone());
    for _ in 0..3 {
        commands.send(deposit("ada", 1)).await.unwrap();
        clock.advance(Duration::from_secs(10));
    }

    let behind = told(&both).await;
    assert_eq!(behind[0].0, "times");
    assert_eq!((behind[0].1.events, behind[0].1.age), (3, Some(Duration::from_secs(30))));
    assert_eq!(behind[1], ("strangers".to_owned(), Lag::default()));

    models().view::<Times>().catch_up().await.unwrap();
    commands.send(deposit("bea", 1)).await.unwrap();
    let behind = told(&both).await;
    assert_eq!((behind[0].1.events, behind[0].1.age), (1, Some(Duration::ZERO)));
    both.catch_up().await.unwrap();
    assert!(told(&both).await.iter().all(|(_, lag)| *lag == Lag::default()));
}

/// The rate is that of the time since somebody asked before, whichever process keeps the
/// model.
#[tokio::test]
async fn a_rate_is_what_was_passed_since_somebody_asked() {
    let clock = TestClock::new();
    let world = World::real().with_clock(clock.clone());
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let commands = Commands::new(store.clone());
    let keeps = Projector::new(store.clone(), views.clone()).view::<Times>();
    let asks = Projector::new(store.clone(), views).view::<Times>().world(world);
    let rate = async || asks.status().await.unwrap()[0].rate;
    keeps.catch_up().await.unwrap();
    assert_eq!(rate().await, None);
    for (deposits, seconds, due) in [(20, 2, 10), (0, 5, 0), (3, 1, 3)] {
        for _ in 0..deposits {
            commands.send(deposit("ada", 1)).await.unwrap();
        }
        keeps.catch_up().await.unwrap();
        clock.advance(Duration::from_secs(seconds));
        assert_eq!(rate().await, Some(due));
        assert_eq!(rate().await, Some(due), "asked again at once");
    }
}
