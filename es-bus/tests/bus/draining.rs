//! An endpoint ends what it has begun.

use std::{sync::Arc, time::Duration};

use es_bus::{Endpoint, Received};
use tokio::sync::Semaphore;

use crate::world::{OrderEvent, Scene, settled, until};

/// An endpoint of which each handler waits for a permit.
fn gated(gate: &Arc<Semaphore>, begun: &Arc<Semaphore>) -> es_bus::Ready {
    let (gate, begun) = (Arc::clone(gate), Arc::clone(begun));
    let endpoint = Endpoint::new("billing").unwrap().to("order.*").unwrap();
    let endpoint = endpoint.concurrency(4).drain_within(Duration::from_secs(10));
    endpoint.handle(move |_: Received<OrderEvent>| {
        let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
        async move {
            begun.add_permits(1);
            gate.acquire().await?.forget();
            Ok(())
        }
    })
}

#[tokio::test]
async fn draining_ends_what_is_in_hand_and_begins_nothing() {
    let scene = Scene::new();
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let running = scene.bus.subscribe(gated(&gate, &begun)).await.unwrap();
    scene.publish(0..10).await;
    until(|| begun.available_permits() == 4).await;
    let draining = scene.bus.clone();
    let (drained, ()) = tokio::join!(running.drain(), async {
        settled().await;
        gate.add_permits(100);
    });
    assert!(drained.is_clean());
    assert_eq!(begun.available_permits(), 4, "nothing more was begun");
    // The others are there for whoever comes next, each at its first try.
    let running = draining.subscribe(scene.endpoint(|endpoint| endpoint)).await.unwrap();
    until(|| scene.clerk.handled().len() == 6).await;
    settled().await;
    assert!(scene.clerk.tried().iter().all(|(_, attempt)| *attempt == 1));
    assert!(running.drain().await.is_clean());
}

#[tokio::test]
async fn what_takes_too_long_is_abandoned_and_comes_again() {
    let scene = Scene::new();
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let running = scene.bus.subscribe(gated(&gate, &begun)).await.unwrap();
    scene.publish(0..3).await;
    until(|| begun.available_permits() == 3).await;
    let (drained, ()) = tokio::join!(running.drain(), async {
        settled().await;
        scene.clock.advance(Duration::from_secs(10));
    });
    assert_eq!(drained.abandoned, 3);
    let _running = scene.bus.subscribe(scene.endpoint(|endpoint| endpoint)).await.unwrap();
    until(|| scene.clerk.handled().len() == 3).await;
    assert!(scene.clerk.tried().iter().all(|(_, attempt)| *attempt == 2));
}

#[tokio::test]
async fn dropping_an_endpoint_loses_nothing() {
    let scene = Scene::new();
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let running = scene.bus.subscribe(gated(&gate, &begun)).await.unwrap();
    scene.publish(0..3).await;
    until(|| begun.available_permits() == 3).await;
    drop(running);
    let _running = scene.bus.subscribe(scene.endpoint(|endpoint| endpoint)).await.unwrap();
    until(|| scene.clerk.handled().len() == 3).await;
}
