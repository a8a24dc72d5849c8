//! What became of a delivery.

use std::{collections::BTreeMap, time::Duration};

use es_core::{Fault, FaultKind};

use super::{
    Broker,
    delivering::{join, message, next, publish, take},
};
use crate::contract::Site;

fn fault() -> Fault {
    Fault::new(FaultKind::Permanent, "no such order")
}

/// What was handled does not come again: the next one does.
pub async fn an_acknowledged_message_does_not_come_again(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    for id in ["1", "2", "3", "4"] {
        publish(broker, "orders", vec![message(id)]).await;
        let delivery = next(&mut billing).await;
        assert_eq!((delivery.message.id.as_str(), delivery.attempt), (id, 1));
        delivery.ack().await.expect("an answer that arrives");
    }
}

/// A delivery that nobody answered comes again, as the next attempt (C-class:
/// a consumer that died).
pub async fn a_dropped_delivery_comes_again(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message(1)]).await;
    for attempt in 1..=3 {
        let delivery = next(&mut billing).await;
        assert_eq!((delivery.message.id.as_str(), delivery.attempt), ("1", attempt));
    }
    let delivery = next(&mut billing).await;
    assert_eq!(delivery.attempt, 4);
    delivery.ack().await.expect("an answer that arrives");
}

/// A message that shall be tried again comes again, as the next attempt.
pub async fn a_retried_message_comes_again(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message(1)]).await;
    for attempt in 1..=3 {
        let delivery = next(&mut billing).await;
        assert_eq!((delivery.message.id.as_str(), delivery.attempt), ("1", attempt));
        delivery.retry(Duration::from_millis(1)).await.expect("an answer that arrives");
    }
    assert_eq!(take(&mut billing, 1).await, ["1"]);
}

/// A retry of one group is none of another's business.
pub async fn a_retry_concerns_one_group(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let mut shipping = join(broker, "orders", "shipping").await;
    publish(broker, "orders", vec![message(1)]).await;
    let delivery = next(&mut billing).await;
    delivery.retry(Duration::ZERO).await.expect("an answer that arrives");
    assert_eq!(next(&mut billing).await.attempt, 2);
    assert_eq!(take(&mut shipping, 1).await, ["1"]);
    publish(broker, "orders", vec![message(2)]).await;
    assert_eq!(take(&mut shipping, 1).await, ["2"]);
}

/// A dead letter does not come again, and does not hold up the others.
pub async fn a_dead_letter_does_not_come_again(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message("poison"), message("next")]).await;
    let mut seen = BTreeMap::new();
    for _ in 0..2 {
        let delivery = next(&mut billing).await;
        *seen.entry(delivery.message.id.clone()).or_insert(0) += 1;
        match delivery.message.id.as_str() {
            "poison" => delivery.dead_letter(fault()).await,
            _ => delivery.ack().await,
        }
        .expect("an answer that arrives");
    }
    assert_eq!(seen, [("next".to_owned(), 1), ("poison".to_owned(), 1)].into());
    publish(broker, "orders", vec![message("later")]).await;
    assert_eq!(take(&mut billing, 1).await, ["later"]);
}

/// A dead letter of one key lets the next one of this key through.
pub async fn a_dead_letter_lets_its_key_go_on(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let keyed = |id| message(id).with_key("customer-1");
    publish(broker, "orders", vec![keyed("poison"), keyed("next")]).await;
    let poison = next(&mut billing).await;
    assert_eq!(poison.message.id, "poison");
    poison.dead_letter(fault()).await.expect("an answer that arrives");
    assert_eq!(take(&mut billing, 1).await, ["next"]);
}

/// What one member dropped, another one gets.
pub async fn what_one_member_dropped_another_one_gets(broker: &Site<Broker>) {
    let mut one = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message(1)]).await;
    let held = next(&mut one).await;
    let mut two = join(broker, "orders", "billing").await;
    drop(held);
    drop(one);
    let again = next(&mut two).await;
    assert_eq!((again.message.id.as_str(), again.attempt), ("1", 2));
    again.ack().await.expect("an answer that arrives");
}

/// Messages that fail now and then are all handled in the end.
pub async fn every_message_is_handled_in_the_end(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", (0..40).map(message).collect()).await;
    let mut handled: BTreeMap<String, u32> = BTreeMap::new();
    while handled.len() < 40 {
        let delivery = next(&mut billing).await;
        let (id, attempt) = (delivery.message.id.clone(), delivery.attempt);
        match attempt % 3 {
            1 if id.ends_with(['0', '1', '2', '3']) => drop(delivery),
            1 | 2 if !id.ends_with('9') => {
                delivery.retry(Duration::ZERO).await.expect("an answer that arrives");
            }
            _ => {
                assert!(handled.insert(id, attempt).is_none(), "handled once");
                delivery.ack().await.expect("an answer that arrives");
            }
        }
    }
}

/// A retry does not come before its time.
pub async fn a_retry_comes_no_earlier_than_asked(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message(1)]).await;
    let delivery = next(&mut billing).await;
    let asked = broker.now();
    delivery.retry(Duration::from_millis(150)).await.expect("an answer that arrives");
    let again = next(&mut billing).await;
    let waited = broker.now() - asked;
    assert!(waited >= chrono::TimeDelta::milliseconds(150), "it came after {waited}");
    again.ack().await.expect("an answer that arrives");
}

/// Others go on while a message waits for its next attempt.
pub async fn a_retry_holds_up_nobody_else(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message(1)]).await;
    let delivery = next(&mut billing).await;
    delivery.retry(Duration::from_millis(100)).await.expect("an answer that arrives");
    publish(broker, "orders", (2..5).map(message).collect()).await;
    let mut seen = take(&mut billing, 4).await;
    seen.sort_unstable();
    assert_eq!(seen, ["1", "2", "3", "4"]);
}
