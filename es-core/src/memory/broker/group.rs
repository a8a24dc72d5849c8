use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future, stream};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::{
    MemoryBroker,
    queue::{Queue, Unsettled},
};
use crate::{
    Address, DeadLetter, DeadLetterId, DeadLetterQuery, Deliveries, Delivery, Fault, Group,
    Message, Settlement, StoreError, Subscription, Topic, World,
};

/// Messages that are pushed under one lock.
const AT_ONCE: usize = 256;

/// The members of one group, and what they have to do.
#[derive(Debug)]
pub(super) struct Members {
    group: Group,
    world: World,
    /// A permit goes with each message until it is settled.
    room: Arc<Semaphore>,
    queue: Mutex<Queue>,
    /// Wakes every member that waits, because one that was woken alone might be
    /// busy elsewhere while the others sleep.
    changed: Notify,
}

impl Members {
    pub(super) fn new(group: Group, world: World) -> Self {
        let room = Arc::new(Semaphore::new(MemoryBroker::QUEUE_MESSAGES));
        Self { group, world, room, queue: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn agree(&self, subscription: &Subscription) -> Result<(), StoreError> {
        self.queue.lock().agree(subscription)
    }

    /// Waits until there is room.
    pub(super) async fn push(&self, to: &Address, messages: Vec<Message>) {
        let mut messages = messages.into_iter();
        while messages.len() > 0 {
            let count = messages.len().min(AT_ONCE);
            let permits = u32::try_from(count).expect("it is small");
            let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
            let mut room = room.expect("the semaphore is never closed");
            let mut queue = self.queue.lock();
            for message in messages.by_ref().take(count) {
                queue.push(to.clone(), message, room.split(1));
            }
            drop(queue);
            self.changed.notify_waiters();
        }
    }

    /// Does not wait: there is no more of it than the history may hold.
    pub(super) fn push_earlier(&self, earlier: Vec<(Topic, Message)>) {
        let mut queue = self.queue.lock();
        for (topic, message) in earlier {
            queue.push(topic.into(), message, None);
        }
    }

    /// What a new member gets, so many at a time.
    pub(super) fn deliveries(self: Arc<Self>, window: usize) -> Deliveries {
        let window = Arc::new(Semaphore::new(window));
        let member = (self, window);
        stream::unfold(member, |(members, window)| async move {
            let held = Arc::clone(&window).acquire_owned().await;
            let held = held.expect("the semaphore is never closed");
            let delivery = Self::next(&members, held).await;
            Some((Ok(delivery), (members, window)))
        })
        .boxed()
    }

    async fn next(self: &Arc<Self>, held: OwnedSemaphorePermit) -> Delivery {
        loop {
            // Created before the look, so that no change between the two is lost.
            let changed = self.changed.notified();
            let taken = self.queue.lock().take(&self.group, self.world.now());
            if let Some(unsettled) = taken {
                return delivery(Arc::clone(self), unsettled, held);
            }
            changed.await;
        }
    }

    pub(super) fn dead_letters(&self, query: &DeadLetterQuery) -> Vec<DeadLetter> {
        self.queue.lock().dead_letters(query)
    }

    pub(super) fn give_back(&self, id: DeadLetterId, edited: Option<Message>) -> bool {
        let was_there = self.queue.lock().give_back(id, edited);
        self.changed.notify_waiters();
        was_there
    }

    pub(super) fn discard(&self, id: DeadLetterId) -> bool {
        let was_there = self.queue.lock().discard(id);
        self.changed.notify_waiters();
        was_there
    }
}

/// A message in the hands of a member; if it is dropped, it goes back.
struct Handed {
    members: Arc<Members>,
    unsettled: Option<Unsettled>,
    _held: OwnedSemaphorePermit,
}

impl Handed {
    fn settle(mut self, settlement: Settlement) -> Result<(), StoreError> {
        match settlement {
            Settlement::Retry(after) => {
                self.keep_for(after);
                return Ok(());
            }
            Settlement::DeadLetter(fault) => self.bury(fault)?,
            Settlement::Ack => {
                if let Some(unsettled) = self.unsettled.take() {
                    self.members.queue.lock().settled(&unsettled);
                }
            }
        }
        self.members.changed.notify_waiters();
        Ok(())
    }

    /// The task that waits ends with the message back in the queue.
    fn keep_for(self, after: Duration) {
        let world = self.members.world.clone();
        let wait = world.sleep(after);
        world.detach(async move {
            wait.await;
            drop(self);
        });
    }

    fn bury(&mut self, fault: Fault) -> Result<(), StoreError> {
        let Some(unsettled) = &self.unsettled else { return Ok(()) };
        let Members { group, world, queue, .. } = &*self.members;
        queue.lock().bury_settled(group, unsettled, fault, world.now())?;
        self.unsettled = None;
        Ok(())
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(unsettled) = self.unsettled.take() {
            self.members.queue.lock().put_back(unsettled);
            self.members.changed.notify_waiters();
        }
    }
}

fn delivery(members: Arc<Members>, unsettled: Unsettled, held: OwnedSemaphorePermit) -> Delivery {
    let (to, message, attempt) =
        (unsettled.to.clone(), unsettled.message.clone(), unsettled.attempt);
    let handed = Handed { members, unsettled: Some(unsettled), _held: held };
    Delivery::new(to, message, attempt, |settlement| {
        Box::pin(future::ready(handed.settle(settlement)))
    })
}
