//! One group in this process: its members, and what is handed out to them.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use es_core::{Deliveries, Delivery, Fault, Group, Settlement, StoreError, Subscription};
use futures_util::{StreamExt, stream};
use lapin::{Channel, Consumer, options::BasicAckOptions};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

mod burying;
mod keeping;
mod queue;
mod returned;
mod unit;

use queue::{Origin, Queue, Taken, Unsettled};

use crate::{error::fenced, letters::Record, server::Server};

/// How long the partitions of which one waits for the process before it hold up the others.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// The members that one group has in this process.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) group: Group,
    server: Arc<Server>,
    queue: Mutex<Queue>,
    /// The channels of the partitions, and who consumes over them.
    held: Mutex<HashMap<u32, (Channel, Consumer)>>,
    /// How many there are.
    count: AtomicUsize,
    /// Why nobody has anything any more.
    closed: OnceLock<fn(&Group) -> StoreError>,
    /// Wakes whoever waits for a message.
    changed: Notify,
    /// Wakes the loop that shares out the partitions.
    keep: Notify,
    /// Wakes whoever waits to hand over a partition.
    let_go: Notify,
}

/// Somebody who takes part.
pub(crate) struct Member {
    pub(crate) members: Arc<Members>,
    window: Arc<Semaphore>,
}

impl Members {
    pub(crate) fn new(asked: &Subscription, server: Arc<Server>) -> Self {
        Self {
            group: asked.group.clone(),
            server,
            queue: Mutex::new(Queue::new(asked.order, asked.parks)),
            held: Mutex::default(),
            count: AtomicUsize::new(0),
            closed: OnceLock::new(),
            changed: Notify::new(),
            keep: Notify::new(),
            let_go: Notify::new(),
        }
    }

    /// Lets nobody have anything any more. The first reason counts.
    pub(crate) fn close(&self, why: fn(&Group) -> StoreError) {
        let _ = self.closed.set(why);
        self.changed.notify_waiters();
        self.keep.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get().is_some()
    }

    fn is_open(&self) -> Result<(), StoreError> {
        self.closed.get().map_or(Ok(()), |why| Err(why(&self.group)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Waits until it hands out what it has. Who publishes in the order in which others shall
    /// hear of it, whatever the keys are, does well to wait for that.
    pub(crate) async fn opened(&self) {
        let opened = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if self.queue.lock().has_opened() || self.is_closed() {
                    return;
                }
                changed.await;
            }
        };
        tokio::select! {
            () = opened => {}
            () = self.server.world.sleep(OPEN_WITHIN) => {}
        }
    }

    /// It is in no hand any more.
    fn let_go(&self, unsettled: &Unsettled) {
        self.queue.lock().let_go(unsettled);
        self.let_go.notify_waiters();
    }

    /// It is in no hand any more, and waits for another try.
    fn put_back(&self, unsettled: Unsettled) {
        self.let_go(&unsettled);
        self.queue.lock().put_back(unsettled);
        self.changed.notify_waiters();
    }
}

impl Member {
    pub(crate) fn new(members: Arc<Members>, window: usize) -> Self {
        let window = Arc::new(Semaphore::new(window.clamp(1, Semaphore::MAX_PERMITS)));
        members.count.fetch_add(1, Ordering::SeqCst);
        members.keep.notify_one();
        Self { members, window }
    }

    /// What it gets.
    pub(crate) fn deliveries(self) -> Deliveries {
        stream::unfold(Some(self), |member| async move {
            let member = member?;
            match member.next().await {
                Ok(delivery) => Some((Ok(delivery), Some(member))),
                Err(closed) => Some((Err(closed), None)),
            }
        })
        .boxed()
    }

    async fn next(&self) -> Result<Delivery, StoreError> {
        let held = Arc::clone(&self.window).acquire_owned().await;
        let mut held = Some(held.expect("the semaphore is never closed"));
        loop {
            let mut changed = std::pin::pin!(self.members.changed.notified());
            // From now on, so that no change between the look and the wait is lost.
            changed.as_mut().enable();
            self.members.is_open()?;
            let taken = self.members.queue.lock().take();
            match taken {
                Some(Taken::Hand(unsettled)) => {
                    return Ok(delivery(Arc::clone(&self.members), unsettled, held.take()));
                }
                Some(Taken::Bury(unsettled, fault)) => self.bury(unsettled, fault).await,
                Some(Taken::Known(unsettled)) => {
                    // If it was lost meanwhile, it comes again.
                    let _ = Handed::new(Arc::clone(&self.members), unsettled, None).ack().await;
                }
                None => changed.await,
            }
        }
    }

    /// What fails here is tried again.
    async fn bury(&self, mut unsettled: Unsettled, fault: Fault) {
        let tries = unsettled.attempt;
        unsettled.attempt = 0;
        let handed = Handed::new(Arc::clone(&self.members), unsettled, None);
        if let Err(error) = handed.bury(fault).await {
            tracing::warn!(%error, group = %self.members.group, "a message cannot be kept apart");
            let pause = Duration::from_millis(50 << tries.min(6));
            self.members.server.world.sleep(pause).await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.members.count.fetch_sub(1, Ordering::SeqCst);
        self.members.keep.notify_one();
        self.members.changed.notify_waiters();
    }
}

/// A message in the hands of a member; if it is dropped, it goes back.
struct Handed {
    members: Arc<Members>,
    unsettled: Option<Unsettled>,
    is_settled: bool,
    _held: Option<OwnedSemaphorePermit>,
}

impl Handed {
    fn new(
        members: Arc<Members>,
        unsettled: Unsettled,
        held: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self { members, unsettled: Some(unsettled), is_settled: false, _held: held }
    }

    fn unsettled(&self) -> &Unsettled {
        self.unsettled.as_ref().expect("it is taken out by whoever ends it")
    }

    async fn settle(self, settlement: Settlement) -> Result<(), StoreError> {
        match settlement {
            Settlement::Ack => self.ack().await,
            Settlement::DeadLetter(fault) => self.bury(fault).await,
            Settlement::Retry(after) => {
                self.keep_for(after);
                Ok(())
            }
        }
    }

    async fn ack(mut self) -> Result<(), StoreError> {
        if let Origin::Letter = self.unsettled().origin {
            self.channel()?;
            let record = Record::Done { number: self.unsettled().number };
            let written = self.members.append(&record, None).await;
            written.map_err(|error| self.written_perhaps(error))?;
        }
        self.leave_queue().await
    }

    /// First it stands among the dead letters, then it leaves the queue.
    async fn bury(mut self, fault: Fault) -> Result<(), StoreError> {
        self.channel()?;
        let written = self.members.keep_apart(self.unsettled(), fault).await;
        written.map_err(|error| self.written_perhaps(error))?;
        self.leave_queue().await
    }

    /// The channel over which it came, if it is still this process that has its partition.
    fn channel(&self) -> Result<Channel, StoreError> {
        let channel = self.members.queue.lock().channel(self.unsettled());
        channel.ok_or_else(|| fenced(&self.members.group))
    }

    /// The record of which this was said may be in the log all the same: the message is handed
    /// out again when all is read that was written before.
    fn written_perhaps(&mut self, error: StoreError) -> StoreError {
        let unsettled = self.unsettled.take().expect("it is taken out by whoever ends it");
        let members = Arc::clone(&self.members);
        self.members.server.world.detach(async move {
            members.catch_up_with(&unsettled).await;
            members.put_back(unsettled);
        });
        error
    }

    /// The server learns of it in the order in which this is said.
    async fn leave_queue(&mut self) -> Result<(), StoreError> {
        // From the first moment on: what is acknowledged twice closes the channel.
        self.is_settled = true;
        let channel = self.channel()?;
        if let Origin::Queue(tag) = self.unsettled().origin {
            let acked = channel.basic_ack(tag, BasicAckOptions::default()).await;
            acked.map_err(|error| fenced(&self.members.group).because(error))?;
        }
        Ok(())
    }

    /// The task that waits ends with the message back in the queue. Whoever takes over
    /// meanwhile does not wait for it.
    fn keep_for(mut self, after: Duration) {
        let unsettled = self.unsettled.take().expect("it is taken out by whoever ends it");
        let members = Arc::clone(&self.members);
        let wait = members.server.world.sleep(after);
        members.let_go(&unsettled);
        members.server.world.clone().detach(async move {
            wait.await;
            members.queue.lock().put_back(unsettled);
            members.changed.notify_waiters();
        });
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let Some(unsettled) = self.unsettled.take() else { return };
        if !self.is_settled {
            return self.members.put_back(unsettled);
        }
        self.members.let_go(&unsettled);
        self.members.queue.lock().release(&unsettled);
        self.members.changed.notify_waiters();
    }
}

fn delivery(
    members: Arc<Members>,
    unsettled: Unsettled,
    held: Option<OwnedSemaphorePermit>,
) -> Delivery {
    let (to, message, attempt) =
        (unsettled.to.clone(), unsettled.message.clone(), unsettled.attempt);
    let handed = Handed::new(members, unsettled, held);
    Delivery::new(to, message, attempt, |settlement| Box::pin(handed.settle(settlement)))
}
