//! When everything fails, nothing becomes a dead letter because of it.

use std::time::Duration;

use es_bus::{Endpoint, RetryPolicy};

use crate::world::{Scene, Then, settled, until};

#[tokio::test]
async fn an_outage_makes_no_dead_letters() {
    let scene = Scene::new();
    let set = |e: Endpoint| e.retry(RetryPolicy::new(3).jitter(0.0)).outage_after(10);
    let running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    scene.clerk.away(true);
    scene.publish(0..50).await;
    until(|| running.stats().is_in_outage).await;
    settled().await;
    let tried = scene.clerk.tried().len();
    assert!(tried < 40, "{tried} were tried, and it was an outage after ten");
    for _ in 0..50 {
        // One at a time, and later one a minute.
        let tried = scene.clerk.tried().len();
        scene.clock.advance(Duration::from_secs(60));
        settled().await;
        assert!(scene.clerk.tried().len() <= tried + 2);
    }
    scene.clerk.away(false);
    // Tries in the outage do not count: each has all the others left.
    scene.clerk.tell(49, [Then::Fail]);
    for _ in 0..10 {
        scene.clock.advance(Duration::from_secs(60));
        settled().await;
    }
    assert_eq!(scene.clerk.handled().len(), 50);
    assert_eq!(running.stats().dead_lettered, 0);
    assert!(!running.stats().is_in_outage);
}

/// Without the mode the same flushes everything into the dead letters.
#[tokio::test]
async fn without_it_an_outage_fills_the_dead_letters() {
    let scene = Scene::new();
    scene.clerk.away(true);
    let set = |e: Endpoint| e.retry(RetryPolicy::new(3).jitter(0.0)).outage_after(0);
    let running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    scene.publish(0..50).await;
    for _ in 0..4 {
        settled().await;
        scene.clock.advance(Duration::from_secs(60));
    }
    until(|| running.stats().dead_lettered == 50).await;
}

/// Whoever waits for an outage to pass does not hold up the end of the program.
#[tokio::test]
async fn an_endpoint_drains_at_once_in_an_outage() {
    let scene = Scene::new();
    let set = |e: Endpoint| e.retry(RetryPolicy::new(3).jitter(0.0)).outage_after(1);
    let running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    scene.clerk.away(true);
    scene.publish(0..5).await;
    until(|| running.stats().is_in_outage).await;
    settled().await;
    assert!(running.drain().await.is_clean());
}

/// A process that comes to an outage of others knows nothing of it at first.
#[tokio::test]
async fn who_begins_in_an_outage_makes_no_dead_letters() {
    let scene = Scene::new();
    let set = |e: Endpoint| e.retry(RetryPolicy::new(3).jitter(0.0)).outage_after(20);
    scene.clerk.away(true);
    for _ in 0..3 {
        let running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
        scene.publish(0..15).await;
        for _ in 0..10 {
            settled().await;
            scene.clock.advance(Duration::from_secs(60));
        }
        until(|| running.stats().is_in_outage).await;
        assert_eq!(running.stats().dead_lettered, 0);
    }
}

/// What fails in one process that has handled nothing yet still comes to its end.
#[tokio::test]
async fn a_message_that_always_fails_is_a_dead_letter_also_if_it_is_the_only_one() {
    let scene = Scene::new();
    let set = |e: Endpoint| e.retry(RetryPolicy::new(3).jitter(0.0)).outage_after(20);
    scene.clerk.tell(1, [Then::Fail; 9]);
    let running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    scene.publish([1]).await;
    for _ in 0..3 {
        settled().await;
        scene.clock.advance(Duration::from_secs(60));
    }
    until(|| running.stats().dead_lettered == 1).await;
    assert_eq!(scene.clerk.tried().len(), 3);
}
