//! What the tests share: orders, and a handler that does what it is told.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_bus::{Endpoint, EventBus, Handle, HandleError, Ready, Received};
use es_core::{Event, Group, World, memory::MemoryBroker};
use es_testkit::TestClock;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "order")]
pub(crate) enum OrderEvent {
    Placed { order: u64 },
    Paid { order: u64 },
}

impl OrderEvent {
    pub(crate) fn order(&self) -> u64 {
        match self {
            Self::Placed { order } | Self::Paid { order } => *order,
        }
    }
}

pub(crate) fn placed(order: u64) -> OrderEvent {
    OrderEvent::Placed { order }
}

/// What a handler does with an order, as often as it says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    Fail,
    FailForGood,
    Panic,
    Throttle(Duration),
}

/// Handles orders as it was told to, and remembers which and at which try.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clerk {
    told: Arc<Mutex<HashMap<u64, Vec<Then>>>>,
    tried: Arc<Mutex<Vec<(u64, u32)>>>,
    handled: Arc<Mutex<Vec<u64>>>,
    is_away: Arc<AtomicBool>,
}

impl Clerk {
    /// Does this with the order, once for each, before it handles it.
    pub(crate) fn tell(&self, order: u64, then: impl IntoIterator<Item = Then>) {
        let mut then: Vec<_> = then.into_iter().collect();
        then.reverse();
        self.told.lock().insert(order, then);
    }

    /// Fails whatever comes, until it is back.
    pub(crate) fn away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Relaxed);
    }

    /// Each order that was tried, and at which try.
    pub(crate) fn tried(&self) -> Vec<(u64, u32)> {
        self.tried.lock().clone()
    }

    /// Each order that was handled.
    pub(crate) fn handled(&self) -> Vec<u64> {
        self.handled.lock().clone()
    }
}

impl Handle<OrderEvent> for Clerk {
    async fn handle(&self, received: Received<OrderEvent>) -> Result<(), HandleError> {
        let order = received.event.order();
        self.tried.lock().push((order, received.attempt));
        let told = || self.told.lock().get_mut(&order).and_then(Vec::pop);
        let then = if self.is_away.load(Ordering::Relaxed) { Some(Then::Fail) } else { told() };
        match then {
            None => {
                self.handled.lock().push(order);
                Ok(())
            }
            Some(Then::Fail) => Err(HandleError::transient("the till is closed")),
            Some(Then::FailForGood) => Err(HandleError::permanent("no such order")),
            Some(Then::Panic) => panic!("the clerk fainted"),
            Some(Then::Throttle(after)) => Err(HandleError::throttled(after, "too fast")),
        }
    }
}

/// A bus whose time stands still until it is moved.
pub(crate) struct Scene {
    pub(crate) clock: TestClock,
    pub(crate) bus: EventBus,
    pub(crate) clerk: Clerk,
    pub(crate) broker: MemoryBroker,
}

pub(crate) fn billing() -> Group {
    Group::new("billing").unwrap()
}

impl Scene {
    pub(crate) fn new() -> Self {
        let clock = TestClock::new();
        let world = World::real().with_clock(clock.clone());
        let broker = MemoryBroker::in_world(world.clone());
        let bus = EventBus::in_world(broker.clone(), world);
        Self { clock, bus, clerk: Clerk::default(), broker }
    }

    /// The clerk's endpoint, with these settings.
    pub(crate) fn endpoint(&self, set: impl FnOnce(Endpoint) -> Endpoint) -> Ready {
        set(Endpoint::new("billing").unwrap().to("order.*").unwrap()).handle(self.clerk.clone())
    }

    pub(crate) async fn publish(&self, orders: impl IntoIterator<Item = u64>) {
        for order in orders {
            self.bus.publish(&placed(order)).await.unwrap();
        }
    }
}

/// Lets all others go on until this holds.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

/// Lets all others go on as far as they can.
pub(crate) async fn settled() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}
