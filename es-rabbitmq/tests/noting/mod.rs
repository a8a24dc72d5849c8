//! A broker that notes which groups there are, so that they can be removed: no server says
//! it over AMQP.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use es_core::{
    Address, Consumer, DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Deliveries, Group,
    Message, Publisher, StoreError, Subscription,
};
use es_rabbitmq::{RabbitBroker, RabbitOptions};
use lapin::{Connection, ConnectionProperties, options::ExchangeDeleteOptions};
use parking_lot::Mutex;

/// The groups that were noted.
#[derive(Clone, Default)]
pub(crate) struct Noted(Arc<Mutex<BTreeSet<Group>>>);

pub(crate) struct Noting {
    broker: RabbitBroker,
    noted: Noted,
}

impl Noted {
    fn note(&self, group: &Group) {
        self.0.lock().insert(group.clone());
    }

    /// Removes all that belongs to this prefix.
    pub(crate) async fn remove(&self, url: &str, prefix: &str, partitions: u32) {
        let options = RabbitOptions::new(url).prefix(prefix).partitions(partitions);
        let broker = options.connect().await.expect("a server");
        let groups = std::mem::take(&mut *self.0.lock());
        for group in groups {
            broker.forget(&group).await.expect("a broker that forgets");
        }
        let connection = Connection::connect(url, ConnectionProperties::default()).await;
        let channel = connection.expect("a server").create_channel().await.expect("a channel");
        for exchange in [prefix.to_owned(), format!("{prefix}.groups"), format!("{prefix}.about")] {
            let gone = channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default());
            gone.await.expect("an exchange that can be deleted");
        }
    }
}

impl Noting {
    pub(crate) fn new(broker: RabbitBroker, noted: &Noted) -> Self {
        Self { broker, noted: noted.clone() }
    }
}

#[async_trait]
impl Publisher for Noting {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        if let Address::Queue(group) = to {
            self.noted.note(group);
        }
        self.broker.publish(to, messages).await
    }
}

#[async_trait]
impl Consumer for Noting {
    async fn consume(&self, subscription: Subscription) -> Result<Deliveries, StoreError> {
        self.noted.note(&subscription.group);
        self.broker.consume(subscription).await
    }

    async fn forget(&self, group: &Group) -> Result<(), StoreError> {
        self.broker.forget(group).await
    }
}

#[async_trait]
impl DeadLetters for Noting {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.broker.dead_letters(query).await
    }

    async fn give_back(
        &self,
        group: &Group,
        id: DeadLetterId,
        edited: Option<Message>,
    ) -> Result<bool, StoreError> {
        self.broker.give_back(group, id, edited).await
    }

    async fn discard(&self, group: &Group, id: DeadLetterId) -> Result<bool, StoreError> {
        self.broker.discard(group, id).await
    }
}
