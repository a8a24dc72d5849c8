//! A prefix of a test's own, and what all of them say.

use std::{
    collections::HashMap,
    net::ToSocketAddrs,
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use es_core::{
    Consumer, ContentType, Deliveries, Delivery, Group, Message, Name, Publisher, Subscription,
    Topic, TopicPattern, World,
};
use es_rabbitmq::{RabbitBroker, RabbitOptions};
use es_testkit::{
    contract::Place,
    servers::{PrivateRabbit, Proxy, rabbitmq_url},
};
use futures_util::{FutureExt, TryStreamExt, future::select_all};
use lapin::{Connection, ConnectionProperties, options::ExchangeDeleteOptions};

/// How long anything may take that is to come about.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// Partitions of a group.
pub(crate) const PARTITIONS: u32 = 4;

pub(crate) struct Site {
    pub(crate) prefix: String,
    pub(crate) url: String,
}

impl Site {
    /// Runs the test at a prefix that nobody has used, and removes what it left.
    pub(crate) async fn run(test: impl AsyncFnOnce(&Self)) {
        let place = Place::new(World::real());
        let site = Self { prefix: place.name().to_owned(), url: rabbitmq_url() };
        let ended = tokio::time::timeout(2 * SOON, AssertUnwindSafe(test(&site)).catch_unwind());
        let ended = ended.await;
        site.remove().await;
        match ended.expect("it ends in time") {
            Ok(()) => {}
            Err(panicked) => resume_unwind(panicked),
        }
    }

    async fn remove(&self) {
        self.broker().await.forget(&group()).await.expect("a broker that forgets");
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await;
        let channel = connection.expect("a server").create_channel().await.expect("a channel");
        for name in ["", ".groups", ".about"].map(|end| format!("{}{end}", self.prefix)) {
            let gone = channel.exchange_delete(name.into(), ExchangeDeleteOptions::default());
            gone.await.expect("an exchange that can be deleted");
        }
    }

    pub(crate) fn options(&self) -> RabbitOptions {
        RabbitOptions::new(&self.url).prefix(&self.prefix).partitions(PARTITIONS)
    }

    /// What a server of the test's own has, which goes with it.
    pub(crate) fn on(server: &PrivateRabbit) -> Self {
        Self { prefix: "gesta".into(), url: server.url() }
    }

    /// Another process would not be more of a stranger.
    pub(crate) async fn broker(&self) -> RabbitBroker {
        self.options().connect().await.expect("a server")
    }

    /// One whose network is in the hand of the test.
    pub(crate) async fn behind_a_proxy(&self) -> (Proxy, RabbitBroker) {
        let server = self.url.rsplit_once('@').expect("a user").1;
        let (address, host) = server.split_once('/').expect("a host");
        let address = address.to_socket_addrs().expect("an address").next().expect("an address");
        let proxy = Proxy::new(address).expect("a port");
        let url = format!("amqp://guest:guest@{}/{host}", proxy.address());
        let there = Self { prefix: self.prefix.clone(), url };
        let options = there.options().heartbeat(Duration::from_secs(1));
        let broker = options.connect().await.expect("a server");
        (proxy, broker)
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

pub(crate) async fn publish(broker: &RabbitBroker, to: &str, messages: Vec<Message>) {
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
    /// Takes what comes to any of them, until so many were seen. What is acknowledged over a
    /// connection that broke comes again.
    pub(crate) async fn until(&mut self, count: usize, mut members: Vec<&mut Deliveries>) {
        while self.count < count {
            let nexts = members.iter_mut().map(|member| Box::pin(next(member)));
            let (delivery, ..) = select_all(nexts).await;
            self.see(&delivery.message.id);
            let _ = delivery.ack().await;
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
