//! A prefix of a test's own, and what all of them say.

use std::{
    collections::HashMap,
    net::ToSocketAddrs,
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use async_nats::jetstream::{
    self,
    consumer::{DeliverPolicy, pull::OrderedConfig},
};
use es_core::{
    ContentType, Deliveries, Delivery, Group, Message, Name, Publisher, Subscription, Topic,
    TopicPattern, World,
};
use es_nats::{NatsBroker, NatsOptions};
use es_testkit::{
    contract::Place,
    servers::{PrivateNats, Proxy, nats_url},
};
use futures_util::{FutureExt, TryStreamExt, future::select_all};
use serde::Deserialize;

/// How long anything may take that is to come about.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// After how much silence a process counts as dead.
pub(crate) const LEASE: Duration = Duration::from_millis(600);
/// The same where none is to die: longer than a machine stands still.
pub(crate) const STEADY: Duration = Duration::from_secs(3);
/// The same where it is waited for.
pub(crate) const HELD: Duration = Duration::from_secs(2);

/// How often a process says in a lease that it lives.
const BEATS: u64 = 3;

/// What the processes of a group say of themselves.
#[derive(Clone, Deserialize)]
struct Charter {
    members: HashMap<String, Heart>,
}

#[derive(Clone, Deserialize)]
struct Heart {
    beats: u64,
}

pub(crate) struct Site {
    pub(crate) prefix: String,
    pub(crate) url: String,
    lease: Duration,
}

impl Site {
    /// Runs the test at a prefix that nobody has used, and removes what it left.
    pub(crate) async fn run(test: impl AsyncFnOnce(&Self)) {
        Self::run_for(LEASE, test).await;
    }

    /// The same with another lease.
    pub(crate) async fn run_for(lease: Duration, test: impl AsyncFnOnce(&Self)) {
        let place = Place::new(World::real());
        let site = Self { prefix: place.name().to_owned(), url: nats_url(), lease };
        let ended = tokio::time::timeout(3 * SOON, AssertUnwindSafe(test(&site)).catch_unwind());
        let ended = ended.await;
        let client = async_nats::connect(&site.url).await.expect("a server");
        let context = jetstream::new(client);
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
        NatsOptions::new(&self.url).prefix(&self.prefix).lease(self.lease)
    }

    /// What a server of the test's own has, which goes with it.
    pub(crate) fn on(server: &PrivateNats, lease: Duration) -> Self {
        Self { prefix: "gesta".into(), url: server.url(), lease }
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
        let url = format!("nats://{}", proxy.address());
        let there = Self { prefix: self.prefix.clone(), url, lease: self.lease };
        let broker = there.broker().await;
        (proxy, broker)
    }

    /// Waits until both processes of the group have said so often that they live that each
    /// would have noticed the silence of the other.
    pub(crate) async fn both_live_on(&self) {
        let client = async_nats::connect(&self.url).await.expect("a server");
        let state = jetstream::new(client).get_stream(format!("{}_state", self.prefix)).await;
        let charters = OrderedConfig {
            filter_subject: format!("{}.s.g.{}", self.prefix, group()),
            deliver_policy: DeliverPolicy::LastPerSubject,
            ..OrderedConfig::default()
        };
        let charters = state.expect("a stream").create_consumer(charters).await;
        let mut charters = charters.expect("a reader").messages().await.expect("a reader");
        let mut begun = None;
        loop {
            let charter = charters.try_next().await.expect("a charter").expect("a charter");
            let charter: Charter = serde_json::from_slice(&charter.payload).expect("a charter");
            if charter.members.len() < 2 {
                continue;
            }
            let begun = begun.get_or_insert_with(|| charter.clone());
            let has_lived = |(process, heart): (&String, &Heart)| {
                let now = charter.members.get(process);
                now.is_some_and(|now| now.beats > heart.beats + BEATS + 1)
            };
            if begun.members.iter().all(has_lived) {
                return;
            }
        }
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

/// Takes so many, and settles none.
pub(crate) async fn hold(deliveries: &mut Deliveries, count: usize) -> Vec<Delivery> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(next(deliveries).await);
    }
    held
}

/// What was seen of each key.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    last: HashMap<usize, usize>,
    pub(crate) count: usize,
    pub(crate) repeated: usize,
}

impl Seen {
    /// Acknowledges what was held.
    pub(crate) async fn ack_all(&mut self, held: Vec<Delivery>) {
        for delivery in held {
            self.see(&delivery.message.id);
            delivery.ack().await.expect("an answer that arrives");
        }
    }

    /// Takes and acknowledges what comes to any of them, until so many were seen.
    pub(crate) async fn until(&mut self, count: usize, mut members: Vec<&mut Deliveries>) {
        while self.count < count {
            let nexts = members.iter_mut().map(|member| Box::pin(next(member)));
            let (delivery, ..) = select_all(nexts).await;
            self.ack_all(vec![delivery]).await;
        }
    }

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
