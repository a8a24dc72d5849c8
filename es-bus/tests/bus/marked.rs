//! Messages that are handled once more because somebody wants it so.

use std::time::Duration;

use es_bus::{Endpoint, HandleBatch, HandleError, Received, cloudevents};
use es_core::{Address, ContentType, FaultKind, Message, Metadata, Name, Topic};

use crate::world::{OrderEvent, Scene, Then, billing, placed, until};

const HOUR: Duration = Duration::from_secs(3_600);

fn topic() -> Topic {
    Topic::new("order.placed").unwrap()
}

fn message(payload: &'static str) -> Message {
    Message::new("7", Name::from_static("order.placed"), ContentType::JSON, payload)
}

/// Also from a broker: whoever marked it has asked for it.
#[tokio::test]
async fn dedupe_does_not_hold_a_replay_back() {
    let scene = Scene::new();
    let running = scene.bus.subscribe(scene.endpoint(|e| e.dedupe(HOUR))).await.unwrap();
    let message = scene.bus.message(&placed(1)).unwrap();
    scene.bus.send(topic(), vec![message.clone()]).await.unwrap();
    until(|| running.stats().handled == 1).await;
    scene.bus.send(topic(), vec![message.clone(), message.replayed()]).await.unwrap();
    until(|| running.stats().handled == 2).await;
    assert_eq!((scene.clerk.handled(), running.stats().repeated), (vec![1, 1], 1));
}

#[tokio::test]
async fn a_replay_is_tried_once_and_becomes_no_dead_letter() {
    let scene = Scene::new();
    let ready = scene.endpoint(|e| e);
    for (then, kind) in [
        (Then::Fail, FaultKind::Transient),
        (Then::FailForGood, FaultKind::Permanent),
        (Then::Panic, FaultKind::Panic),
        (Then::Throttle(HOUR), FaultKind::Transient),
    ] {
        scene.clerk.tell(1, [then]);
        let message = scene.bus.message(&placed(1)).unwrap();
        let outcome = ready.replay(topic().into(), message).await;
        assert_eq!(outcome.unwrap_err().kind, kind);
    }
    assert_eq!(scene.clerk.tried(), [(1, 1); 4]);
    let unreadable = ready.replay(topic().into(), message("[")).await;
    assert_eq!(unreadable.unwrap_err().kind, FaultKind::Undecodable);
    assert!(scene.bus.dead_letters(&billing()).count().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_an_endpoint_does_not_want_is_not_replayed_to_it() {
    let scene = Scene::new();
    let ready = scene.endpoint(|e| e.filter(|message| message.id != "7"));
    assert_eq!(ready.replay(topic().into(), message(r#"{"order":1}"#)).await, Ok(false));
    let mut other = scene.bus.message(&placed(1)).unwrap();
    other.kind = Name::from_static("bell.rung");
    assert_eq!(ready.replay(topic().into(), other).await, Ok(false));
    let fainting = scene.endpoint(|e| e.filter(|_| panic!("the filter fainted")));
    let fault = fainting.replay(topic().into(), message("{}")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Panic);
    assert!(scene.clerk.tried().is_empty());
}

#[test]
fn an_endpoint_listens_to_its_patterns_and_its_queue() {
    let ready = Scene::new().endpoint(|e| e);
    let rung = Topic::new("bell.rung").unwrap();
    let mails = es_core::Group::new("mails").unwrap();
    let all = [topic().into(), rung.into(), billing().into(), mails.into()];
    assert_eq!(all.map(|to: Address| ready.listens_to(&to)), [true, false, true, false]);
}

struct OneByOne;

impl HandleBatch<OrderEvent> for OneByOne {
    async fn handle(&self, received: &[Received<OrderEvent>]) -> Vec<Result<(), HandleError>> {
        match received {
            [one] if one.is_replay() => vec![Ok(())],
            _ => Vec::new(),
        }
    }
}

#[tokio::test]
async fn a_handler_of_batches_gets_a_replay_alone() {
    let ready = Endpoint::new("billing").unwrap().handle_batch(10, HOUR, OneByOne);
    let outcome = ready.replay(topic().into(), message(r#"{"order":1}"#)).await;
    assert_eq!(outcome, Ok(true));
}

#[test]
fn the_mark_goes_with_a_cloudevent() {
    let marked = message("{}").with_metadata(Metadata::new().with("region", "eu")).replayed();
    assert_eq!(cloudevents::to_attributes(&marked)["replay"], "true");
    let back = cloudevents::from_json(&cloudevents::to_json(&marked)).unwrap();
    assert_eq!((back.is_replay(), &back), (true, &marked));
    for (replay, is_one) in [("true", true), ("\"true\"", true), ("false", false)] {
        let json = format!(
            r#"{{"specversion":"1.0","id":"7","source":"x","type":"y","replay":{replay}}}"#
        );
        assert_eq!(cloudevents::from_json(json.as_bytes()).unwrap().is_replay(), is_one);
    }
}
