//! What is published is handled, by whom it is for.

use std::{sync::Arc, time::Duration};

use es_bus::{BusError, Endpoint, EventBus, HandleError, Received};
use es_core::{ContentType, Event, EventType, FaultKind, Message, Name, Topic};
use es_testkit::TestClock;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::world::{OrderEvent, Scene, billing, placed, settled, until};

#[tokio::test]
async fn an_event_goes_to_the_topic_of_its_type() {
    let scene = Scene::new();
    let running = scene.bus.subscribe(scene.endpoint(|endpoint| endpoint)).await.unwrap();
    scene.publish([1, 2]).await;
    scene.bus.publish(&OrderEvent::Paid { order: 3 }).await.unwrap();
    until(|| scene.clerk.handled().len() == 3).await;
    let placed = scene.broker.history(&Topic::new("order.placed").unwrap());
    assert_eq!(placed.len(), 2);
    assert_eq!(running.stats().handled, 3);
    assert!(running.drain().await.is_clean());
}

#[tokio::test]
async fn a_job_goes_to_one_group_also_before_it_listens() {
    let scene = Scene::new();
    scene.bus.enqueue(&billing(), &placed(1)).await.unwrap();
    let running = scene.bus.subscribe(scene.endpoint(|endpoint| endpoint)).await.unwrap();
    until(|| scene.clerk.handled() == [1]).await;
    running.drain().await;
}

/// The derive would refuse this name.
#[derive(Serialize, Deserialize)]
struct Unspeakable;

impl Event for Unspeakable {
    const TYPES: &'static [EventType] = &[EventType::new("order placed!")];

    fn index(&self) -> usize {
        0
    }
}

#[tokio::test]
async fn a_type_that_is_no_topic_can_only_be_sent_somewhere() {
    let bus = EventBus::for_testing();
    let refused = bus.publish(&Unspeakable).await.unwrap_err();
    assert!(matches!(refused, BusError::Name(_)), "{refused}");
    bus.enqueue(&billing(), &Unspeakable).await.unwrap();
}

/// Types that a handler does not name are not for it, and no failure.
#[tokio::test]
async fn what_the_handler_does_not_name_passes_it_by() {
    let scene = Scene::new();
    let running = scene.bus.subscribe(scene.endpoint(|endpoint| endpoint)).await.unwrap();
    let other = Name::from_static("order.refunded");
    let refunded = Message::new("1", other, ContentType::JSON, "{}");
    scene.bus.send(Topic::new("order.refunded").unwrap(), vec![refunded]).await.unwrap();
    scene.publish([1]).await;
    until(|| scene.clerk.handled() == [1]).await;
    until(|| running.stats().passed == 1).await;
    assert!(scene.clerk.tried() == [(1, 1)]);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_dead_letter_at_once() {
    let scene = Scene::new();
    let running = scene.bus.subscribe(scene.endpoint(|endpoint| endpoint)).await.unwrap();
    let spoilt =
        Message::new("1", Name::from_static("order.placed"), ContentType::JSON, "{\"order\":");
    scene.bus.send(Topic::new("order.placed").unwrap(), vec![spoilt.clone()]).await.unwrap();
    scene.publish([1]).await;
    until(|| running.stats().dead_lettered == 1 && scene.clerk.handled() == [1]).await;
    let letters = scene.bus.dead_letters(&billing()).list(Default::default(), 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].fault.kind, &letters[0].message), (FaultKind::Undecodable, &spoilt));
    assert!(letters[0].fault.reason.contains("EOF"), "{}", letters[0].fault);
}

#[tokio::test]
async fn what_is_filtered_out_counts_as_handled() {
    let scene = Scene::new();
    let wants = |message: &Message| message.kind == "order.paid";
    let running = scene.bus.subscribe(scene.endpoint(|e| e.filter(wants))).await.unwrap();
    scene.publish([1]).await;
    scene.bus.publish(&OrderEvent::Paid { order: 2 }).await.unwrap();
    until(|| scene.clerk.handled() == [2]).await;
    assert_eq!(running.stats().passed, 1);
}

#[tokio::test]
async fn what_nobody_wants_to_hear_of_any_more_is_not_handled() {
    let scene = Scene::new();
    let running = scene.bus.subscribe(scene.endpoint(|endpoint| endpoint)).await.unwrap();
    let soon = TestClock::START + Duration::from_secs(1);
    let stale = scene.bus.message(&placed(1)).unwrap().expiring(TestClock::START);
    let fresh = scene.bus.message(&placed(2)).unwrap().expiring(soon);
    let topic = Topic::new("order.placed").unwrap();
    scene.bus.send(topic, vec![stale, fresh]).await.unwrap();
    until(|| scene.clerk.handled() == [2]).await;
    until(|| running.stats().expired == 1).await;
}

#[tokio::test]
async fn what_was_handled_of_late_is_not_handled_again() {
    let scene = Scene::new();
    let hour = Duration::from_secs(3_600);
    let running = scene.bus.subscribe(scene.endpoint(|e| e.dedupe(hour))).await.unwrap();
    let message = scene.bus.message(&placed(1)).unwrap();
    let topic = Topic::new("order.placed").unwrap();
    for repeated in 0..3 {
        scene.bus.send(topic.clone(), vec![message.clone()]).await.unwrap();
        until(|| running.stats().repeated == repeated && running.stats().in_hand == 0).await;
    }
    assert_eq!(scene.clerk.handled(), [1]);
    scene.clock.advance(hour);
    scene.bus.send(topic, vec![message]).await.unwrap();
    until(|| scene.clerk.handled() == [1, 1]).await;
}

/// Two at once are handled once: the other one waits for what becomes of the first.
#[tokio::test]
async fn a_repetition_waits_for_what_becomes_of_the_first() {
    for goes_well in [true, false] {
        let scene = Scene::new();
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (waits, begins) = (Arc::clone(&gate), Arc::clone(&begun));
        let endpoint = Endpoint::new("billing").unwrap().to("order.*").unwrap();
        let endpoint = endpoint.dedupe(Duration::from_secs(3_600)).outage_after(0);
        let endpoint = endpoint.handle(move |_: Received<OrderEvent>| {
            let (waits, begins) = (Arc::clone(&waits), Arc::clone(&begins));
            async move {
                begins.add_permits(1);
                waits.acquire().await?.forget();
                if goes_well { Ok(()) } else { Err(HandleError::permanent("no such order")) }
            }
        });
        let running = scene.bus.subscribe(endpoint).await.unwrap();
        let message = scene.bus.message(&placed(1)).unwrap();
        let twice = vec![message.clone(), message];
        scene.bus.send(Topic::new("order.placed").unwrap(), twice).await.unwrap();
        until(|| begun.available_permits() > 0).await;
        settled().await;
        assert_eq!(begun.available_permits(), 1, "both are in hand");
        gate.add_permits(2);
        settled().await;
        scene.clock.advance(Duration::from_secs(2));
        settled().await;
        let begun = begun.available_permits();
        if goes_well {
            assert_eq!((begun, running.stats().handled, running.stats().repeated), (1, 1, 1));
        } else {
            assert_eq!((begun, running.stats().dead_lettered), (2, 2));
        }
    }
}

/// What failed was not handled, and is not taken for a repetition.
#[tokio::test]
async fn what_failed_is_handled_again_in_spite_of_its_id() {
    let scene = Scene::new();
    scene.clerk.tell(1, [crate::world::Then::Fail]);
    let set = |e: Endpoint| e.dedupe(Duration::from_secs(3_600));
    let _running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    scene.publish([1]).await;
    until(|| scene.clerk.tried() == [(1, 1)]).await;
    settled().await;
    scene.clock.advance(Duration::from_secs(2));
    until(|| scene.clerk.handled() == [1]).await;
}

/// A message that is published while another one is handled says that it follows from it.
#[tokio::test]
async fn what_is_published_by_a_handler_follows_from_what_it_handles() {
    let bus = EventBus::for_testing().source("billing-service");
    let (mailed, inner) = (Arc::new(Mutex::new(Vec::new())), bus.clone());
    let billing = Endpoint::new("billing").unwrap().to("order.placed").unwrap();
    let billing = billing.handle(move |placed: Received<OrderEvent>| {
        let bus = inner.clone();
        async move {
            Ok::<_, HandleError>(
                bus.publish(&OrderEvent::Paid { order: placed.event.order() }).await?,
            )
        }
    });
    let seen = Arc::clone(&mailed);
    let mails = Endpoint::new("mails").unwrap().to("order.paid").unwrap();
    let mails = mails.handle_message(move |paid: Received<()>| {
        seen.lock().push(paid.message);
        async { Ok(()) }
    });
    let _running = [bus.subscribe(billing).await.unwrap(), bus.subscribe(mails).await.unwrap()];
    let mut first = bus.message(&placed(7)).unwrap();
    first.metadata = first.metadata.correlation_id("the visit").traceparent("00-a-b-01");
    bus.send(Topic::new("order.placed").unwrap(), vec![first.clone()]).await.unwrap();
    let second = bus.message(&placed(8)).unwrap();
    bus.send(Topic::new("order.placed").unwrap(), vec![second.clone()]).await.unwrap();
    until(|| mailed.lock().len() == 2).await;
    let mailed = mailed.lock();
    let due = [("the visit", &first.id, Some("00-a-b-01")), (&*second.id, &second.id, None)];
    for (message, (correlation, cause, trace)) in mailed.iter().zip(due) {
        let fields = message.metadata.fields();
        assert_eq!(fields.correlation_id.as_deref(), Some(correlation));
        assert_eq!(fields.causation_id.as_ref(), Some(cause));
        assert_eq!(fields.traceparent.as_deref(), trace);
        assert_eq!(fields.source.as_deref(), Some("billing-service"));
    }
}
