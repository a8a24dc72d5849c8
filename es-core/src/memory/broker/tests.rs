use std::{pin::pin, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{
    StreamExt,
    future::{BoxFuture, poll_immediate},
};
use tokio::{sync::watch, task::yield_now};

use super::*;
use crate::{Clock, ContentType, Delivery, Fault, FaultKind, Name};

fn topic() -> Topic {
    Topic::new("orders").unwrap()
}

fn group() -> Group {
    Group::new("billing").unwrap()
}

fn subscription() -> Subscription {
    Subscription::of(group()).to(topic())
}

fn fault() -> Fault {
    Fault::new(FaultKind::Permanent, "no such order")
}

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
    Message::new(id.to_string(), Name::from_static("order.placed"), ContentType::JSON, "{}")
}

async fn join(broker: &MemoryBroker) -> Deliveries {
    broker.consume(subscription()).await.unwrap()
}

async fn publish(broker: &MemoryBroker, ids: impl IntoIterator<Item = u32>) {
    let messages = ids.into_iter().map(message).collect();
    broker.publish(&topic().into(), messages).await.unwrap();
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
async fn a_waiting_member_gets_the_message_while_another_looks_away() {
    let broker = MemoryBroker::new();
    let (mut away, mut here) = (join(&broker).await, join(&broker).await);
    let mut looks_away = pin!(away.next());
    assert!(poll_immediate(&mut looks_away).await.is_none());
    let mut waits = pin!(here.next());
    assert!(poll_immediate(&mut waits).await.is_none());
    publish(&broker, [1]).await;
    let delivery = poll_immediate(waits).await.expect("it was woken").unwrap().unwrap();
    assert_eq!(delivery.message.id, "1");
}

#[tokio::test]
async fn dropped_deliveries_come_again_first_and_in_order() {
    let broker = MemoryBroker::new();
    let mut deliveries = join(&broker).await;
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
    let mut deliveries = join(&broker).await;
    publish(&broker, [1]).await;
    drop(next(&mut deliveries).await.ack());
    assert_eq!(next(&mut deliveries).await.attempt, 2);
}

#[tokio::test]
async fn a_retry_waits_on_the_clock() {
    let clock = Hand(watch::Sender::new(DateTime::UNIX_EPOCH));
    let broker = MemoryBroker::in_world(World::real().with_clock(clock.clone()));
    let mut deliveries = join(&broker).await;
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
async fn a_dead_letter_without_room_comes_again() {
    let broker = MemoryBroker::new();
    let mut deliveries = join(&broker).await;
    for id in 0..10_000 {
        publish(&broker, [id]).await;
        next(&mut deliveries).await.dead_letter(fault()).await.unwrap();
    }
    publish(&broker, [10_000]).await;
    let error = next(&mut deliveries).await.dead_letter(fault()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert_eq!(next(&mut deliveries).await.attempt, 2);
}

#[tokio::test]
async fn publish_waits_while_a_group_is_full() {
    let broker = MemoryBroker::new();
    let mut deliveries = join(&broker).await;
    publish(&broker, 0..10_000).await;
    let (to, messages) = (topic().into(), vec![message("one more")]);
    let mut one_more = pin!(broker.publish(&to, messages));
    // Yields first, because a task that did much may be told to wait for that alone.
    yield_now().await;
    assert!(poll_immediate(&mut one_more).await.is_none());
    let delivery = next(&mut deliveries).await;
    assert!(poll_immediate(&mut one_more).await.is_none(), "in hand is not settled");
    delivery.ack().await.unwrap();
    one_more.await.unwrap();
}

/// What should be parked and finds no room is not handed out before there is some.
#[tokio::test]
async fn what_finds_no_room_behind_a_dead_letter_waits_for_it() {
    let broker = MemoryBroker::new();
    let mut deliveries = broker.consume(subscription().parking()).await.unwrap();
    let of_ada = |id: u32| message(id).with_key("ada");
    for from in (0..10_000).step_by(1_000) {
        let messages = (from..from + 1_000).map(of_ada).collect();
        broker.publish(&topic().into(), messages).await.unwrap();
        if from == 0 {
            next(&mut deliveries).await.dead_letter(fault()).await.unwrap();
        }
        assert!(is_idle(&mut deliveries).await);
    }
    broker.publish(&topic().into(), vec![of_ada(10_000), message("end")]).await.unwrap();
    let end = next(&mut deliveries).await;
    assert_eq!(end.message.id, "end");
    end.ack().await.unwrap();
    let ids = async || {
        let all = DeadLetterQuery::of(group()).limit(20_000);
        let all = broker.dead_letters(all).await.unwrap();
        all.into_iter().map(|letter| letter.id).collect::<Vec<_>>()
    };
    assert_eq!(ids().await.len(), 10_000);
    for id in ids().await {
        assert!(broker.discard(&group(), id).await.unwrap());
        if id == DeadLetterId(1) {
            assert!(is_idle(&mut deliveries).await, "it is parked now");
        }
    }
    assert!(broker.discard(&group(), ids().await[0]).await.unwrap());
    let messages = vec![of_ada(10_001)];
    broker.publish(&topic().into(), messages).await.unwrap();
    assert_eq!(next(&mut deliveries).await.message.id, "10001");
}

#[tokio::test]
async fn only_the_last_messages_are_history() {
    let broker = MemoryBroker::new().keeping(3);
    publish(&broker, 0..5).await;
    let ids = |messages: Vec<Message>| messages.into_iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(ids(broker.history(&topic())), ["2", "3", "4"]);
    let mut late = broker.consume(subscription().begin(Begin::Earliest)).await.unwrap();
    for id in ["2", "3", "4"] {
        let delivery = next(&mut late).await;
        assert_eq!(delivery.message.id, id);
        delivery.ack().await.unwrap();
    }
    broker.clear();
    assert!(broker.history(&topic()).is_empty());
}

/// A queue of which nobody has asked for an order gets it from its first member.
#[tokio::test]
async fn what_waits_is_brought_into_the_order_of_the_first_member() {
    let broker = MemoryBroker::new();
    let messages = (1..=3).map(|id| message(id).with_key("ada")).collect();
    broker.publish(&group().into(), messages).await.unwrap();
    let mut member = broker.consume(Subscription::of(group())).await.unwrap();
    let first = next(&mut member).await;
    assert!(is_idle(&mut member).await);
    first.ack().await.unwrap();
    assert_eq!(next(&mut member).await.message.id, "2");
}
