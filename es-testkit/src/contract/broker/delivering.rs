//! What is published arrives, in one piece.

use std::collections::BTreeSet;

use chrono::DateTime;
use es_core::{
    Address, ContentType, Deliveries, Delivery, Group, Message, Metadata, Name, Subscription,
    Tenant, Topic, TopicPattern,
};
use futures_util::TryStreamExt;

use super::Broker;
use crate::contract::{Site, run::together};

pub(super) fn topic(text: &str) -> Topic {
    Topic::new(text).expect("a topic")
}

pub(super) fn group(text: &str) -> Group {
    Group::new(text).expect("a group")
}

pub(super) fn message(id: impl ToString) -> Message {
    let id = id.to_string();
    let payload = format!("\"{id}\"");
    Message::new(id, Name::from_static("order.placed"), ContentType::JSON, payload)
}

/// A subscription of this group to this pattern.
pub(super) fn asks(pattern: &str, by: &str) -> Subscription {
    Subscription::of(group(by)).to(TopicPattern::new(pattern).expect("a pattern"))
}

pub(super) async fn consume(broker: &Broker, subscription: Subscription) -> Deliveries {
    broker.consumer.consume(subscription).await.expect("a broker that takes members")
}

/// A member of a group that listens to this pattern.
pub(super) async fn join(broker: &Broker, pattern: &str, by: &str) -> Deliveries {
    consume(broker, asks(pattern, by)).await
}

pub(super) async fn publish(broker: &Broker, to: &str, messages: Vec<Message>) {
    send(broker, topic(to).into(), messages).await;
}

pub(super) async fn send(broker: &Broker, to: Address, messages: Vec<Message>) {
    broker.publisher.publish(&to, messages).await.expect("a broker that takes it");
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

/// Takes so many messages, and returns their ids, sorted.
pub(super) async fn take_any(deliveries: &mut Deliveries, count: usize) -> Vec<String> {
    let mut ids = take(deliveries, count).await;
    ids.sort_unstable();
    ids
}

pub(super) fn numbered(count: usize) -> Vec<Message> {
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

/// All of a message arrives, and where it was published to.
pub async fn a_message_arrives_as_it_was_sent(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let bytes: Vec<u8> = (0..=255).collect();
    let metadata = Metadata::new()
        .correlation_id("c")
        .causation_id("b")
        .user_id("ada")
        .source("shop")
        .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .with("region", "e\u{fc}\n=\"\u{0}\"");
    let kind = Name::new("order placed \u{1f980}").expect("a name");
    let mut sent = Message::new("id with 'quotes'", kind, ContentType::BYTES, bytes)
        .of(Tenant::new("acme %").expect("a tenant"))
        .with_key("k\u{1f980}\r\n")
        .with_metadata(metadata)
        .expiring(DateTime::from_timestamp(4_000_000_000, 123_456_000).expect("a time"));
    sent.schema_version = 7;
    sent.time = DateTime::from_timestamp(1_700_000_000, 999_999_000);
    let mut empty = message("empty");
    empty.payload = "".into();
    publish(broker, "orders", vec![sent.clone(), empty.clone()]).await;
    let mut due = vec![sent, empty];
    for _ in 0..2 {
        let delivery = next(&mut billing).await;
        assert_eq!(delivery.to, Address::Topic(topic("orders")));
        let at = due.iter().position(|due| *due == delivery.message);
        due.remove(at.unwrap_or_else(|| panic!("{:?} is not as it was sent", delivery.message)));
        delivery.ack().await.expect("an answer that arrives");
    }
}

/// A topic without words, or with other signs, cannot be named; the longest one can.
pub async fn the_longest_topic_and_group_can_be_used(broker: &Site<Broker>) {
    let long = format!("{}.{}", "Order_-9".repeat(12), "x".repeat(103));
    let by = "g.".repeat(99) + "gg";
    assert_eq!((long.len(), by.len()), (200, 200));
    let mut billing = join(broker, &long, &by).await;
    publish(broker, &long, vec![message(1)]).await;
    let delivery = next(&mut billing).await;
    assert_eq!(delivery.to, topic(&long).into());
    delivery.ack().await.expect("an answer that arrives");
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
    let mut large = message("large");
    (large.content_type, large.payload) = (ContentType::BYTES, vec![7; 500_000].into());
    publish(broker, "orders", vec![large.clone()]).await;
    let delivery = next(&mut billing).await;
    assert_eq!(delivery.message, large);
    delivery.ack().await.expect("an answer that arrives");
}

/// What is published to several addresses at once arrives at each, in its order.
pub async fn messages_to_several_addresses_keep_their_order(broker: &Site<Broker>) {
    let mut orders = join(broker, "order.*", "billing").await;
    let mut paid = join(broker, "order.paid", "ledger").await;
    let topics = [topic("order.placed"), topic("order.paid"), topic("refund.asked")];
    let mails = group("mails");
    let keyed = |at: usize| {
        let to = match at % 4 {
            3 => mails.clone().into(),
            place => topics[place].clone().into(),
        };
        (to, message(format!("{at:03}")).with_key("ada"))
    };
    let all: Vec<_> = (0..400).map(keyed).collect();
    broker.publisher.publish_all(all).await.expect("a broker that takes it");
    let due = |places: &[usize]| {
        let of = (0..400).filter(|at| places.contains(&(at % 4)));
        of.map(|at| format!("{at:03}")).collect::<Vec<_>>()
    };
    assert_eq!(take(&mut orders, 200).await, due(&[0, 1]));
    assert_eq!(take(&mut paid, 100).await, due(&[1]));
    let mut queue = consume(broker, Subscription::of(mails)).await;
    assert_eq!(take(&mut queue, 100).await, due(&[3]));
}
