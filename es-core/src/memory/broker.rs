use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{StreamExt, future, stream, stream::BoxStream};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::{
    Consumer, Delivery, Message, Name, Publisher, Settlement, StoreError, StoreErrorKind,
    Subscription, World,
};

#[cfg(test)]
mod tests;

/// A broker that lives as long as the process; clones share it. See
/// [`Publisher`] and [`Consumer`] for examples.
///
/// # Promises
///
/// - A group begins with the first [`consume`](Consumer::consume) that names it
///   and stays for good; what was published before is not for it.
/// - A group gets its messages in the order in which they were published, and
///   those that come again before those that are new. While one message of a
///   key is unsettled, no other message of this key is handed out.
/// - A group holds at most [`QUEUE_MESSAGES`](Self::QUEUE_MESSAGES) unsettled
///   messages; while one group of a topic is full,
///   [`publish`](Publisher::publish) to the topic waits.
///
/// ```
/// use std::time::Duration;
/// use es_core::{
///     Consumer, ContentType, Message, Name, Publisher, Subscription, memory::MemoryBroker,
/// };
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new();
/// let (orders, billing) = (Name::new("orders")?, Name::new("billing")?);
/// let mut deliveries = broker.consume(Subscription::new(orders.clone(), billing.clone()));
/// broker.publish(&orders, vec![Message::new("1", ContentType::JSON, "{}")]).await?;
///
/// deliveries.next().await.expect("a delivery")?.retry(Duration::from_millis(1)).await?;
/// let again = deliveries.next().await.expect("a delivery")?;
/// assert_eq!(again.attempt, 2);
/// again.dead_letter("no such order").await?;
/// assert_eq!(broker.dead_letters(&orders, &billing)[0].1, "no such order");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryBroker {
    world: World,
    topics: Arc<Mutex<Topics>>,
}

type Topics = BTreeMap<Name, BTreeMap<Name, Arc<Group>>>;

impl MemoryBroker {
    /// Most messages that one group holds unsettled.
    pub const QUEUE_MESSAGES: usize = 10_000;
    /// Most messages that one group keeps apart; with more,
    /// [`Delivery::dead_letter`] fails and the message comes again.
    pub const DEAD_LETTERS: usize = 10_000;

    /// A broker without topics, in the real world.
    pub fn new() -> Self {
        Self::default()
    }

    /// A broker without topics that waits on this world's clock.
    pub fn in_world(world: World) -> Self {
        Self { world, topics: Arc::default() }
    }

    /// What `group` could not handle of `topic`, each with the reason, oldest
    /// first.
    pub fn dead_letters(&self, topic: &Name, group: &Name) -> Vec<(Message, String)> {
        let topics = self.topics.lock();
        let group = topics.get(topic).and_then(|groups| groups.get(group));
        group.map(|group| group.queue.lock().dead.clone()).unwrap_or_default()
    }

    fn groups(&self, topic: &Name) -> Vec<Arc<Group>> {
        self.topics.lock().get(topic).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }
}

#[async_trait]
impl Publisher for MemoryBroker {
    async fn publish(&self, topic: &Name, messages: Vec<Message>) -> Result<(), StoreError> {
        let groups = self.groups(topic);
        for message in messages {
            for group in &groups {
                group.push(message.clone()).await;
            }
        }
        Ok(())
    }
}

impl Consumer for MemoryBroker {
    fn consume(
        &self,
        subscription: Subscription,
    ) -> BoxStream<'static, Result<Delivery, StoreError>> {
        let Subscription { topic, group } = subscription;
        let mut topics = self.topics.lock();
        let new = || Arc::new(Group::new(self.world.clone()));
        let group = topics.entry(topic).or_default().entry(group).or_insert_with(new);
        stream::unfold(Arc::clone(group), |group| async move {
            let delivery = Group::next(&group).await;
            Some((Ok(delivery), group))
        })
        .boxed()
    }
}

/// What one group has to do.
#[derive(Debug)]
struct Group {
    world: World,
    /// A permit goes with each message until it is settled.
    room: Arc<Semaphore>,
    queue: Mutex<Queue>,
    /// Wakes every member that waits, because one that was woken alone might be
    /// busy elsewhere while the others sleep.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    published: u64,
    /// By order of publication, so that what comes back stands in front.
    waiting: BTreeMap<u64, Unsettled>,
    busy_keys: HashSet<String>,
    dead: Vec<(Message, String)>,
}

#[derive(Debug)]
struct Unsettled {
    number: u64,
    attempt: u32,
    message: Message,
    _room: OwnedSemaphorePermit,
}

impl Group {
    fn new(world: World) -> Self {
        let room = Arc::new(Semaphore::new(MemoryBroker::QUEUE_MESSAGES));
        Self { world, room, queue: Mutex::default(), changed: Notify::new() }
    }

    async fn push(&self, message: Message) {
        let room = Arc::clone(&self.room).acquire_owned().await;
        let _room = room.expect("the semaphore is never closed");
        let mut queue = self.queue.lock();
        queue.published += 1;
        let number = queue.published;
        queue.waiting.insert(number, Unsettled { number, attempt: 1, message, _room });
        drop(queue);
        self.changed.notify_waiters();
    }

    async fn next(self: &Arc<Self>) -> Delivery {
        loop {
            // Created before the look, so that no change between the two is lost.
            let changed = self.changed.notified();
            let taken = self.queue.lock().take();
            if let Some(unsettled) = taken {
                return delivery(Arc::clone(self), unsettled);
            }
            changed.await;
        }
    }

    fn put_back(&self, mut unsettled: Unsettled) {
        unsettled.attempt = unsettled.attempt.saturating_add(1);
        let mut queue = self.queue.lock();
        queue.free(&unsettled.message);
        queue.waiting.insert(unsettled.number, unsettled);
        drop(queue);
        self.changed.notify_waiters();
    }

    fn settled(&self, unsettled: Unsettled) {
        self.queue.lock().free(&unsettled.message);
        self.changed.notify_waiters();
    }
}

impl Queue {
    fn take(&mut self) -> Option<Unsettled> {
        let is_free = |message: &Message| {
            !message.key.as_ref().is_some_and(|key| self.busy_keys.contains(key))
        };
        let (number, _) = self.waiting.iter().find(|(_, unsettled)| is_free(&unsettled.message))?;
        let number = *number;
        let unsettled = self.waiting.remove(&number)?;
        self.busy_keys.extend(unsettled.message.key.clone());
        Some(unsettled)
    }

    fn free(&mut self, message: &Message) {
        if let Some(key) = &message.key {
            self.busy_keys.remove(key);
        }
    }

    fn bury(&mut self, message: Message, reason: String) -> Result<(), StoreError> {
        if self.dead.len() >= MemoryBroker::DEAD_LETTERS {
            let message = "no room for another dead letter, the message comes again";
            return Err(StoreError::new(StoreErrorKind::Full, message));
        }
        self.dead.push((message, reason));
        Ok(())
    }
}

/// A message in the hands of a member; if it is dropped, it goes back.
struct Handed {
    group: Arc<Group>,
    unsettled: Option<Unsettled>,
}

impl Handed {
    fn settle(mut self, settlement: Settlement) -> Result<(), StoreError> {
        match settlement {
            Settlement::Ack => {}
            Settlement::Retry(after) => {
                self.keep_for(after);
                return Ok(());
            }
            Settlement::DeadLetter(reason) => self.bury(reason)?,
        }
        if let Some(unsettled) = self.unsettled.take() {
            self.group.settled(unsettled);
        }
        Ok(())
    }

    /// The task that waits ends with the message back in the queue.
    fn keep_for(self, after: Duration) {
        let world = self.group.world.clone();
        let wait = world.sleep(after);
        world.detach(async move {
            wait.await;
            drop(self);
        });
    }

    fn bury(&self, reason: String) -> Result<(), StoreError> {
        let Some(unsettled) = &self.unsettled else { return Ok(()) };
        self.group.queue.lock().bury(unsettled.message.clone(), reason)
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(unsettled) = self.unsettled.take() {
            self.group.put_back(unsettled);
        }
    }
}

fn delivery(group: Arc<Group>, unsettled: Unsettled) -> Delivery {
    let (message, attempt) = (unsettled.message.clone(), unsettled.attempt);
    let handed = Handed { group, unsettled: Some(unsettled) };
    Delivery::new(message, attempt, |settlement| Box::pin(future::ready(handed.settle(settlement))))
}
