//! What stands around a handler.

use std::{sync::Arc, time::Duration};

use es_bus::{Endpoint, HandleBatch, HandleError, Handled, Handling, Ready, Received, RetryPolicy};
use es_core::{FaultKind, Topic, World};
use parking_lot::Mutex;
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt,
    buffer::BufferLayer,
    layer::layer_fn,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    timeout::TimeoutLayer,
    util::BoxCloneSyncService,
};

use crate::world::{OrderEvent, Scene, Then, billing, until};

type Boxed = BoxCloneSyncService<Handling, Handled, BoxError>;

/// Notes its name and how many messages pass, and how many come back unhandled.
fn note<S>(
    name: &'static str,
    noted: &Arc<Mutex<Vec<(&'static str, usize)>>>,
) -> impl Fn(S) -> Boxed + use<S>
where
    S: Service<Handling, Response = Handled, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    let noted = Arc::clone(noted);
    move |inner: S| {
        let (there, back) = (Arc::clone(&noted), Arc::clone(&noted));
        let service = inner
            .map_request(move |handling: Handling| {
                there.lock().push((name, handling.messages().len()));
                handling
            })
            .map_response(move |handled: Handled| {
                back.lock().push((name, handled.failures()));
                handled
            })
            .map_err(Into::into);
        BoxCloneSyncService::new(service)
    }
}

/// Refuses each message, with this.
fn refuse(with: fn() -> BoxError) -> impl Fn(es_bus::Handler) -> Boxed {
    move |_| {
        let refuses = tower::service_fn(move |_: Handling| std::future::ready(Err(with())));
        BoxCloneSyncService::new(refuses)
    }
}

fn quick(endpoint: Endpoint) -> Endpoint {
    endpoint.retry(RetryPolicy::new(1))
}

/// How the one dead letter failed.
async fn fault(scene: &Scene, endpoint: Ready) -> (FaultKind, String) {
    let running = scene.bus.subscribe(endpoint).await.unwrap();
    scene.publish(0..1).await;
    while running.stats().dead_lettered == 0 {
        // Where time is paused, it goes on while all wait.
        World::real().sleep(Duration::from_millis(1)).await;
    }
    let letters = scene.bus.dead_letters(&billing()).count().await.unwrap();
    letters.into_keys().next().unwrap()
}

#[tokio::test]
async fn the_last_layer_is_the_outermost_and_sees_what_comes_back() {
    let scene = Scene::new();
    let noted = Arc::default();
    let endpoint = scene.endpoint(quick);
    let endpoint = endpoint.layer(layer_fn(note("inner", &noted)));
    let endpoint = endpoint.layer(layer_fn(note("outer", &noted)));
    scene.clerk.tell(0, [Then::FailForGood]);
    let (kind, reason) = fault(&scene, endpoint).await;
    assert_eq!((kind, reason.as_str()), (FaultKind::Permanent, "no such order"));
    assert_eq!(*noted.lock(), [("outer", 1), ("inner", 1), ("inner", 1), ("outer", 1)]);
}

#[tokio::test]
async fn a_layer_says_what_its_refusal_means() {
    let scene = Scene::new();
    let endpoint = scene.endpoint(quick);
    let refusing = refuse(|| HandleError::permanent("no such tenant").boxed());
    let found = fault(&scene, endpoint.layer(layer_fn(refusing))).await;
    assert_eq!(found, (FaultKind::Permanent, "no such tenant".to_owned()));

    let scene = Scene::new();
    let refusing = refuse(|| "the till is closed".into());
    let found = fault(&scene, scene.endpoint(quick).layer(layer_fn(refusing))).await;
    assert_eq!(found, (FaultKind::Transient, "the till is closed".to_owned()));
    assert!(scene.clerk.tried().is_empty());

    let scene = Scene::new();
    let refusing = refuse(|| panic!("the layer fainted"));
    let found = fault(&scene, scene.endpoint(quick).layer(layer_fn(refusing))).await;
    assert_eq!(found, (FaultKind::Panic, "the layer fainted".to_owned()));
}

#[tokio::test]
async fn a_layer_that_wants_to_be_left_alone_costs_no_try() {
    let scene = Scene::new();
    let wait = || HandleError::throttled(Duration::from_secs(60), "too fast").boxed();
    let running = scene.bus.subscribe(scene.endpoint(quick).layer(layer_fn(refuse(wait)))).await;
    let running = running.unwrap();
    scene.publish(0..1).await;
    for again in 1..=3 {
        until(|| running.stats().retried == again).await;
        scene.clock.advance(Duration::from_secs(60));
    }
    assert_eq!(running.stats().dead_lettered, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_too_long_has_failed() {
    let scene = Scene::new();
    let endpoint = quick(Endpoint::new("billing").unwrap().to("order.*").unwrap());
    let endless = endpoint.handle(|_: Received<OrderEvent>| std::future::pending());
    let (kind, reason) =
        fault(&scene, endless.layer(TimeoutLayer::new(Duration::from_secs(2)))).await;
    assert_eq!((kind, reason.as_str()), (FaultKind::Transient, "request timed out"));
}

#[tokio::test]
async fn layers_of_tower_stand_around_a_handler_and_its_replays() {
    let scene = Scene::new();
    let limits = ServiceBuilder::new()
        .layer(BufferLayer::new(8))
        .layer(RateLimitLayer::new(1_000, Duration::from_secs(1)))
        .layer(ConcurrencyLimitLayer::new(2));
    let noted = Arc::default();
    let endpoint = scene.endpoint(quick).layer(limits).layer(layer_fn(note("outer", &noted)));
    let running = scene.bus.subscribe(endpoint.clone()).await.unwrap();
    scene.publish(0..20).await;
    until(|| running.stats().handled == 20).await;
    assert_eq!(noted.lock().len(), 40);
    let message = scene.bus.message(&crate::world::placed(7)).unwrap();
    let topic = Topic::new("order.placed").unwrap();
    assert!(endpoint.replay(topic.into(), message).await.unwrap());
    assert_eq!(noted.lock().len(), 42);
}

struct Ledger;

impl HandleBatch<OrderEvent> for Ledger {
    async fn handle(&self, received: &[Received<OrderEvent>]) -> Vec<Result<(), HandleError>> {
        let odd = |received: &Received<OrderEvent>| received.event.order() % 2 == 1;
        let answer = |one| if odd(one) { Err(HandleError::permanent("odd")) } else { Ok(()) };
        received.iter().map(answer).collect()
    }
}

fn batches_of_four() -> Ready {
    let endpoint = quick(Endpoint::new("billing").unwrap().to("order.*").unwrap());
    endpoint.concurrency(1).handle_batch(4, Duration::from_secs(60), Ledger)
}

#[tokio::test]
async fn a_batch_that_a_layer_refuses_has_failed_as_a_whole() {
    let scene = Scene::new();
    let refusing = refuse(|| "the till is closed".into());
    let batches = batches_of_four().layer(layer_fn(refusing));
    let running = scene.bus.subscribe(batches).await.unwrap();
    scene.publish(0..4).await;
    until(|| running.stats().dead_lettered + running.stats().handled == 4).await;
    assert_eq!(running.stats().dead_lettered, 4);
    assert!(running.drain().await.is_clean());
}

#[tokio::test]
async fn a_batch_passes_the_layers_together() {
    let scene = Scene::new();
    let noted = Arc::default();
    let batches = batches_of_four().layer(layer_fn(note("outer", &noted)));
    let running = scene.bus.subscribe(batches).await.unwrap();
    scene.publish(0..4).await;
    until(|| running.stats().handled == 2).await;
    assert_eq!(*noted.lock(), [("outer", 4), ("outer", 2)]);
    assert_eq!(running.stats().dead_lettered, 2);
}
