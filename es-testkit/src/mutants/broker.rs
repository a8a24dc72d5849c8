//! A broker with one bug.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{
    Address, Consumer, DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Deliveries,
    Delivery, Group, Message, Metadata, Order, Publisher, Settlement, StoreError, Subscription,
    Tenant, Topic, TopicPattern, memory::MemoryBroker,
};
use futures_util::StreamExt;
use parking_lot::Mutex;

/// A bug of a broker.
///
/// ```
/// use es_testkit::mutants::BrokerBug;
///
/// assert!(BrokerBug::ALL.contains(&BrokerBug::AckBeforeHandling));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BrokerBug {
    /// A message counts as handled once it was handed out.
    AckBeforeHandling,
    /// Nothing waits for what comes before it in its key.
    OrderIgnored,
    /// A key alone makes the order, whoever's it is.
    TenantIgnored,
    /// A message that is tried again comes at once.
    RetryAtOnce,
    /// A message that is tried again is a new one behind the others.
    RetryAtTheEnd,
    /// Each try is the first.
    AttemptsForgotten,
    /// A star stands for the rest of a topic.
    StarIsGreedy,
    /// What is sent to a queue is published to a topic of its name.
    QueueIsTopic,
    /// What is sent to a queue that nobody has asked for is lost.
    QueueNeedsMember,
    /// A group begins with all that there is.
    BeginsEarliest,
    /// A member may hold as much as it likes.
    WindowIgnored,
    /// A dead letter is lost.
    DeadLetterLost,
    /// A dead letter that is given back goes to all who listen.
    GivenBackToAll,
    /// A dead letter that is given back is kept as well.
    GivenBackAndKept,
    /// A message in the place of a dead letter is forgotten.
    EditForgotten,
    /// What follows a dead letter is handed out.
    ParksNothing,
    /// Metadata does not arrive.
    MetadataLost,
    /// A group that was forgotten keeps its messages.
    ForgetsNothing,
    /// Members may ask for different orders.
    AnyOrderWill,
}

impl BrokerBug {
    /// Every bug.
    pub const ALL: &[Self] = &[
        Self::AckBeforeHandling,
        Self::OrderIgnored,
        Self::TenantIgnored,
        Self::RetryAtOnce,
        Self::RetryAtTheEnd,
        Self::AttemptsForgotten,
        Self::StarIsGreedy,
        Self::QueueIsTopic,
        Self::QueueNeedsMember,
        Self::BeginsEarliest,
        Self::WindowIgnored,
        Self::DeadLetterLost,
        Self::GivenBackToAll,
        Self::GivenBackAndKept,
        Self::EditForgotten,
        Self::ParksNothing,
        Self::MetadataLost,
        Self::ForgetsNothing,
        Self::AnyOrderWill,
    ];
}

/// A broker, as a [`MemoryBroker`], with one bug, or none.
#[derive(Debug, Clone)]
pub struct MutantBroker<B = MemoryBroker> {
    bug: Option<BrokerBug>,
    sound: B,
    joined: Arc<Mutex<BTreeSet<Group>>>,
}

impl<B: Publisher> MutantBroker<B> {
    /// Puts the bug into a sound broker.
    pub fn new(bug: Option<BrokerBug>, sound: B) -> Self {
        Self { bug, sound, joined: Arc::default() }
    }

    fn has(&self, bug: BrokerBug) -> bool {
        self.bug == Some(bug)
    }

    fn asked(&self, mut subscription: Subscription) -> Subscription {
        match self.bug {
            Some(BrokerBug::OrderIgnored | BrokerBug::AnyOrderWill) => {
                subscription.order = Order::None;
                subscription.parks = false;
            }
            Some(BrokerBug::BeginsEarliest) => subscription.begin = es_core::Begin::Earliest,
            Some(BrokerBug::WindowIgnored) => subscription.window = usize::MAX >> 4,
            Some(BrokerBug::ParksNothing) => subscription.parks = false,
            Some(BrokerBug::StarIsGreedy) => {
                let greedy = |pattern: &TopicPattern| {
                    let text = pattern.as_str();
                    let text = text.strip_suffix(".*").map(|text| format!("{text}.**"));
                    text.and_then(|text| TopicPattern::new(text).ok()).unwrap_or(pattern.clone())
                };
                subscription.patterns = subscription.patterns.iter().map(greedy).collect();
            }
            _ => {}
        }
        subscription
    }

    /// The same delivery, settled with the bug.
    async fn handed(self, delivery: Delivery) -> Result<Delivery, StoreError> {
        let (to, mut message) = (delivery.to.clone(), delivery.message.clone());
        let attempt = match self.bug {
            Some(BrokerBug::AttemptsForgotten) => 1,
            _ => delivery.attempt,
        };
        if self.has(BrokerBug::MetadataLost) {
            message.metadata = Metadata::new();
        }
        if self.has(BrokerBug::AckBeforeHandling) {
            delivery.ack().await?;
            return Ok(Delivery::new(to, message, attempt, |_| Box::pin(async { Ok(()) })));
        }
        let again = (to.clone(), message.clone());
        Ok(Delivery::new(to, message, attempt, move |settlement| {
            Box::pin(async move {
                match (self.bug, settlement) {
                    (Some(BrokerBug::RetryAtOnce), Settlement::Retry(_)) => {
                        delivery.retry(Duration::ZERO).await
                    }
                    (Some(BrokerBug::RetryAtTheEnd), Settlement::Retry(_)) => {
                        delivery.ack().await?;
                        self.sound.publish(&again.0, vec![again.1]).await
                    }
                    (Some(BrokerBug::DeadLetterLost), Settlement::DeadLetter(_)) => {
                        delivery.ack().await
                    }
                    (_, settlement) => delivery.settle(settlement).await,
                }
            })
        }))
    }
}

#[async_trait]
impl<B: Publisher> Publisher for MutantBroker<B> {
    async fn publish(&self, to: &Address, mut messages: Vec<Message>) -> Result<(), StoreError> {
        if self.has(BrokerBug::TenantIgnored) {
            messages.iter_mut().for_each(|message| message.tenant = Tenant::default());
        }
        match to {
            Address::Queue(group) if self.has(BrokerBug::QueueIsTopic) => {
                let topic = Topic::new(group.as_str()).map(Address::from);
                self.sound.publish(&topic.unwrap_or_else(|_| to.clone()), messages).await
            }
            Address::Queue(group)
                if self.has(BrokerBug::QueueNeedsMember) && !self.joined.lock().contains(group) =>
            {
                Ok(())
            }
            _ => self.sound.publish(to, messages).await,
        }
    }
}

#[async_trait]
impl<B: Publisher + Consumer + Clone> Consumer for MutantBroker<B> {
    async fn consume(&self, subscription: Subscription) -> Result<Deliveries, StoreError> {
        self.joined.lock().insert(subscription.group.clone());
        let deliveries = self.sound.consume(self.asked(subscription)).await?;
        let mutant = self.clone();
        let handed = deliveries.then(move |delivery| {
            let mutant = mutant.clone();
            async move { mutant.handed(delivery?).await }
        });
        Ok(handed.boxed())
    }

    async fn forget(&self, group: &Group) -> Result<(), StoreError> {
        match self.has(BrokerBug::ForgetsNothing) {
            true => Ok(()),
            false => self.sound.forget(group).await,
        }
    }
}

#[async_trait]
impl<B: Publisher + DeadLetters> DeadLetters for MutantBroker<B> {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        self.sound.dead_letters(query).await
    }

    async fn give_back(
        &self,
        group: &Group,
        id: DeadLetterId,
        edited: Option<Message>,
    ) -> Result<bool, StoreError> {
        let edited = edited.filter(|_| !self.has(BrokerBug::EditForgotten));
        let query = DeadLetterQuery::of(group.clone()).after(DeadLetterId(id.0 - 1)).limit(1);
        let found = self.sound.dead_letters(query).await?.pop().filter(|found| found.id == id);
        match found {
            Some(letter) if self.has(BrokerBug::GivenBackToAll) => {
                self.sound.discard(group, id).await?;
                self.sound.publish(&letter.to, vec![letter.message]).await?;
                Ok(true)
            }
            Some(letter) if self.has(BrokerBug::GivenBackAndKept) => {
                self.sound.publish(&group.clone().into(), vec![letter.message]).await?;
                Ok(true)
            }
            _ => self.sound.give_back(group, id, edited).await,
        }
    }

    async fn discard(&self, group: &Group, id: DeadLetterId) -> Result<bool, StoreError> {
        self.sound.discard(group, id).await
    }
}
