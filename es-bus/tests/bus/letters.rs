//! What failed is looked at, and given back.

use std::time::Duration;

use es_bus::{Endpoint, Redrive, RetryPolicy};
use es_core::{DeadLetterId, FaultKind};
use futures_util::TryStreamExt;

use crate::world::{Scene, Then, billing, placed, settled, until};

/// A scene in which these orders are dead letters.
async fn with_letters(orders: std::ops::Range<u64>) -> (Scene, es_bus::Running) {
    let scene = Scene::new();
    let count = orders.end - orders.start;
    for order in orders.clone() {
        let then = if order % 2 == 0 { Then::Fail } else { Then::FailForGood };
        scene.clerk.tell(order, [then]);
    }
    let set = |e: Endpoint| e.retry(RetryPolicy::new(1)).outage_after(0);
    let running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    scene.publish(orders).await;
    until(|| running.stats().dead_lettered == count).await;
    settled().await;
    (scene, running)
}

#[tokio::test]
async fn dead_letters_are_counted_by_reason() {
    let (scene, _running) = with_letters(0..250).await;
    let letters = scene.bus.dead_letters(&billing());
    let counts = letters.count().await.unwrap();
    let due = [
        ((FaultKind::Transient, "the till is closed".to_owned()), 125),
        ((FaultKind::Permanent, "no such order".to_owned()), 125),
    ];
    assert_eq!(counts, due.into());
    let all: Vec<_> = letters.all().try_collect().await.unwrap();
    assert_eq!(all.len(), 250);
    assert!(all.is_sorted_by_key(|letter| letter.id));
}

#[tokio::test]
async fn some_are_given_back_and_the_others_stay() {
    let (scene, _running) = with_letters(0..250).await;
    let letters = scene.bus.dead_letters(&billing());
    let some = Redrive::all().when(|letter| letter.fault.kind == FaultKind::Transient);
    let dry = letters.redrive(some.clone().dry_run()).await.unwrap();
    assert_eq!((dry.given_back, dry.left), (125, 125));
    assert!(scene.clerk.handled().is_empty());
    let few = letters.redrive(some.clone().at_most(5)).await.unwrap();
    assert_eq!(few.given_back, 5);
    until(|| scene.clerk.handled() == [0, 2, 4, 6, 8]).await;
    assert_eq!(letters.redrive(some).await.unwrap().given_back, 120);
    until(|| scene.clerk.handled().len() == 125).await;
    assert_eq!(letters.count().await.unwrap().len(), 1);
}

#[tokio::test]
async fn they_are_given_back_no_faster_than_asked() {
    let (scene, _running) = with_letters(0..4).await;
    let letters = scene.bus.dead_letters(&billing());
    let redriving = letters.redrive(Redrive::all().per_second(2));
    let (redriven, ()) = tokio::join!(redriving, async {
        for given in 1..=4 {
            until(|| scene.clerk.handled().len() == given).await;
            settled().await;
            assert_eq!(scene.clerk.handled().len(), given);
            scene.clock.advance(Duration::from_millis(500));
        }
    });
    assert_eq!(redriven.unwrap().given_back, 4);
}

#[tokio::test]
async fn one_is_given_back_mended() {
    let (scene, _running) = with_letters(0..1).await;
    let letters = scene.bus.dead_letters(&billing());
    let letter = letters.list(DeadLetterId::default(), 1).await.unwrap().remove(0);
    let mended = scene.bus.message(&placed(7)).unwrap();
    assert!(letters.give_back(letter.id, Some(mended)).await.unwrap());
    until(|| scene.clerk.handled() == [7]).await;
    assert!(!letters.discard(letter.id).await.unwrap());
}

#[tokio::test]
async fn old_ones_expire() {
    let (scene, running) = with_letters(0..3).await;
    scene.clock.advance(Duration::from_secs(100));
    scene.clerk.tell(9, [Then::FailForGood]);
    scene.publish([9]).await;
    until(|| running.stats().dead_lettered == 4).await;
    settled().await;
    let letters = scene.bus.dead_letters(&billing());
    assert_eq!(letters.expire(Duration::from_secs(50)).await.unwrap(), 3);
    let left: Vec<_> = letters.all().try_collect().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].message.decode::<crate::world::OrderEvent>().unwrap(), Some(placed(9)));
}

/// Where it is asked for, the later orders of a customer wait for the one that failed.
#[tokio::test]
async fn what_is_parked_behind_one_is_redriven_in_order() {
    let scene = Scene::new();
    scene.clerk.tell(1, [Then::FailForGood]);
    let set = |e: Endpoint| e.parking().concurrency(4);
    let running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    let topic = es_core::Topic::new("order.placed").unwrap();
    let of_ada = |order| scene.bus.message(&placed(order)).unwrap().with_key("ada");
    for order in 1..=5 {
        scene.bus.send(topic.clone(), vec![of_ada(order)]).await.unwrap();
    }
    until(|| running.stats().dead_lettered == 1).await;
    settled().await;
    assert!(scene.clerk.handled().is_empty());
    let letters = scene.bus.dead_letters(&billing());
    assert_eq!(letters.redrive(Redrive::all()).await.unwrap().given_back, 5);
    until(|| scene.clerk.handled() == [1, 2, 3, 4, 5]).await;
}
