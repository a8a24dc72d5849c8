//! The queues of the groups are in the server, and so are their rules: who may be handed
//! what is decided by scripts, over lists, hashes and sorted sets. It is done so, and not
//! with a stream and a consumer group for each partition, because of what orders ask for:
//!
//! - Here a key waits for nothing but its own messages. With partitions, each of which has
//!   one owner at a time, it waits for the window of that owner and for each change of
//!   owners, and messages without a key wait with it.
//! - There are no partitions to divide, and no leases on them to take, renew and hand over: a
//!   process has one lease, and what it has in hand is a set that others may take back.
//! - What is settled is gone from every list. A consumer group keeps entries that are pending
//!   apart from those that are there, and what is trimmed in between is neither.
//! - A message that is given back goes to where its number says, which a stream cannot do.
//!
//! It costs: scripts do more than `XREADGROUP` and `XACK`. A message of 200 bytes takes the
//! server 5 microseconds in all without an order, and 9 in the order of keys of which most have
//! something that waits; each further group takes it again, with a copy of its own. So that
//! this is all, what many messages need is one command for all of them, and a process speaks
//! in turns: one script tells what became of all messages since the last turn, renews the lease,
//! takes back what the dead had, and takes what there is room for. Between two turns it waits
//! for the bell, a stream with one entry that every process of the group reads, so that none
//! can miss it.
//!
//! All keys of a prefix are in one slot, as are those of read models, so that one script can
//! reach all groups of a topic. Brokers that need more than one server have a prefix each.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use es_core::{
    Address, Consumer, DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Deliveries, Group,
    Message, Publisher, StoreError, Subscription,
};
use parking_lot::Mutex;

mod bell;
mod letters;
mod link;
mod member;
mod members;
mod publishing;
mod pump;
mod routes;
mod turn;
mod wire;

pub(crate) use link::Limits;
use link::{Link, Terms};
use members::Members;
use pump::Pump;
use routes::Routes;

use crate::{connection::Connection, keys::Keys};

/// A broker in a Redis server; clones share the connection, and the members of one group in
/// one process share what it takes for them.
///
/// # Promises
///
/// Those of the ports, for members in any number of processes, and:
///
/// - Publishing is atomic: all groups of a topic get a message or none does. More than 500
///   messages, or 4 MB, are published in parts. Each group has a copy of its own.
/// - A process that is silent for longer than the [lease](crate::RedisOptions::lease) loses
///   what it has in hand: others are given it after a third of a lease more at the latest, as
///   the next attempt and before what follows in its order. What it says of these messages
///   later is refused with [`Fenced`](es_core::StoreErrorKind::Fenced). As long as it lives
///   it keeps what it has, however long that takes.
/// - A process takes as many messages as the [windows](Subscription::window) of its members
///   have room for, before they ask for them. A process that leaves gives them back at once.
/// - Attempts, retries that wait for their time, dead letters and what is parked are the
///   server's: they outlive every process. Retries are told by the server's clock.
/// - A connection that breaks, and a server that restarts, are no failure of the deliveries:
///   they go on as soon as it answers again. An answer that could not be given is a failure
///   of [`ack`](es_core::Delivery::ack) and the like, and the message comes again unless it
///   did arrive. If the server has lost everything, its groups are made anew. What does not
///   pass by itself, as a server that may only be read, is told in the deliveries, which go on.
/// - What cannot be read is put aside, into the hash `{prefix}:group:<group>:broken`, with one [`Corrupt`](es_core::StoreErrorKind::Corrupt)
///   in the deliveries, and its order goes on. If the group is forgotten or the runtime has
///   ended, the last of them is [`Closed`](es_core::StoreErrorKind::Closed).
/// - What is acknowledged is removed. How much of the rest is kept is
///   [bounded](crate::RedisOptions::backlog).
///
/// What is published is as durable as the server makes it: with `appendfsync everysec` a
/// second of it may be lost with the machine, and with a failover what the replica had not
/// heard of.
///
/// ```no_run
/// use es_core::{
///     Consumer, ContentType, Group, Message, Name, Publisher, Subscription, Topic, TopicPattern,
/// };
/// use es_redis_streams::RedisOptions;
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = RedisOptions::new("redis://127.0.0.1:6379").prefix("shop").broker().await?;
/// let billing = Subscription::of(Group::new("billing")?).to(TopicPattern::new("order.*")?);
/// let mut deliveries = broker.consume(billing).await?;
///
/// let message = Message::new("1", Name::new("order.placed")?, ContentType::JSON, "{}");
/// broker.publish(&Topic::new("order.placed")?.into(), vec![message]).await?;
///
/// let delivery = deliveries.next().await.expect("a delivery")?;
/// assert_eq!(delivery.message.id, "1");
/// delivery.ack().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RedisBroker {
    link: Arc<Link>,
    routes: Arc<Routes>,
    groups: Arc<Mutex<HashMap<Group, Weak<Members>>>>,
}

impl RedisBroker {
    pub(crate) fn new(connection: Arc<Connection>, keys: Arc<Keys>, limits: Limits) -> Self {
        let link = Arc::new(Link { connection, keys, limits });
        Self { link, routes: Arc::default(), groups: Arc::default() }
    }

    async fn publish_parts<'m>(
        &self,
        messages: impl Iterator<Item = (&'m Address, &'m Message)> + Send,
    ) -> Result<(), StoreError> {
        for part in publishing::parts(messages)? {
            publishing::publish(&self.link, &self.routes, &part).await?;
        }
        Ok(())
    }

    /// What a new member gets, which joins those who are here already.
    fn member(&self, subscription: &Subscription) -> Deliveries {
        let mut groups = self.groups.lock();
        let known = groups.get(&subscription.group).and_then(Weak::upgrade);
        if let Some(deliveries) = known.and_then(|members| members.join(subscription)) {
            return deliveries;
        }
        groups.retain(|_, members| members.strong_count() > 0);
        let members = Arc::new(Members::new(subscription));
        let deliveries = members.join(subscription).expect("nothing has ended yet");
        groups.insert(subscription.group.clone(), Arc::downgrade(&members));
        let pump = Pump::new(members, Arc::clone(&self.link));
        self.link.connection.world.detach(pump.run());
        deliveries
    }
}

#[async_trait]
impl Publisher for RedisBroker {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        self.publish_parts(messages.iter().map(|message| (to, message))).await
    }

    async fn publish_all(&self, messages: Vec<(Address, Message)>) -> Result<(), StoreError> {
        self.publish_parts(messages.iter().map(|(to, message)| (to, message))).await
    }
}

#[async_trait]
impl Consumer for RedisBroker {
    async fn consume(&self, subscription: Subscription) -> Result<Deliveries, StoreError> {
        let Subscription { group, begin, patterns, .. } = &subscription;
        self.link.join(group, Terms::of(&subscription), *begin, patterns).await?;
        Ok(self.member(&subscription))
    }

    async fn forget(&self, group: &Group) -> Result<(), StoreError> {
        self.link.forget(group).await?;
        let members = self.groups.lock().get(group).and_then(Weak::upgrade);
        // Others hear of it in their next turn.
        members.iter().for_each(|members| members.work.notify_one());
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for RedisBroker {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        letters::list(&self.link, &query).await
    }

    async fn give_back(
        &self,
        group: &Group,
        id: DeadLetterId,
        edited: Option<Message>,
    ) -> Result<bool, StoreError> {
        letters::give_back(&self.link, group, id, edited).await
    }

    async fn discard(&self, group: &Group, id: DeadLetterId) -> Result<bool, StoreError> {
        letters::exhume(&self.link, group, id, None).await
    }
}
