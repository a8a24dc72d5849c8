//! Who gets which message.

use std::collections::BTreeSet;

use es_core::{Address, Begin, Deliveries};

use super::{
    Broker,
    delivering::{
        asks, consume, group, join, message, next, numbered, publish, send, take, take_any, topic,
    },
};
use crate::contract::{Site, run::together};

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
        members.push(consume(broker, asks("orders", "billing").window(1)).await);
    }
    publish(broker, "orders", numbered(60)).await;
    publish(broker, "orders", vec![message("end"), message("end"), message("end")]).await;
    let work = |mut member: Deliveries| async move {
        let mut seen = Vec::new();
        loop {
            let id = take(&mut member, 1).await.remove(0);
            if id == "end" {
                return (seen, member);
            }
            seen.push(id);
        }
    };
    // Whoever is done stays a member, and asks for nothing more.
    let (seen, _members): (Vec<_>, Vec<_>) =
        together(members.into_iter().map(work)).await.into_iter().unzip();
    let seen = seen.concat();
    assert_eq!(seen.len(), 60, "each message once");
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 60);
}

/// Topics do not meet.
pub async fn topics_are_apart(broker: &Site<Broker>) {
    let topics = ["orders", "Orders", "orders.eu", "orders_eu", "orders-eu", "eu.orders"];
    let mut members = Vec::new();
    for (at, topic) in topics.iter().enumerate() {
        members.push(join(broker, topic, &format!("billing-{at}")).await);
    }
    for topic in topics {
        publish(broker, topic, vec![message(topic), message("end")]).await;
    }
    for (topic, member) in topics.iter().zip(&mut members) {
        assert_eq!(take_any(member, 2).await, sorted([topic, "end"]));
    }
}

fn sorted<const N: usize>(mut ids: [&str; N]) -> [&str; N] {
    ids.sort_unstable();
    ids
}

/// Publishes one message to each of these topics, named as it, and one more to the group;
/// returns the topics of which the group has heard.
async fn heard(broker: &Broker, deliveries: &mut Deliveries, by: &str, of: &[&str]) -> Vec<String> {
    for topic in of {
        publish(broker, topic, vec![message(topic)]).await;
    }
    send(broker, group(by).into(), vec![message("end")]).await;
    let mut heard = Vec::new();
    loop {
        let delivery = next(deliveries).await;
        let (id, to) = (delivery.message.id.clone(), delivery.to.clone());
        delivery.ack().await.expect("an answer that arrives");
        if id == "end" {
            break;
        }
        assert_eq!(to, Address::Topic(topic(&id)));
        heard.push(id);
    }
    heard.sort_unstable();
    heard
}

/// A star stands for one word.
pub async fn a_star_is_any_one_word(broker: &Site<Broker>) {
    let mut billing = join(broker, "product.*", "billing").await;
    let topics = ["product", "product.added", "product.price.changed", "order.added", "a.product"];
    assert_eq!(heard(broker, &mut billing, "billing", &topics).await, ["product.added"]);
    let mut shipping = join(broker, "*.price.*", "shipping").await;
    assert_eq!(heard(broker, &mut shipping, "shipping", &topics).await, ["product.price.changed"]);
}

/// Two stars at the end stand for one word or more.
pub async fn two_stars_are_one_word_or_more(broker: &Site<Broker>) {
    let mut billing = join(broker, "security.**", "billing").await;
    let topics = ["security", "security.login", "security.login.failed", "securityx.login"];
    let due = ["security.login", "security.login.failed"];
    assert_eq!(heard(broker, &mut billing, "billing", &topics).await, due);
}

/// A star alone is every topic.
pub async fn a_star_alone_is_every_topic(broker: &Site<Broker>) {
    let mut billing = join(broker, "*", "billing").await;
    let topics = ["a", "a.b", "a.b.c"];
    assert_eq!(heard(broker, &mut billing, "billing", &topics).await, topics);
}

/// A topic that nobody knew when the group began is matched too.
pub async fn a_new_topic_reaches_a_group_that_listens_to_its_pattern(broker: &Site<Broker>) {
    let mut billing = join(broker, "order.*", "billing").await;
    for at in 0..5 {
        let topic = format!("order.n{at}");
        assert_eq!(heard(broker, &mut billing, "billing", &[&topic]).await, [topic.as_str()]);
    }
}

/// A group that listens to several topics gets the messages of each.
pub async fn a_group_listens_to_several_topics(broker: &Site<Broker>) {
    let patterns = asks("orders", "billing").to(topic("payments"));
    let mut billing = consume(broker, patterns).await;
    let topics = ["orders", "payments", "refunds"];
    assert_eq!(heard(broker, &mut billing, "billing", &topics).await, ["orders", "payments"]);
}

/// A message that several patterns of a group match comes once.
pub async fn a_message_that_several_patterns_match_comes_once(broker: &Site<Broker>) {
    let patterns = asks("order.*", "billing").to(topic("order.placed"));
    let mut billing = consume(broker, patterns).await;
    assert_eq!(heard(broker, &mut billing, "billing", &["order.placed"]).await, ["order.placed"]);
}

/// A member that comes later adds its patterns to those of the group.
pub async fn a_later_member_adds_its_patterns(broker: &Site<Broker>) {
    let first = join(broker, "orders", "billing").await;
    let mut second = join(broker, "payments", "billing").await;
    drop(first);
    let topics = ["orders", "payments"];
    assert_eq!(heard(broker, &mut second, "billing", &topics).await, topics);
}

/// A group begins with what is published after it.
pub async fn a_group_begins_with_what_comes_after_it(broker: &Site<Broker>) {
    publish(broker, "orders", vec![message("before")]).await;
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message("after")]).await;
    assert_eq!(take(&mut billing, 1).await, ["after"]);
}

/// A group that begins with the earliest gets what is there already.
pub async fn a_group_may_begin_with_the_earliest(broker: &Site<Broker>) {
    // What nobody listens to, a broker need not keep.
    let _listens = join(broker, "order.*", "archive").await;
    publish(broker, "order.placed", numbered(20)).await;
    let late = asks("order.*", "billing").begin(Begin::Earliest);
    let mut billing = consume(broker, late.clone()).await;
    publish(broker, "order.placed", vec![message("after")]).await;
    let seen: BTreeSet<_> = take(&mut billing, 21).await.into_iter().collect();
    assert_eq!(seen.len(), 21);
    drop(billing);
    // It has begun, and does not begin again.
    let mut billing = consume(broker, late).await;
    publish(broker, "order.placed", vec![message("later")]).await;
    assert_eq!(take(&mut billing, 1).await, ["later"]);
}

/// A group without members keeps what comes.
pub async fn a_group_keeps_what_comes_while_it_has_no_member(broker: &Site<Broker>) {
    drop(join(broker, "orders", "billing").await);
    publish(broker, "orders", vec![message(1)]).await;
    let mut billing = join(broker, "orders", "billing").await;
    assert_eq!(take(&mut billing, 1).await, ["1"]);
}

/// A group that was forgotten begins anew.
pub async fn a_forgotten_group_begins_anew(broker: &Site<Broker>) {
    drop(join(broker, "orders", "billing").await);
    publish(broker, "orders", vec![message("forgotten")]).await;
    let forgotten = group("billing");
    broker.consumer.forget(&forgotten).await.expect("a broker that forgets");
    publish(broker, "orders", vec![message("not heard")]).await;
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![message("after")]).await;
    assert_eq!(take(&mut billing, 1).await, ["after"]);
    broker.consumer.forget(&group("nobody")).await.expect("a broker that forgets nothing");
}

/// A queue takes messages before anybody asks for them.
pub async fn a_queue_takes_messages_before_anybody_asks(broker: &Site<Broker>) {
    send(broker, group("mails").into(), numbered(20)).await;
    let mut mails = consume(broker, es_core::Subscription::of(group("mails"))).await;
    let seen: BTreeSet<_> = take(&mut mails, 20).await.into_iter().collect();
    assert_eq!(seen.len(), 20);
}

/// What goes to a queue reaches no other group, and no topic of this name.
pub async fn a_queue_is_of_one_group(broker: &Site<Broker>) {
    let mut other = join(broker, "*", "other").await;
    let mut mails = join(broker, "mails", "mails").await;
    send(broker, group("mails").into(), vec![message("to the queue")]).await;
    let delivery = next(&mut mails).await;
    assert_eq!(delivery.to, Address::Queue(group("mails")));
    delivery.ack().await.expect("an answer that arrives");
    publish(broker, "mails", vec![message("to the topic")]).await;
    assert_eq!(take(&mut other, 1).await, ["to the topic"]);
    assert_eq!(take(&mut mails, 1).await, ["to the topic"]);
}
