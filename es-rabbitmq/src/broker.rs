use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use es_core::{
    Address, Begin, Consumer, Deliveries, Group, Message, Order, Publisher, StoreError,
    Subscription,
};
use futures_util::future::try_join_all;
use lapin::{
    Channel, ExchangeKind, PublisherConfirm,
    options::{ExchangeDeleteOptions, QueueBindOptions, QueueDeleteOptions},
    protocol::AMQPSoftError,
    types::FieldTable,
};
use parking_lot::Mutex;

use crate::{
    envelope::{self, Uid},
    error::{disagree, ended, forgotten, is, nacked, no_history, too_long, unavailable},
    group::{Member, Members},
    names::Names,
    server::{Parcel, Server, blames, declare, is_there, name},
};

/// Messages that are sent before the first of them has to be confirmed.
const AT_ONCE: usize = 512;
/// How long a record may take until members of this process have read it.
const HEARD_WITHIN: Duration = Duration::from_secs(2);
/// Most groups of which it is remembered that they are there.
const KNOWN: usize = 10_000;

/// A broker on a RabbitMQ server; clones share it. See [`RabbitOptions`] for how it is made.
///
/// # Promises
///
/// Those of the ports, and:
///
/// - A group gets the messages of a partition in the order in which the server has them,
///   whoever of its processes dies.
/// - [`ack`](es_core::Delivery::ack) does not wait for the server: if the connection breaks
///   at once, what was acknowledged last comes again.
/// - The processes of a group share its partitions: each is handed out by one process at a
///   time. It goes to another one when nothing of it is in hand, or when the server has lost
///   the connection: at once if the process dies, else after two
///   [heartbeats](crate::RabbitOptions::heartbeat).
/// - Of each partition a process takes 1,000 messages at most before some are settled. What
///   waits for its next try is among them.
/// - What waits for its next try waits no longer when its partition goes to another process,
///   and its tries are counted anew there.
/// - A message that is held for longer than the server's `consumer_timeout`, half an hour
///   unless told otherwise, comes again.
/// - Groups begin with what comes: [`Begin::Earliest`] is
///   [`Unsupported`](es_core::StoreErrorKind::Unsupported).
/// - In a group of [`Order::Whole`], what was sent to its queue before its first member came
///   keeps its order by key only.
/// - Each look at dead letters reads all that was ever written about those of the group.
///
/// [`RabbitOptions`]: crate::RabbitOptions
///
/// ```no_run
/// use es_core::{
///     Consumer, ContentType, Group, Message, Name, Publisher, Subscription, Topic, TopicPattern,
/// };
/// use es_rabbitmq::RabbitOptions;
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = RabbitOptions::new("amqp://127.0.0.1:5672/%2f").prefix("shop").connect().await?;
/// let billing = Subscription::of(Group::new("billing")?).to(TopicPattern::new("order.*")?);
/// let mut deliveries = broker.consume(billing).await?;
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
pub struct RabbitBroker {
    pub(crate) server: Arc<Server>,
    groups: Groups,
    /// Groups whose queues were there when it was looked.
    known: Arc<Mutex<HashSet<Group>>>,
}

/// The groups that have members in this process.
type Groups = Arc<Mutex<HashMap<Group, Arc<Members>>>>;

impl RabbitBroker {
    pub(crate) fn new(server: Server) -> Self {
        Self { server: Arc::new(server), groups: Groups::default(), known: Arc::default() }
    }

    /// Waits until the members of this process, if it has some of this group, have read the
    /// record with this number. It has to be asked for before that is written.
    pub(crate) fn heard(&self, group: &Group, uid: Uid) -> impl Future<Output = ()> + use<> {
        let members = self.groups.lock().get(group).cloned();
        let read = members.map(|members| members.when_read(uid));
        let world = self.server.world.clone();
        async move {
            let Some(read) = read else { return };
            tokio::select! {
                _ = read => {}
                () = world.sleep(HEARD_WITHIN) => {}
            }
        }
    }

    /// Founds the group, or joins it with what it does not listen to yet.
    async fn join(&self, asked: &Subscription) -> Result<(), StoreError> {
        if asked.begin == Begin::Earliest {
            return Err(no_history());
        }
        let (names, group) = (&self.server.names, &asked.group);
        if let Some(pattern) = names.too_long(&asked.patterns) {
            return Err(too_long(pattern));
        }
        let channel = self.server.channel().await?;
        let says = names.charted(asked.order, asked.parks);
        match declare(&channel, names.charter(group), ExchangeKind::Fanout, &says).await {
            Err(error) if is(&error, AMQPSoftError::PRECONDITIONFAILED) => {
                return Err(disagree(group));
            }
            declared => declared.map_err(not_joined)?,
        }
        self.server.make_queues(&channel, group).await.map_err(not_joined)?;
        self.bind_queue(&channel, group, asked.order).await.map_err(not_joined)?;
        self.bind_topics(&channel, asked).await.map_err(not_joined)
    }

    /// Lets the group have what is addressed to it. Where all wait for each other, there is
    /// one queue for all.
    async fn bind_queue(
        &self,
        channel: &Channel,
        group: &Group,
        order: Order,
    ) -> Result<(), lapin::Error> {
        let names = &self.server.names;
        let bound = (0..names.partitions).map(|partition| {
            let to = if order == Order::Whole { 0 } else { partition };
            let key = name(Names::group_key(partition, group));
            let (queue, from) = (name(names.queue(to, group)), name(names.groups()));
            channel.queue_bind(queue, from, key, QueueBindOptions::default(), FieldTable::default())
        });
        try_join_all(bound).await?;
        if order != Order::Whole {
            return Ok(());
        }
        // Whoever publishes may have made it before its first member came.
        let unbound = (1..names.partitions).map(|partition| {
            let key = name(Names::group_key(partition, group));
            let (queue, from) = (name(names.queue(partition, group)), name(names.groups()));
            channel.queue_unbind(queue, from, key, FieldTable::default())
        });
        try_join_all(unbound).await.map(drop)
    }

    async fn bind_topics(
        &self,
        channel: &Channel,
        asked: &Subscription,
    ) -> Result<(), lapin::Error> {
        let names = &self.server.names;
        let partitions: Vec<_> = match asked.order {
            Order::Whole => vec![None],
            Order::None | Order::Key => (0..names.partitions).map(Some).collect(),
        };
        let bound = asked.patterns.iter().flat_map(|pattern| {
            partitions.iter().map(|partition| {
                let key = name(Names::binding(*partition, pattern));
                let queue = name(names.queue(partition.unwrap_or_default(), &asked.group));
                let options = QueueBindOptions::default();
                channel.queue_bind(queue, name(names.topics()), key, options, FieldTable::default())
            })
        });
        try_join_all(bound).await.map(drop)
    }

    /// A new member of this process. It is counted before anybody can see that there is none.
    fn member(&self, asked: &Subscription) -> Member {
        let mut groups = self.groups.lock();
        if let Some(known) = groups.get(&asked.group).filter(|known| !known.is_closed()) {
            return Member::new(Arc::clone(known), asked.window);
        }
        let members = Arc::new(Members::new(asked, Arc::clone(&self.server)));
        let member = Member::new(Arc::clone(&members), asked.window);
        groups.insert(asked.group.clone(), Arc::clone(&members));
        self.server.world.detach(work(Arc::clone(&self.groups), End(members)));
        member
    }

    /// Makes the queues of a group unless it was done before.
    async fn found(&self, group: &Group) -> Result<(), StoreError> {
        if self.known.lock().contains(group) {
            return Ok(());
        }
        let failed = |error| unavailable("the queues of a group were not made", error);
        let channel = self.server.channel().await?;
        let charter = self.server.names.charter(group);
        if !is_there(&channel, charter).await? {
            let channel = self.server.channel().await?;
            self.server.make_queues(&channel, group).await.map_err(failed)?;
            self.bind_queue(&channel, group, Order::Key).await.map_err(failed)?;
        }
        let mut known = self.known.lock();
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(group.clone());
        Ok(())
    }

    fn parcel(&self, to: &Address, message: Message) -> Result<Parcel, StoreError> {
        let names = &self.server.names;
        let partition = names.partition(&message);
        let mut headers = envelope::headers(Uid::new(&self.server.world));
        envelope::put_message(&mut headers, &message)?;
        let (exchange, key) = match to {
            Address::Topic(topic) => {
                (names.topics().to_owned(), Names::topic_key(partition, topic))
            }
            Address::Queue(group) => (names.groups(), Names::group_key(partition, group)),
        };
        Ok(Parcel {
            exchange,
            key,
            properties: envelope::described(envelope::lasting(), &message),
            headers,
            payload: message.payload,
            must_arrive: matches!(to, Address::Queue(_)),
        })
    }

    /// Sends them in order, and returns those for which there is no queue.
    async fn put_all(&self, parcels: Vec<Parcel>) -> Result<Vec<Parcel>, StoreError> {
        let mut lost = Vec::new();
        let mut sent: VecDeque<(Parcel, PublisherConfirm)> = VecDeque::with_capacity(AT_ONCE);
        for parcel in parcels {
            if sent.len() >= AT_ONCE
                && let Some((first, confirm)) = sent.pop_front()
                && !self.server.confirmed(confirm).await?
            {
                lost.push(first);
            }
            let confirm = self.server.send(&parcel).await?;
            sent.push_back((parcel, confirm));
        }
        for (parcel, confirm) in sent {
            if !self.server.confirmed(confirm).await? {
                lost.push(parcel);
            }
        }
        Ok(lost)
    }
}

fn not_joined(error: lapin::Error) -> StoreError {
    unavailable("the group was not joined", error)
}

/// Works until the last member has left.
async fn work(groups: Groups, end: End) {
    let End(members) = &end;
    loop {
        members.work().await;
        let mut groups = groups.lock();
        if members.is_empty() || members.is_closed() {
            if groups.get(&members.group).is_some_and(|known| Arc::ptr_eq(known, members)) {
                groups.remove(&members.group);
            }
            return;
        }
    }
}

/// Nobody works for the members any more, also if the runtime ends, which drops what it runs.
struct End(Arc<Members>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.close(ended);
    }
}

#[async_trait]
impl Publisher for RabbitBroker {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        if let Address::Queue(group) = to {
            self.found(group).await?;
        }
        let mut parcels = Vec::with_capacity(messages.len());
        for message in messages {
            let parcel = self.parcel(to, message)?;
            self.server.check(&parcel.headers).await?;
            parcels.push(parcel);
        }
        let largest = parcels.iter().map(|parcel| parcel.payload.len()).max().unwrap_or_default();
        let lost = self.put_all(parcels).await.map_err(|error| blames(error, largest))?;
        let Address::Queue(group) = to else { return Ok(()) };
        if lost.is_empty() {
            return Ok(());
        }
        // It was forgotten since it was found.
        self.known.lock().remove(group);
        self.found(group).await?;
        match self.put_all(lost).await?.is_empty() {
            true => Ok(()),
            false => Err(nacked()),
        }
    }
}

#[async_trait]
impl Consumer for RabbitBroker {
    async fn consume(&self, subscription: Subscription) -> Result<Deliveries, StoreError> {
        self.join(&subscription).await?;
        let member = self.member(&subscription);
        member.members.opened().await;
        Ok(member.deliveries())
    }

    async fn forget(&self, group: &Group) -> Result<(), StoreError> {
        if let Some(members) = self.groups.lock().remove(group) {
            members.close(forgotten);
        }
        self.known.lock().remove(group);
        let failed = |error| unavailable("the group is not wholly forgotten", error);
        let (names, channel) = (&self.server.names, self.server.channel().await?);
        let queues = (0..names.partitions).map(|partition| names.queue(partition, group));
        let gone = queues
            .chain([names.letters(group)])
            .map(|queue| channel.queue_delete(name(queue), QueueDeleteOptions::default()));
        try_join_all(gone).await.map_err(failed)?;
        // Last: whoever joins while it is there has to agree.
        let gone =
            channel.exchange_delete(name(names.charter(group)), ExchangeDeleteOptions::default());
        gone.await.map_err(failed)
    }
}
