//! A broker in a Redis server beyond its contract: several processes, which die, stand
//! still and come back; a server that does the same; and what is damaged.

mod bounds;
mod cluster;
mod damage;
mod faults;
mod killed;
mod members;
#[path = "../raw/mod.rs"]
mod raw;
mod sharing;

use std::{collections::BTreeMap, time::Duration};

use es_core::{
    Address, Consumer, ContentType, DeadLetter, DeadLetterQuery, DeadLetters, Deliveries, Delivery,
    Fault, FaultKind, Group, Message, Name, Publisher, StoreError, Subscription, Topic,
    TopicPattern, World,
};
use es_redis_streams::{RedisBroker, RedisOptions, cmd};
use es_testkit::{
    not_run,
    servers::{PrivateRedis, ServerError},
};
use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;

/// How long anything may take that is to come about.
const SOON: Duration = Duration::from_secs(30);
/// Longer than any test.
const HOUR: Duration = Duration::from_secs(3_600);
/// A lease that is over while a test waits.
const SHORT: Duration = Duration::from_millis(300);

fn private(started: Result<PrivateRedis, ServerError>) -> Option<PrivateRedis> {
    match started {
        Err(error @ ServerError::Unsupported(_)) => {
            not_run(&format!("a broker on a private Redis: {error}"));
            None
        }
        started => Some(started.expect("a server that starts")),
    }
}

fn server() -> Option<PrivateRedis> {
    private(PrivateRedis::start())
}

fn options(url: impl Into<String>) -> RedisOptions {
    RedisOptions::new(url).prefix("test").lease(HOUR)
}

/// What another process would have.
async fn broker(options: RedisOptions) -> RedisBroker {
    options.broker().await.expect("a server that can be trusted")
}

async fn raw(server: &PrivateRedis) -> MultiplexedConnection {
    raw::connect(server.url()).await
}

async fn said<T: redis::FromRedisValue>(raw: &mut MultiplexedConnection, words: &[&[u8]]) -> T {
    let mut command = cmd(std::str::from_utf8(words[0]).expect("a command"));
    command.arg(&words[1..]);
    command.query_async(raw).await.expect("an answer")
}

fn group() -> Group {
    Group::new("billing").expect("a group")
}

fn asks() -> Subscription {
    Subscription::of(group()).to(TopicPattern::new("orders").expect("a pattern"))
}

async fn join(broker: &RedisBroker) -> Deliveries {
    consume(broker, asks()).await
}

async fn consume(broker: &RedisBroker, subscription: Subscription) -> Deliveries {
    broker.consume(subscription).await.expect("a broker that takes members")
}

fn message(id: impl ToString) -> Message {
    Message::new(id.to_string(), Name::from_static("order.placed"), ContentType::JSON, "{}")
}

fn of_ada(id: impl ToString) -> Message {
    message(id).with_key("ada")
}

/// So many of each key, each named by its key and its place in it.
fn keyed(keys: usize, each: usize) -> Vec<Message> {
    let all = (0..each).flat_map(|n| (0..keys).map(move |key| (key, n)));
    all.map(|(key, n)| message(format!("{key}/{n}")).with_key(key.to_string())).collect()
}

fn orders() -> Address {
    Topic::new("orders").expect("a topic").into()
}

async fn publish(broker: &RedisBroker, messages: Vec<Message>) {
    broker.publish(&orders(), messages).await.expect("a broker that takes it");
}

async fn next(deliveries: &mut Deliveries) -> Delivery {
    coming(deliveries).await.expect("a broker that delivers")
}

async fn coming(deliveries: &mut Deliveries) -> Result<Delivery, StoreError> {
    let next = tokio::time::timeout(SOON, deliveries.next()).await;
    next.expect("it comes soon").expect("there is no end")
}

async fn ack(delivery: Delivery) -> String {
    let id = delivery.message.id.clone();
    delivery.ack().await.expect("an answer that arrives");
    id
}

async fn take(deliveries: &mut Deliveries, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(ack(next(deliveries).await).await);
    }
    ids
}

async fn bury(deliveries: &mut Deliveries) -> Result<(), StoreError> {
    let fault = Fault::new(FaultKind::Permanent, "no such order");
    next(deliveries).await.dead_letter(fault).await
}

async fn letters(broker: &RedisBroker) -> Result<Vec<DeadLetter>, StoreError> {
    broker.dead_letters(DeadLetterQuery::of(group())).await
}

/// What this comes to at last.
async fn soon<T>(mut tried: impl AsyncFnMut() -> Option<T>) -> T {
    let all = async {
        loop {
            if let Some(done) = tried().await {
                return done;
            }
            World::real().sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, all).await.expect("it comes about")
}

/// Checks that of each key all came, in their order, and that what came again came before
/// the next one.
fn assert_in_order<'a>(seen: impl IntoIterator<Item = &'a String>, keys: usize, each: usize) {
    let mut lanes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for id in seen {
        let (key, n) = id.split_once('/').expect("a key and a place");
        let (lane, n) = (lanes.entry(key).or_default(), n.parse().expect("a number"));
        if lane.last() != Some(&n) {
            lane.push(n);
        }
    }
    assert_eq!(lanes.len(), keys);
    for (key, lane) in lanes {
        assert_eq!(lane, (0..each).collect::<Vec<_>>(), "the order of {key}");
    }
}
