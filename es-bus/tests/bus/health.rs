//! Whether an endpoint does its work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use es_bus::{Endpoint, EventBus, Health, Received, RetryPolicy};
use es_core::{
    Address, Consumer, DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Deliveries, Group,
    Message, Publisher, StoreError, StoreErrorKind, Subscription, World, memory::MemoryBroker,
};
use futures_util::{StreamExt, stream};
use tokio::sync::{Notify, watch};

use crate::world::{OrderEvent, Scene, Then, billing, placed, settled, until};

fn degraded(health: &Health, why: &str) -> bool {
    matches!(health, Health::Degraded(told) if told.contains(why)) && health.is_ready()
}

fn unhealthy(health: &Health, why: &str) -> bool {
    matches!(health, Health::Unhealthy(told) if told.contains(why)) && !health.is_ready()
}

#[tokio::test]
async fn an_endpoint_in_an_outage_is_degraded_until_something_goes_well() {
    let scene = Scene::new();
    let set = |e: Endpoint| e.retry(RetryPolicy::new(3).jitter(0.0)).outage_after(4);
    let running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    assert_eq!(running.health().await, Health::Healthy);
    scene.clerk.away(true);
    scene.publish(0..10).await;
    until(|| running.stats().is_in_outage).await;
    assert!(degraded(&running.health().await, "everything fails"), "{}", running.health().await);
    // Who waits for his turn is not stuck.
    for _ in 0..10 {
        scene.clock.advance(Duration::from_secs(60));
        settled().await;
        let health = running.health().await;
        assert!(degraded(&health, "everything fails"), "{health}");
    }
    scene.clerk.away(false);
    while scene.clerk.handled().len() < 10 {
        scene.clock.advance(Duration::from_secs(60));
        settled().await;
    }
    // Of the tries so far more than half have failed, and then no longer.
    let failed = running.stats().failed;
    assert!(
        degraded(&running.health().await, "have failed") || failed <= 10,
        "{}",
        running.health().await
    );
    scene.publish(10..10 + failed + 10).await;
    until(|| running.stats().handled == failed + 20).await;
    assert_eq!(running.health().await, Health::Healthy);
}

#[tokio::test]
async fn an_endpoint_whose_handler_does_not_end_is_unhealthy() {
    let scene = Scene::new();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let slow = Endpoint::new("billing").unwrap().to("order.*").unwrap();
    let slow = slow.stuck_after(Duration::from_secs(60)).handle(move |_: Received<OrderEvent>| {
        let (begins, goes_on) = (Arc::clone(&begins), Arc::clone(&goes_on));
        async move {
            begins.notify_one();
            goes_on.notified().await;
            Ok(())
        }
    });
    let running = scene.bus.subscribe(slow).await.unwrap();
    scene.clock.advance(Duration::from_secs(600));
    assert_eq!(
        running.health().await,
        Health::Healthy,
        "it waits for messages, and that is its work"
    );
    scene.bus.publish(&placed(1)).await.unwrap();
    begun.notified().await;
    scene.clock.advance(Duration::from_secs(59));
    assert_eq!(running.health().await, Health::Healthy);
    scene.clock.advance(Duration::from_secs(1));
    assert!(
        unhealthy(&running.health().await, "has not ended for 60s"),
        "{}",
        running.health().await
    );
    go_on.notify_one();
    until(|| running.stats().handled == 1).await;
    settled().await;
    assert_eq!(running.health().await, Health::Healthy);
}

/// What failed has become a dead letter; what else comes is handled.
#[tokio::test]
async fn dead_letters_alone_make_no_endpoint_unhealthy() {
    let scene = Scene::new();
    let running = scene.bus.subscribe(scene.endpoint(|e| e)).await.unwrap();
    scene.clerk.tell(0, [Then::FailForGood]);
    scene.publish(0..10).await;
    until(|| running.stats().handled == 9).await;
    assert_eq!(scene.bus.dead_letters(&billing()).count().await.unwrap().len(), 1);
    assert_eq!(running.health().await, Health::Healthy);
}

/// A broker that can be away.
pub(crate) struct Away {
    broker: MemoryBroker,
    is_away: watch::Sender<bool>,
    /// How often a group may be joined before it goes by itself.
    joins: AtomicUsize,
    is_damaged: AtomicBool,
}

impl Away {
    pub(crate) fn of(broker: MemoryBroker, is_away: watch::Sender<bool>) -> Self {
        let (joins, is_damaged) = (AtomicUsize::new(usize::MAX), AtomicBool::new(false));
        Self { broker, is_away, joins, is_damaged }
    }

    pub(crate) fn goes_after(&self, joins: usize) {
        self.joins.store(joins, Ordering::SeqCst);
    }
}

fn away() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the broker is on holiday")
}

#[async_trait]
impl Publisher for Away {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        self.broker.publish(to, messages).await
    }
}

#[async_trait]
impl Consumer for Away {
    async fn consume(&self, subscription: Subscription) -> Result<Deliveries, StoreError> {
        let joins = self.joins.fetch_sub(1, Ordering::SeqCst);
        if *self.is_away.borrow() || joins == 0 {
            return Err(away());
        }
        let mut is_away = self.is_away.subscribe();
        let ends = stream::once(async move {
            let _ = is_away.wait_for(|is_away| *is_away).await;
            Err(away())
        });
        let deliveries = self.broker.consume(subscription).await?;
        Ok(stream::select(deliveries, ends).boxed())
    }

    async fn forget(&self, group: &Group) -> Result<(), StoreError> {
        self.broker.forget(group).await
    }
}

#[async_trait]
impl DeadLetters for Away {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        if *self.is_away.borrow() {
            return Err(away());
        }
        if self.is_damaged.load(Ordering::SeqCst) {
            return Err(StoreError::new(StoreErrorKind::Corrupt, "a letter cannot be read"));
        }
        self.broker.dead_letters(query).await
    }

    async fn give_back(
        &self,
        group: &Group,
        id: DeadLetterId,
        changed: Option<Message>,
    ) -> Result<bool, StoreError> {
        self.broker.give_back(group, id, changed).await
    }

    async fn discard(&self, group: &Group, id: DeadLetterId) -> Result<bool, StoreError> {
        self.broker.discard(group, id).await
    }
}

#[tokio::test]
async fn an_endpoint_whose_broker_is_away_is_unhealthy_until_it_has_joined_again() {
    let Scene { clock, clerk, broker, .. } = Scene::new();
    let world = World::real().with_clock(clock.clone());
    let (is_away, _) = watch::channel(false);
    let bus = EventBus::in_world(Away::of(broker, is_away.clone()), world);
    let billing = Endpoint::new("billing").unwrap().to("order.*").unwrap();
    let running = bus.subscribe(billing.handle(clerk.clone())).await.unwrap();
    is_away.send_replace(true);
    settled().await;
    assert!(unhealthy(&running.health().await, "the broker is away: the broker is on holiday"));
    // It is back, and the group is not joined yet.
    is_away.send_replace(false);
    clock.advance(Duration::from_millis(40));
    assert!(unhealthy(&running.health().await, "no deliveries for 40ms"));
    clock.advance(Duration::from_secs(10));
    settled().await;
    assert_eq!(running.health().await, Health::Healthy);
    bus.publish(&placed(1)).await.unwrap();
    until(|| clerk.handled() == [1]).await;
}

#[tokio::test]
async fn a_broker_with_a_letter_that_cannot_be_read_is_there() {
    let scene = Scene::new();
    let away = Away::of(scene.broker.clone(), watch::channel(false).0);
    away.is_damaged.store(true, Ordering::SeqCst);
    let running = EventBus::new(away).subscribe(scene.endpoint(|e| e)).await.unwrap();
    assert_eq!(running.health().await, Health::Healthy);
}
