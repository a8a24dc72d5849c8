//! Panics in code that projectors run, outside the folds.

use std::time::Duration;

use cqrs::{Commands, Evolve, Keys, Projector, View};
use es_core::{
    Name, Recorded, Upcasters, Upcasting, World,
    memory::{MemoryStore, MemoryViews},
};
use es_testkit::TestClock;
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    bank::{AccountEvent, deposit, rename},
    hooked::{Hooked, Op, until},
};

const LONG: Duration = Duration::from_secs(20);

/// A row that cannot be written after a deposit of 13: that panics.
#[derive(Debug, Default, Clone, Deserialize)]
struct Unwritable {
    amount: i64,
}

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(self.amount != 13, "13 cannot be written");
        serde_json::json!({ "amount": self.amount }).serialize(serializer)
    }
}

impl Evolve for Unwritable {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        if let AccountEvent::Deposited { amount } = event {
            self.amount = *amount;
        }
    }
}

impl View for Unwritable {
    const NAME: &'static str = "unwritable";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

async fn unlucky() -> MemoryStore {
    let store = MemoryStore::new();
    Commands::new(store.clone()).send(deposit("ada", 13)).await.unwrap();
    store
}

#[tokio::test]
async fn a_row_whose_writing_panics_ends_a_follower_that_says_so() {
    let projector = Projector::new(unlucky().await, MemoryViews::new()).view::<Unwritable>();
    let told = projector.catch_up().await.unwrap_err();
    assert!(told.to_string().contains("panicked"), "{told}");
    let projecting = projector.start();
    until(async || projecting.failure().is_some()).await;
    let stopped = tokio::time::timeout(LONG, projecting.stop()).await.unwrap();
    assert!(stopped.unwrap_err().to_string().contains("panicked"));
}

#[tokio::test]
async fn a_worker_whose_rows_panic_as_they_are_written_can_be_stopped() {
    let views = Hooked::new(&MemoryViews::new());
    // Once for what is parked, and once for the row that then cannot be written.
    let reads = views.count(|op| matches!(op, Op::Rows(_)));
    let projecting = Projector::new(unlucky().await, views).view::<Unwritable>().start_worker();
    reads.reach(2).await;
    tokio::time::timeout(LONG, projecting.stop()).await.unwrap().unwrap();
}

/// A log of which the second event is fine, and the first is not for the upcaster.
async fn upcasting(upcasters: Upcasters) -> Upcasting<MemoryStore> {
    let store = unlucky().await;
    Commands::new(store.clone()).send(rename("ada", "ada")).await.unwrap();
    Upcasting::new(store, upcasters).unwrap()
}

fn of_deposits() -> (Upcasters, Name) {
    (Upcasters::new(), Name::from_static("account.deposited"))
}

#[tokio::test]
async fn an_upcaster_that_panics_is_told() {
    let (upcasters, deposited) = of_deposits();
    let store = upcasting(upcasters.one_to_one(deposited, 1, |_| panic!("as planned"))).await;
    let projector = Projector::new(store, MemoryViews::new()).view::<Unwritable>();
    let told = tokio::time::timeout(LONG, projector.catch_up()).await.unwrap().unwrap_err();
    assert!(format!("{told:?}").contains("has panicked"), "{told:?}");
    let projecting = projector.start();
    until(async || projecting.failure().is_some()).await;
    assert!(projecting.stop().await.is_err());
    let worker = projector.start_worker();
    tokio::time::timeout(LONG, worker.stop()).await.unwrap().unwrap();
}

/// The clock stands: a worker that does not rest goes on all the same.
#[tokio::test]
async fn a_worker_that_cannot_read_the_log_rests_between_its_tries() {
    let (upcasters, deposited) = of_deposits();
    let store = upcasting(upcasters.one_to_one(deposited, 1, |_| Err("no".into()))).await;
    let views = Hooked::new(&MemoryViews::new());
    let calls = views.count(|op| matches!(op, Op::Renew(_)));
    let world = World::real().with_clock(TestClock::new());
    let projector = Projector::new(store, views).world(world).view::<Unwritable>();
    let projecting = projector.start_worker();
    calls.reach(1).await;
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(calls.get() < 50, "{} renewals", calls.get());
    tokio::time::timeout(LONG, projecting.stop()).await.unwrap().unwrap();
}
