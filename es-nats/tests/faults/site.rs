//! A prefix of a test's own, and what all of them say.

use std::{
    collections::HashMap,
    net::ToSocketAddrs,
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use es_core::{
    ContentType, Deliveries, Delivery, Group, Message, Name, Publisher, Subscription, Topic,
    TopicPattern, World,
};
use es_nats::{NatsBroker, NatsOptions};
use es_testkit::{
    contract::Place,
    servers::{Proxy, nats_url},
};
use futures_util::{FutureExt, TryStreamExt};

/// How long anything may take that is to come about.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// After how much silence a process counts as dead.
pub(crate) const LEASE: Duration = Duration::from_millis(600);

pub(crate) struct Site {
    pub(crate) prefix: String,
    pub(crate) url: String,
}

impl Site {
    /// Runs the test at a prefix that nobody has used, and removes what it left.
    pub(crate) async fn run(test: impl AsyncFnOnce(&Self)) {
        let place = Place::new(World::real());
        let site = Self { prefix: place.name().to_owned(), url: nats_url() };
        let ended = tokio::time::timeout(3 * SOON, AssertUnwindSafe(test(&site)).catch_unwind());
        let ended = ended.await;
        let client = async_nats::connect(&site.url).await.expect("a server");
        let context = async_nats::jetstream::new(client);
        for stream in [site.prefix.clone(), format!("{}_state", site.prefix)] {
            // A test may have made none.
            let _ = context.delete_stream(stream).await;
        }
        match ended.expect("it ends in time") {
            Ok(()) => {}
            Err(panicked) => resume_unwind(panicked),
        }
    }

    pub(crate) fn options(&self) -> NatsOptions {
        NatsOptions::new(&self.url).prefix(&self.prefix).lease(LEASE)
    }

    /// Another process would not be more of a stranger.
    pub(crate) async fn broker(&self) -> NatsBroker {
        self.options().connect().await.expect("a server")
    }

    /// One whose network is in the hand of the test.
    pub(crate) async fn behind_a_proxy(&self) -> (Proxy, NatsBroker) {
        let address = self.url.trim_start_matches("nats://").to_socket_addrs();
        let address = address.expect("an address").next().expect("an address");
        let proxy = Proxy::new(address).expect("a port");
        let options = NatsOptions::new(format!("nats://{}", proxy.address()));
        let broker = options.prefix(&self.prefix).lease(LEASE).connect().await;
        (proxy, broker.expect("a server"))
    }
}

pub(crate) fn group() -> Group {
    Group::new("billing").expect("a group")
}

pub(crate) fn topic(text: &str) -> Topic {
    Topic::new(text).expect("a topic")
}

pub(crate) fn asks(pattern: &str) -> Subscription {
    Subscription::of(group()).to(TopicPattern::new(pattern).expect("a pattern"))
}

pub(crate) fn message(id: impl ToString) -> Message {
    Message::new(id.to_string(), Name::from_static("order.placed"), ContentType::JSON, "{}")
}

pub(crate) fn keyed(key: usize, number: usize) -> Message {
    message(format!("{key}/{number}")).with_key(format!("customer-{key}"))
}

pub(crate) async fn publish(broker: &NatsBroker, to: &str, messages: Vec<Message>) {
    broker.publish(&topic(to).into(), messages).await.expect("a broker that takes it");
}

pub(crate) async fn next(deliveries: &mut Deliveries) -> Delivery {
    let next = tokio::time::timeout(SOON, deliveries.try_next()).await.expect("in time");
    next.expect("a broker that delivers").expect("a delivery")
}

pub(crate) async fn take(deliveries: &mut Deliveries) -> String {
    let delivery = next(deliveries).await;
    let id = delivery.message.id.clone();
    delivery.ack().await.expect("an answer that arrives");
    id
}

/// What was seen of each key.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    last: HashMap<usize, usize>,
    pub(crate) count: usize,
    pub(crate) repeated: usize,
}

impl Seen {
    /// What comes for the first time comes in order, and none is left out.
    pub(crate) fn see(&mut self, id: &str) {
        let (key, number) = id.split_once('/').expect("a key and a number");
        let (key, number) = (key.parse().expect("a key"), number.parse().expect("a number"));
        let last = self.last.entry(key).or_default();
        assert!(number <= *last + 1, "{number} of {key} comes after {last}");
        if number == *last + 1 {
            *last = number;
            self.count += 1;
        } else {
            self.repeated += 1;
        }
    }
}

/// Numbers from 1 for each key, in turns.
pub(crate) fn in_turns(keys: usize, numbers: std::ops::RangeInclusive<usize>) -> Vec<Message> {
    numbers.flat_map(|number| (0..keys).map(move |key| keyed(key, number))).collect()
}
