//! Whatever of the program's own code panics, it is a failure of one message.

use std::time::Duration;

use es_bus::{Endpoint, Ready, Received, RetryPolicy};
use es_core::{Event, FaultKind, Message, Topic};
use serde::{Deserialize, Deserializer, Serialize};

use crate::world::{OrderEvent, Scene, billing, placed, settled, until};

fn endpoint() -> Endpoint {
    let endpoint = Endpoint::new("billing").unwrap().to("order.*").unwrap();
    endpoint.concurrency(2).retry(RetryPolicy::new(3).jitter(0.0))
}

fn is_bad(message: &Message) -> bool {
    message.payload.windows(2).any(|two| two == b"13")
}

/// Handles what is well, and buries what is not, with these orders for 1 and 13.
async fn assert_buries(ready: Ready) {
    let scene = Scene::new();
    let running = scene.bus.subscribe(ready).await.unwrap();
    for order in [13, 13, 13, 1] {
        let message = scene.bus.message(&placed(order)).unwrap();
        scene.bus.send(Topic::new("order.placed").unwrap(), vec![message]).await.unwrap();
    }
    until(|| running.stats().handled == 1).await;
    for _ in 0..3 {
        settled().await;
        scene.clock.advance(Duration::from_secs(60));
    }
    until(|| running.stats().dead_lettered == 3).await;
    let letters = scene.bus.dead_letters(&billing()).list(Default::default(), 9).await.unwrap();
    assert!(letters.iter().all(|letter| letter.fault.kind == FaultKind::Panic), "{letters:?}");
    assert!(running.drain().await.is_clean());
}

/// A function may panic before it returns its future.
#[tokio::test]
async fn a_handler_may_panic_at_any_place() {
    assert_buries(endpoint().handle(|received: Received<OrderEvent>| {
        assert_ne!(received.event.order(), 13, "bad luck");
        async { Ok(()) }
    }))
    .await;
    assert_buries(endpoint().handle_message(|received: Received<()>| {
        assert!(!is_bad(&received.message), "bad luck");
        async { Ok(()) }
    }))
    .await;
}

#[tokio::test]
async fn a_filter_or_a_key_may_panic() {
    let handle = |endpoint: Endpoint| endpoint.handle(|_: Received<OrderEvent>| async { Ok(()) });
    let look = |message: &Message| assert!(!is_bad(message), "bad luck");
    assert_buries(handle(endpoint().filter(move |message| {
        look(message);
        true
    })))
    .await;
    assert_buries(handle(endpoint().dedupe_by(Duration::MAX, move |message| {
        look(message);
        message.id.clone()
    })))
    .await;
}

#[derive(Debug, Serialize, Event)]
#[event(name = "order.placed")]
struct Picky {
    order: u64,
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Plain {
            order: u64,
        }
        let Plain { order } = Plain::deserialize(deserializer)?;
        assert_ne!(order, 13, "bad luck");
        Ok(Self { order })
    }
}

#[tokio::test]
async fn what_reads_an_event_may_panic() {
    assert_buries(endpoint().handle(|_: Received<Picky>| async { Ok(()) })).await;
}
