use std::pin::pin;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{BoxFuture, poll_immediate};
use tokio::{sync::watch, task::yield_now};

use super::*;
use crate::{Clock, ContentType};

type Deliveries = BoxStream<'static, Result<Delivery, StoreError>>;

const TOPIC: Name = Name::from_static("orders");
const GROUP: Name = Name::from_static("billing");

/// A clock that is moved by hand.
#[derive(Debug, Clone)]
struct Hand(watch::Sender<DateTime<Utc>>);

impl Hand {
    fn advance(&self, seconds: i64) {
        self.0.send_modify(|now| *now += TimeDelta::seconds(seconds));
    }
}

impl Clock for Hand {
    fn now(&self) -> DateTime<Utc> {
        *self.0.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (mut time, due) = (self.0.subscribe(), self.now() + duration);
        Box::pin(async move {
            let _ = time.wait_for(|now| *now >= due).await;
        })
    }
}

fn message(id: impl ToString) -> Message {
    Message::new(id.to_string(), ContentType::JSON, "{}")
}

fn join(broker: &MemoryBroker) -> Deliveries {
    broker.consume(Subscription::new(TOPIC, GROUP))
}

async fn publish(broker: &MemoryBroker, ids: impl IntoIterator<Item = u32>) {
    broker.publish(&TOPIC, ids.into_iter().map(message).collect()).await.unwrap();
}

async fn next(deliveries: &mut Deliveries) -> Delivery {
    deliveries.next().await.unwrap().unwrap()
}

/// Whether nothing comes once every other task has had its turn.
async fn is_idle(deliveries: &mut Deliveries) -> bool {
    yield_now().await;
    poll_immediate(deliveries.next()).await.is_none()
}

#[tokio::test]
async fn each_group_gets_every_message_in_order() {
    let broker = MemoryBroker::new();
    let mut billing = join(&broker);
    let shipping = Name::from_static("shipping");
    let mut shipping = broker.consume(Subscription::new(TOPIC, shipping));
    publish(&broker, [1, 2]).await;
    for group in [&mut billing, &mut shipping] {
        for id in ["1", "2"] {
            let delivery = next(group).await;
            assert_eq!((delivery.message.id.as_str(), delivery.attempt), (id, 1));
            delivery.ack().await.unwrap();
        }
        assert!(is_idle(group).await);
    }
}

#[tokio::test]
async fn each_message_goes_to_one_member_of_a_group() {
    let broker = MemoryBroker::new();
    let (mut one, mut other) = (join(&broker), join(&broker));
    publish(&broker, [1, 2]).await;
    let (first, second) = (next(&mut one).await, next(&mut other).await);
    assert_eq!((first.message.id.as_str(), second.message.id.as_str()), ("1", "2"));
    assert!(is_idle(&mut one).await && is_idle(&mut other).await);
}

#[tokio::test]
async fn a_waiting_member_gets_the_message_while_another_looks_away() {
    let broker = MemoryBroker::new();
    let (mut away, mut here) = (join(&broker), join(&broker));
    let mut looks_away = pin!(away.next());
    assert!(poll_immediate(&mut looks_away).await.is_none());
    let mut waits = pin!(here.next());
    assert!(poll_immediate(&mut waits).await.is_none());
    publish(&broker, [1]).await;
    let delivery = poll_immediate(waits).await.expect("it was woken").unwrap().unwrap();
    assert_eq!(delivery.message.id, "1");
}

#[tokio::test]
async fn a_group_does_not_see_what_was_published_before_it() {
    let broker = MemoryBroker::new();
    publish(&broker, [1]).await;
    let mut late = join(&broker);
    publish(&broker, [2]).await;
    assert_eq!(next(&mut late).await.message.id, "2");
}

#[tokio::test]
async fn a_group_keeps_its_messages_while_it_has_no_member() {
    let broker = MemoryBroker::new();
    drop(join(&broker));
    publish(&broker, [1]).await;
    assert_eq!(next(&mut join(&broker)).await.message.id, "1");
}

#[tokio::test]
async fn dropped_deliveries_come_again_first_and_in_order() {
    let broker = MemoryBroker::new();
    let mut deliveries = join(&broker);
    publish(&broker, [1, 2, 3]).await;
    let (first, second) = (next(&mut deliveries).await, next(&mut deliveries).await);
    drop((first, second));
    for (id, attempt) in [("1", 2), ("2", 2), ("3", 1)] {
        let delivery = next(&mut deliveries).await;
        assert_eq!((delivery.message.id.as_str(), delivery.attempt), (id, attempt));
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
async fn an_ack_that_is_never_polled_settles_nothing() {
    let broker = MemoryBroker::new();
    let mut deliveries = join(&broker);
    publish(&broker, [1]).await;
    drop(next(&mut deliveries).await.ack());
    assert_eq!(next(&mut deliveries).await.attempt, 2);
}

#[tokio::test]
async fn a_retry_waits_on_the_clock() {
    let clock = Hand(watch::Sender::new(DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::in_world(World::real().with_clock(clock.clone()));
    let mut deliveries = join(&broker);
    publish(&broker, [1, 2]).await;
    next(&mut deliveries).await.retry(Duration::from_secs(10)).await.unwrap();
    next(&mut deliveries).await.ack().await.unwrap();

    clock.advance(9);
    assert!(is_idle(&mut deliveries).await);
    clock.advance(1);
    let again = next(&mut deliveries).await;
    assert_eq!((again.message.id.as_str(), again.attempt), ("1", 2));
}

#[tokio::test]
async fn a_dead_letter_is_kept_apart_with_its_reason() {
    let broker = MemoryBroker::new();
    let mut deliveries = join(&broker);
    publish(&broker, [1]).await;
    next(&mut deliveries).await.dead_letter("no such order").await.unwrap();
    assert!(is_idle(&mut deliveries).await);
    let dead = broker.dead_letters(&TOPIC, &GROUP);
    assert_eq!(dead, [(message(1), String::from("no such order"))]);
}

#[tokio::test]
async fn a_dead_letter_without_room_comes_again() {
    let broker = MemoryBroker::new();
    let mut deliveries = join(&broker);
    for id in 0..10_000 {
        publish(&broker, [id]).await;
        next(&mut deliveries).await.dead_letter("spoilt").await.unwrap();
    }
    publish(&broker, [10_000]).await;
    let error = next(&mut deliveries).await.dead_letter("spoilt").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert_eq!(next(&mut deliveries).await.attempt, 2);
}

#[tokio::test]
async fn publish_waits_while_a_group_is_full() {
    let broker = MemoryBroker::new();
    let mut deliveries = join(&broker);
    publish(&broker, 0..10_000).await;
    let (topic, messages) = (TOPIC, vec![message("one more")]);
    let mut one_more = pin!(broker.publish(&topic, messages));
    // Yields first, because a task that did much may be told to wait for that alone.
    yield_now().await;
    assert!(poll_immediate(&mut one_more).await.is_none());
    let delivery = next(&mut deliveries).await;
    assert!(poll_immediate(&mut one_more).await.is_none(), "in hand is not settled");
    delivery.ack().await.unwrap();
    one_more.await.unwrap();
}

#[tokio::test]
async fn a_message_waits_for_the_earlier_one_of_its_key() {
    let broker = MemoryBroker::new();
    let mut deliveries = join(&broker);
    let messages = [("1", "ada"), ("2", "ada"), ("3", "bob")];
    let messages = messages.map(|(id, key)| message(id).with_key(key)).into();
    broker.publish(&TOPIC, messages).await.unwrap();
    let first = next(&mut deliveries).await;
    assert_eq!(next(&mut deliveries).await.message.id, "3");
    drop(first);
    let again = next(&mut deliveries).await;
    assert_eq!((again.message.id.as_str(), again.attempt), ("1", 2));
    again.ack().await.unwrap();
    assert_eq!(next(&mut deliveries).await.message.id, "2");
}
