//! Several messages at once, each with an answer of its own.

use std::{sync::Arc, time::Duration};

use es_bus::{Endpoint, HandleBatch, HandleError, Received, RetryPolicy};
use es_core::Topic;
use parking_lot::Mutex;

use crate::world::{OrderEvent, Scene, placed, settled, until};

/// Remembers the orders of each batch; the odd ones fail at their first try.
#[derive(Debug, Clone, Default)]
struct Press(Arc<Mutex<Vec<Vec<u64>>>>);

impl HandleBatch<OrderEvent> for Press {
    async fn handle(&self, orders: &[Received<OrderEvent>]) -> Vec<Result<(), HandleError>> {
        self.0.lock().push(orders.iter().map(|order| order.event.order()).collect());
        let answer = |order: &Received<OrderEvent>| match order.event.order() % 2 {
            1 if order.attempt == 1 => Err(HandleError::transient("a jam")),
            _ => Ok(()),
        };
        orders.iter().map(answer).collect()
    }
}

fn endpoint(press: &Press, age: Duration) -> es_bus::Ready {
    let endpoint = Endpoint::new("press").unwrap().to("order.*").unwrap();
    let retry = RetryPolicy::new(3).jitter(0.0);
    endpoint.concurrency(1).retry(retry).handle_batch(10, age, press.clone())
}

#[tokio::test]
async fn a_batch_is_as_large_as_asked_and_each_message_has_its_answer() {
    let scene = Scene::new();
    let press = Press::default();
    let age = Duration::from_secs(100);
    let running = scene.bus.subscribe(endpoint(&press, age)).await.unwrap();
    scene.publish(0..20).await;
    until(|| press.0.lock().len() == 2).await;
    assert_eq!(*press.0.lock(), [(0..10).collect::<Vec<_>>(), (10..20).collect()]);
    settled().await;
    scene.clock.advance(Duration::from_secs(1));
    until(|| running.stats().in_hand == 0).await;
    scene.publish(20..21).await;
    // What failed and what is new wait for each other, until the first is too old.
    settled().await;
    scene.clock.advance(age);
    until(|| running.stats().handled >= 20).await;
    let third = press.0.lock()[2].clone();
    assert_eq!(third, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    until(|| running.stats().handled == 21).await;
}

/// The age counts from the first message of a batch, not from the last.
#[tokio::test]
async fn a_batch_waits_no_longer_than_its_first_message_may() {
    let scene = Scene::new();
    let press = Press::default();
    let _running = scene.bus.subscribe(endpoint(&press, Duration::from_secs(10))).await.unwrap();
    for order in [0, 2, 4] {
        scene.publish([order]).await;
        settled().await;
        assert!(press.0.lock().is_empty());
        scene.clock.advance(Duration::from_secs(4));
    }
    until(|| !press.0.lock().is_empty()).await;
    assert_eq!(*press.0.lock(), [[0, 2, 4]]);
}

/// Faints at the sight of one order.
struct Faint(Arc<Mutex<Vec<Vec<u64>>>>);

impl HandleBatch<OrderEvent> for Faint {
    fn handle(
        &self,
        orders: &[Received<OrderEvent>],
    ) -> impl Future<Output = Vec<Result<(), HandleError>>> + Send {
        let batch: Vec<_> = orders.iter().map(|order| order.event.order()).collect();
        self.0.lock().push(batch.clone());
        assert!(!batch.contains(&3), "the ink is red");
        async move { batch.iter().map(|_| Ok(())).collect() }
    }
}

#[tokio::test]
async fn one_that_panics_costs_the_others_of_its_batch_nothing() {
    let scene = Scene::new();
    let seen = Arc::default();
    let endpoint = Endpoint::new("press").unwrap().to("order.*").unwrap().concurrency(1);
    let endpoint = endpoint.retry(RetryPolicy::new(2).jitter(0.0));
    let endpoint = endpoint.handle_batch(10, Duration::from_secs(1), Faint(Arc::clone(&seen)));
    let running = scene.bus.subscribe(endpoint).await.unwrap();
    scene.publish(0..10).await;
    until(|| running.stats().handled == 9).await;
    for _ in 0..2 {
        settled().await;
        scene.clock.advance(Duration::from_secs(60));
    }
    until(|| running.stats().dead_lettered == 1).await;
    assert!(seen.lock().iter().all(|batch| !batch.is_empty()));
}

/// What cannot be read leaves nothing to hand over.
#[tokio::test]
async fn a_batch_of_nothing_is_not_handed_over() {
    let scene = Scene::new();
    let press = Press::default();
    let running = scene.bus.subscribe(endpoint(&press, Duration::from_secs(1))).await.unwrap();
    let mut junk = scene.bus.message(&placed(1)).unwrap();
    junk.payload = "no order".into();
    scene.bus.send(Topic::new("order.placed").unwrap(), vec![junk]).await.unwrap();
    settled().await;
    scene.clock.advance(Duration::from_secs(1));
    until(|| running.stats().dead_lettered == 1).await;
    assert!(press.0.lock().is_empty());
}
