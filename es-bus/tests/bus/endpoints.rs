//! All endpoints of a program together.

use std::time::Duration;

use es_bus::{BusError, Endpoint, Endpoints, EventBus, Health, Ready, Received};
use es_core::{Event, StoreErrorKind};
use tokio::sync::watch;

use crate::{
    health::Away,
    world::{OrderEvent, Scene, settled, until},
};

fn audit() -> Ready {
    let audit = Endpoint::new("audit").unwrap().to("**").unwrap();
    audit.handle_message(|_: Received<()>| std::future::ready(Ok(())))
}

#[tokio::test]
async fn endpoints_are_listed_and_start_and_end_together() {
    let scene = Scene::new();
    let endpoints = Endpoints::new().with(scene.endpoint(|e| e)).with(audit());
    let listed: Vec<_> = endpoints
        .iter()
        .map(|one| (one.group().to_string(), one.patterns()[0].to_string(), one.types()))
        .collect();
    assert_eq!(
        listed,
        [
            ("billing".into(), "order.*".into(), Some(OrderEvent::TYPES)),
            ("audit".into(), "**".into(), None),
        ]
    );
    let running = endpoints.subscribe(&scene.bus).await.unwrap();
    scene.publish(0..5).await;
    until(|| running.iter().all(|one| one.stats().handled == 5)).await;
    assert_eq!(running.health().await, Health::Healthy);
    assert!(running.drain().await.is_clean());
    scene.publish(5..6).await;
    settled().await;
    assert_eq!(scene.clerk.handled().len(), 5);
}

#[tokio::test]
async fn two_endpoints_of_one_group_are_refused() {
    let scene = Scene::new();
    let twice = Endpoints::new().with(scene.endpoint(|e| e)).with(audit()).with(audit());
    let error = twice.subscribe(&scene.bus).await.unwrap_err();
    assert!(matches!(&error, BusError::GroupTwice { group } if group.as_str() == "audit"));
    scene.publish(0..1).await;
    settled().await;
    assert!(scene.clerk.tried().is_empty());
}

/// The first has started when the broker goes.
#[tokio::test]
async fn if_one_cannot_start_none_goes_on() {
    let scene = Scene::new();
    let (is_away, _) = watch::channel(false);
    let away = Away::of(scene.broker.clone(), is_away);
    away.goes_after(1);
    let bus = EventBus::new(away);
    let endpoints = Endpoints::new().with(scene.endpoint(|e| e)).with(audit());
    let error = endpoints.subscribe(&bus).await.unwrap_err();
    let is_away =
        matches!(&error, BusError::Broker(error) if error.kind() == StoreErrorKind::Unavailable);
    assert!(is_away, "{error}");
    scene.publish(0..1).await;
    settled().await;
    assert!(scene.clerk.tried().is_empty());
}

#[tokio::test]
async fn the_health_of_all_is_that_of_the_worst() {
    let scene = Scene::new();
    let stuck = Endpoint::new("stuck").unwrap().to("order.*").unwrap();
    let stuck = stuck.handle(|_: Received<OrderEvent>| std::future::pending());
    let endpoints = Endpoints::new().with(scene.endpoint(|e| e)).with(stuck).with(audit());
    let running = endpoints.subscribe(&scene.bus).await.unwrap();
    scene.publish(0..1).await;
    until(|| running.iter().any(|one| one.stats().handled == 1)).await;
    settled().await;
    scene.clock.advance(Duration::from_secs(301));
    let health = running.health().await;
    assert!(matches!(&health, Health::Unhealthy(why) if why.starts_with("stuck: ")), "{health}");
}
