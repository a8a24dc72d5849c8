//! Who gets which message, in which order.

use std::collections::BTreeSet;

use es_core::{ContentType, Delivery, Message, Metadata, Name, StoreError, Subscription};
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream::BoxStream};

use super::Broker;
use crate::contract::{Site, run::together};

pub(super) type Deliveries = BoxStream<'static, Result<Delivery, StoreError>>;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(super) fn message(id: impl ToString) -> Message {
    let id = id.to_string();
    Message::new(id.clone(), ContentType::JSON, format!("\"{id}\""))
}

/// A member of a group, which has begun before it is handed over.
pub(super) async fn join(broker: &Broker, topic: &str, group: &str) -> Deliveries {
    let deliveries = broker.consumer.consume(Subscription::new(name(topic), name(group)));
    let mut deliveries = deliveries.peekable();
    let _ = std::pin::Pin::new(&mut deliveries).peek().now_or_never();
    deliveries.boxed()
}

pub(super) async fn publish(broker: &Broker, topic: &str, messages: Vec<Message>) {
    broker.publisher.publish(&name(topic), messages).await.expect("a broker that takes it");
}

pub(super) async fn next(deliveries: &mut Deliveries) -> Delivery {
    deliveries.try_next().await.expect("a broker that delivers").expect("a delivery")
}

/// Takes so many messages, and returns their ids.
pub(super) async fn take(deliveries: &mut Deliveries, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let delivery = next(deliveries).await;
        ids.push(delivery.message.id.clone());
        delivery.ack().await.expect("an answer that arrives");
    }
    ids
}

fn numbered(count: usize) -> Vec<Message> {
    (0..count).map(message).collect()
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}

/// What is published is delivered, at the first try.
pub async fn a_published_message_is_delivered(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message(1)]).await;
    let delivery = next(&mut billing).await;
    assert_eq!((delivery.message.id.as_str(), delivery.attempt), ("1", 1));
    delivery.ack().await.expect("an answer that arrives");
}

/// All of a message arrives.
pub async fn a_message_arrives_as_it_was_sent(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let bytes: Vec<u8> = (0..=255).collect();
    let metadata = Metadata::new().correlation_id("c").user_id("ada").with("region", "eu");
    let sent = Message::new("id with 'quotes'", ContentType::BYTES, bytes)
        .with_key("k\u{1f980}")
        .with_metadata(metadata);
    let empty = Message::new("empty", ContentType::JSON, "");
    publish(broker, "orders", vec![sent.clone(), empty.clone()]).await;
    for due in [sent, empty] {
        let delivery = next(&mut billing).await;
        assert_eq!(delivery.message, due);
        delivery.ack().await.expect("an answer that arrives");
    }
}

/// Messages with one key keep their order.
pub async fn messages_with_one_key_keep_their_order(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let keyed = |n: usize| message(n).with_key("customer-1");
    for part in (0..100).collect::<Vec<_>>().chunks(7) {
        publish(broker, "orders", part.iter().copied().map(keyed).collect()).await;
    }
    assert_eq!(take(&mut billing, 100).await, numbers(100));
}

/// A batch is delivered wholly.
pub async fn every_message_of_a_batch_is_delivered(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", numbered(50)).await;
    let seen: BTreeSet<_> = take(&mut billing, 50).await.into_iter().collect();
    assert_eq!(seen.len(), 50);
}

/// Publishing nothing is no failure.
pub async fn no_messages_can_be_published(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![]).await;
    publish(broker, "orders", vec![message("after")]).await;
    assert_eq!(take(&mut billing, 1).await, ["after"]);
}

/// Every group gets every message.
pub async fn every_group_gets_every_message(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let mut shipping = join(broker, "orders", "shipping").await;
    publish(broker, "orders", numbered(20)).await;
    for group in [&mut billing, &mut shipping] {
        let seen: BTreeSet<_> = take(group, 20).await.into_iter().collect();
        assert_eq!(seen.len(), 20);
    }
}

/// Of one group, one member gets a message.
pub async fn one_member_of_a_group_gets_a_message(broker: &Site<Broker>) {
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(join(broker, "orders", "billing").await);
    }
    publish(broker, "orders", numbered(60)).await;
    publish(broker, "orders", vec![message("end"), message("end"), message("end")]).await;
    let work = |mut member: Deliveries| async move {
        let mut seen = Vec::new();
        loop {
            let id = take(&mut member, 1).await.remove(0);
            if id == "end" {
                return seen;
            }
            seen.push(id);
        }
    };
    let seen = together(members.into_iter().map(work)).await.concat();
    assert_eq!(seen.len(), 60, "each message once");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 60);
}

/// Topics do not meet.
pub async fn topics_are_apart(broker: &Site<Broker>) {
    let topics = ["orders", "Orders", "orders.eu", "orders%", "ord*rs"];
    let mut members = Vec::new();
    for topic in topics {
        members.push(join(broker, topic, "billing").await);
    }
    for topic in topics {
        publish(broker, topic, vec![message(topic), message("end")]).await;
    }
    for (topic, member) in topics.iter().zip(&mut members) {
        let seen: BTreeSet<_> = take(member, 2).await.into_iter().collect();
        assert_eq!(seen, [topic.to_string(), "end".to_owned()].into());
    }
}

/// Publishing where nobody listens is no failure.
pub async fn a_topic_without_listeners_takes_messages(broker: &Site<Broker>) {
    publish(broker, "void", numbered(10)).await;
}

/// Messages of many publishers all arrive, each publisher's keys in order.
pub async fn messages_of_many_publishers_all_arrive(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let work = |n: usize| {
        let publisher = broker.share();
        async move {
            for at in 0..20 {
                let key = format!("customer-{n}");
                let sent = message(format!("{n}/{at:02}")).with_key(key);
                publish(&publisher, "orders", vec![sent]).await;
            }
        }
    };
    together((0..6).map(work)).await;
    let seen = take(&mut billing, 120).await;
    for n in 0..6 {
        let ours: Vec<_> = seen.iter().filter(|id| id.starts_with(&format!("{n}/"))).collect();
        assert_eq!(ours.len(), 20);
        assert!(ours.is_sorted(), "the order of one key");
    }
}

/// Large messages arrive.
pub async fn a_large_message_arrives(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let large = Message::new("large", ContentType::BYTES, vec![7; 500_000]);
    publish(broker, "orders", vec![large.clone()]).await;
    assert_eq!(next(&mut billing).await.message, large);
}
