//! What fails is tried again, not too early and not for ever.

use std::time::Duration;

use es_bus::{Endpoint, RetryPolicy};
use es_core::FaultKind;

use crate::world::{Scene, Then, billing, settled, until};

/// Without chance, so that the times are known.
fn exact(tries: u32) -> impl Fn(Endpoint) -> Endpoint {
    move |endpoint| endpoint.retry(RetryPolicy::new(tries).jitter(0.0))
}

#[tokio::test]
async fn a_failure_is_tried_again_after_longer_and_longer_pauses() {
    let scene = Scene::new();
    scene.clerk.tell(1, [Then::Fail, Then::Panic, Then::Fail]);
    let running = scene.bus.subscribe(scene.endpoint(exact(5))).await.unwrap();
    scene.publish([1]).await;
    for (attempt, pause) in [(1, 1), (2, 2), (3, 4)] {
        until(|| scene.clerk.tried().len() == attempt && scene.clock.sleepers() > 0).await;
        scene.clock.advance(Duration::from_millis(pause * 1_000 - 1));
        settled().await;
        assert_eq!(scene.clerk.tried().len(), attempt, "too early");
        scene.clock.advance(Duration::from_millis(1));
    }
    until(|| scene.clerk.handled() == [1]).await;
    assert_eq!(scene.clerk.tried(), [(1, 1), (1, 2), (1, 3), (1, 4)]);
    until(|| running.stats().handled == 1).await;
    assert_eq!((running.stats().failed, running.stats().retried), (3, 3));
}

#[tokio::test]
async fn after_all_tries_it_is_a_dead_letter_with_its_reason() {
    let scene = Scene::new();
    scene.clerk.tell(1, [Then::Fail; 3]);
    scene.clerk.tell(2, [Then::Panic; 3]);
    let running = scene.bus.subscribe(scene.endpoint(exact(3))).await.unwrap();
    scene.publish([1, 2, 3]).await;
    for attempt in 1..=3 {
        until(|| scene.clerk.tried().len() == 2 * attempt + 1).await;
        settled().await;
        scene.clock.advance(Duration::from_secs(60));
    }
    until(|| running.stats().dead_lettered == 2).await;
    assert_eq!(scene.clerk.handled(), [3]);
    let letters = scene.bus.dead_letters(&billing()).list(Default::default(), 10).await.unwrap();
    let known =
        letters.iter().map(|letter| (letter.fault.kind, &*letter.fault.reason, letter.attempts));
    let due = [
        (FaultKind::Transient, "the till is closed", 3),
        (FaultKind::Panic, "the clerk fainted", 3),
    ];
    assert_eq!(known.collect::<Vec<_>>(), due);
}

#[tokio::test]
async fn what_never_goes_well_is_a_dead_letter_at_once() {
    let scene = Scene::new();
    scene.clerk.tell(1, [Then::FailForGood]);
    let running = scene.bus.subscribe(scene.endpoint(exact(5))).await.unwrap();
    scene.publish([1]).await;
    until(|| running.stats().dead_lettered == 1).await;
    assert_eq!(scene.clerk.tried(), [(1, 1)]);
}

#[tokio::test]
async fn a_delivery_is_handled_again_at_once_as_often_as_the_policy_says() {
    let scene = Scene::new();
    scene.clerk.tell(1, [Then::Fail, Then::Fail]);
    let set = |e: Endpoint| e.retry(RetryPolicy::new(1).immediate(2));
    let _running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    scene.publish([1]).await;
    until(|| scene.clerk.handled() == [1]).await;
    assert_eq!(scene.clerk.tried(), [(1, 1); 3]);
}

/// Whoever wants to be left alone is left alone, and it costs no try.
#[tokio::test]
async fn what_is_throttled_waits_as_long_as_asked_however_often() {
    let scene = Scene::new();
    scene.clerk.tell(1, [Then::Throttle(Duration::from_secs(100)); 10]);
    let running = scene.bus.subscribe(scene.endpoint(exact(2))).await.unwrap();
    scene.publish([1]).await;
    for tries in 1..=10 {
        until(|| scene.clerk.tried().len() == tries && scene.clock.sleepers() > 0).await;
        scene.clock.advance(Duration::from_secs(99));
        settled().await;
        assert_eq!(scene.clerk.tried().len(), tries, "too early");
        scene.clock.advance(Duration::from_secs(1));
    }
    until(|| scene.clerk.handled() == [1]).await;
    assert_eq!(running.stats().dead_lettered, 0);
}

/// A message that waits for its next try holds up its key and nobody else.
#[tokio::test]
async fn a_pause_holds_up_the_key_and_no_handler() {
    let scene = Scene::new();
    scene.clerk.tell(1, [Then::Fail]);
    let set = |e: Endpoint| e.concurrency(1);
    let _running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    let keyed = |order: u64, key: &str| {
        scene.bus.message(&crate::world::placed(order)).unwrap().with_key(key)
    };
    let messages = vec![keyed(1, "ada"), keyed(2, "ada"), keyed(3, "bob")];
    let topic = es_core::Topic::new("order.placed").unwrap();
    scene.bus.send(topic, messages).await.unwrap();
    until(|| scene.clerk.handled() == [3]).await;
    settled().await;
    assert_eq!(scene.clerk.handled(), [3]);
    scene.clock.advance(Duration::from_secs(2));
    until(|| scene.clerk.handled() == [3, 1, 2]).await;
}

#[tokio::test]
async fn what_was_throttled_has_all_its_tries_left() {
    let scene = Scene::new();
    let told = [Then::Throttle(Duration::from_secs(1)); 5];
    scene.clerk.tell(1, told.into_iter().chain([Then::Fail; 2]));
    let running = scene.bus.subscribe(scene.endpoint(exact(3))).await.unwrap();
    scene.publish([1]).await;
    for _ in 0..8 {
        settled().await;
        scene.clock.advance(Duration::from_secs(60));
    }
    until(|| running.stats().handled == 1).await;
    assert_eq!(running.stats().dead_lettered, 0);
}
