//! Asking, and being answered.

use std::time::Duration;

use es_bus::{Endpoint, EventBus, Received, RequestError};
use es_core::{Event, Group, Topic};
use serde::{Deserialize, Serialize};

use crate::world::{OrderEvent, Scene, placed, settled};

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "order.priced")]
struct Priced {
    cents: u64,
}

fn pricing(bus: &EventBus) -> es_bus::Ready {
    let bus = bus.clone();
    let endpoint = Endpoint::new("pricing").unwrap().to("order.placed").unwrap();
    endpoint.handle(move |placed: Received<OrderEvent>| {
        let bus = bus.clone();
        async move {
            let answer = Priced { cents: placed.event.order() * 100 };
            placed.reply(&bus, &answer).await?;
            Ok(())
        }
    })
}

#[tokio::test]
async fn many_who_ask_get_their_own_answers() {
    let bus = EventBus::for_testing();
    let _running = bus.subscribe(pricing(&bus)).await.unwrap();
    let ask = async |order| {
        let request = bus.message(&placed(order)).unwrap();
        let topic = Topic::new("order.placed").unwrap();
        bus.request::<Priced>(topic, request, Duration::from_secs(60)).await.unwrap()
    };
    let answers = futures_util::future::join_all((0..100).map(ask)).await;
    let due: Vec<_> = (0..100).map(|order| Priced { cents: order * 100 }).collect();
    assert_eq!(answers, due);
}

#[tokio::test]
async fn without_an_answer_the_asker_waits_as_long_as_it_said() {
    let scene = Scene::new();
    let request = scene.bus.message(&placed(1)).unwrap();
    let nobody = Group::new("nobody").unwrap();
    let asking = scene.bus.request::<Priced>(nobody, request, Duration::from_secs(5));
    let (answer, ()) = tokio::join!(asking, async {
        settled().await;
        scene.clock.advance(Duration::from_secs(5));
    });
    let error = answer.unwrap_err();
    assert!(matches!(error, RequestError::NoAnswer { .. }), "{error}");
}

#[tokio::test]
async fn an_answer_of_another_type_is_named() {
    let bus = EventBus::for_testing();
    let _running = bus.subscribe(pricing(&bus)).await.unwrap();
    let request = bus.message(&placed(1)).unwrap();
    let topic = Topic::new("order.placed").unwrap();
    let answer = bus.request::<OrderEvent>(topic, request, Duration::from_secs(60)).await;
    let error = answer.unwrap_err();
    assert!(
        matches!(&error, RequestError::Unexpected { kind } if kind == "order.priced"),
        "{error}"
    );
}

/// A message that nobody waits for is no request, and the handler is told so.
#[tokio::test]
async fn who_did_not_ask_gets_no_answer() {
    let bus = EventBus::for_testing();
    let (told, mut tell) = tokio::sync::mpsc::channel(1);
    let inner = bus.clone();
    let endpoint = Endpoint::new("pricing").unwrap().to("order.placed").unwrap();
    let endpoint = endpoint.handle(move |placed: Received<OrderEvent>| {
        let (bus, told) = (inner.clone(), told.clone());
        async move {
            told.send(placed.reply(&bus, &Priced { cents: 1 }).await?).await?;
            Ok(())
        }
    });
    let _running = bus.subscribe(endpoint).await.unwrap();
    bus.publish(&placed(1)).await.unwrap();
    assert_eq!(tell.recv().await, Some(false));
}
