//! One group in this process: its members, and what is handed out to them.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use es_core::{Deliveries, Delivery, Fault, Group, Settlement, StoreError, StoreErrorKind};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

pub(crate) mod charter;

mod burying;
mod keeping;
mod queue;
mod reading;
mod saving;
mod unit;

use charter::Charter;
pub(crate) use queue::Unsettled;
use queue::{Queue, Taken};
pub(crate) use reading::consumer;

use crate::{
    error::{fenced, unsaved},
    server::Server,
};

/// How long it is waited for the server to learn of a dead letter.
const SAVED_WITHIN: Duration = Duration::from_secs(30);

/// The members that one group has in this process. Three loops work for them, in one task:
/// one keeps what this process has of the group, one reads, one saves.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) group: Group,
    /// The charter's.
    pub(crate) id: String,
    server: Arc<Server>,
    queue: Mutex<Queue>,
    /// How many there are.
    count: AtomicUsize,
    /// Why nobody has anything any more.
    closed: OnceLock<fn(&Group) -> StoreError>,
    /// Until when others take it for sure that this process lives.
    alive_until: Mutex<Instant>,
    /// Wakes whoever waits for a message, or for one to be saved.
    changed: Notify,
    /// Wakes the loop that keeps.
    keep: Notify,
    /// Wakes the loop that reads.
    read: Notify,
    /// Wakes the loop that saves.
    save: Notify,
    saving: tokio::sync::Mutex<()>,
    /// The number of the last notice that was read.
    told: watch::Sender<u64>,
}

/// Somebody who takes part.
pub(crate) struct Member {
    members: Arc<Members>,
    window: Arc<Semaphore>,
}

impl Members {
    pub(crate) fn new(group: Group, charter: &Charter, server: Arc<Server>) -> Self {
        Self {
            group,
            id: charter.id.clone(),
            server,
            queue: Mutex::new(Queue::new(charter)),
            count: AtomicUsize::new(0),
            closed: OnceLock::new(),
            alive_until: Mutex::new(Instant::now()),
            changed: Notify::new(),
            keep: Notify::new(),
            read: Notify::new(),
            save: Notify::new(),
            saving: tokio::sync::Mutex::default(),
            told: watch::Sender::new(0),
        }
    }

    /// Works for the members until there are none, or the group is forgotten.
    pub(crate) async fn work(&self) {
        tokio::select! {
            () = self.keep() => {}
            () = self.read() => {}
            () = self.save() => {}
        }
        self.changed.notify_waiters();
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

    /// Looks at the charter soon.
    pub(crate) fn wake(&self) {
        self.keep.notify_one();
    }

    /// Waits until it has read a notice of this partition, if it has the partition.
    pub(crate) async fn heard(&self, partition: u32, notice: u64) {
        let has_it = {
            let queue = self.queue.lock();
            queue.units.contains_key(&queue.unit_of(partition))
        };
        if has_it {
            // The sender lives as long as we do.
            let _ = self.told.subscribe().wait_for(|told| *told >= notice).await;
        }
    }

    fn wake_if_leaving(&self) {
        if self.is_empty() || self.queue.lock().is_leaving() {
            self.wake();
        }
    }

    fn is_alive(&self) -> bool {
        Instant::now() < *self.alive_until.lock()
    }

    fn take(&self) -> Option<Taken> {
        if self.is_alive() { self.queue.lock().take() } else { None }
    }

    /// Waits until the server knows of this change.
    async fn saved(&self, unsettled: &Unsettled, changes: u64) -> Result<(), StoreError> {
        let all = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                match self.queue.lock().is_saved(unsettled, changes) {
                    Some(true) => return Ok(()),
                    Some(false) => self.is_open()?,
                    None => return Err(fenced(&self.group)),
                }
                changed.await;
            }
        };
        tokio::select! {
            saved = all => saved,
            () = self.server.world.sleep(SAVED_WITHIN) => Err(unsaved(&self.group, SAVED_WITHIN)),
        }
    }
}

impl Member {
    pub(crate) fn new(members: Arc<Members>, window: usize) -> Self {
        let window = Arc::new(Semaphore::new(window.clamp(1, Semaphore::MAX_PERMITS)));
        members.count.fetch_add(1, Ordering::SeqCst);
        members.wake();
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
            match self.members.take() {
                Some(Taken::Hand(unsettled)) => {
                    return Ok(delivery(Arc::clone(&self.members), unsettled, held.take()));
                }
                Some(Taken::Bury(unsettled, fault)) => self.bury(unsettled, fault).await,
                None => changed.await,
            }
        }
    }

    /// What fails here is tried again.
    async fn bury(&self, mut unsettled: Unsettled, fault: Fault) {
        let tries = unsettled.attempt;
        unsettled.attempt = 0;
        let members = Arc::clone(&self.members);
        let handed = Handed { members, unsettled: Some(unsettled), is_settled: false, _held: None };
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
        self.members.wake();
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
        let unsettled = self.unsettled.as_ref().expect("it is taken out by whoever ends it");
        if unsettled.may_be_dead {
            self.members.revive(unsettled).await?;
        }
        self.settled(Queue::settle).map(|_| ())
    }

    /// What is settled is written soon, many at once; if this process dies before, the
    /// message comes again.
    fn settled(
        &mut self,
        how: fn(&mut Queue, &Unsettled) -> Option<u64>,
    ) -> Result<u64, StoreError> {
        let unsettled = self.unsettled.as_ref().expect("it is taken out by whoever ends it");
        let changes = how(&mut self.members.queue.lock(), unsettled);
        self.is_settled = true;
        self.members.save.notify_one();
        self.members.changed.notify_waiters();
        let changes = changes.ok_or_else(|| fenced(&self.members.group))?;
        self.members.is_open()?;
        Ok(changes)
    }

    /// First it stands among the dead letters, then it is settled.
    async fn bury(mut self, fault: Fault) -> Result<(), StoreError> {
        let members = Arc::clone(&self.members);
        let unsettled = self.unsettled.as_mut().expect("it is taken out by whoever ends it");
        let revision = members.keep_apart(unsettled, &fault).await?;
        let changes = self.settled(Queue::bury);
        let unsettled = self.unsettled.as_ref().expect("it is taken out by whoever ends it");
        let saved = match changes {
            Ok(changes) => members.saved(unsettled, changes).await,
            Err(fenced) => Err(fenced),
        };
        let is_lost = |kind| matches!(kind, StoreErrorKind::Fenced | StoreErrorKind::Closed);
        if saved.as_ref().is_err_and(|error| is_lost(error.kind())) {
            members.take_back(unsettled, revision).await;
        }
        saved
    }

    /// The task that waits ends with the message back in the queue. Whoever takes over
    /// meanwhile does not wait for it.
    fn keep_for(mut self, after: Duration) {
        let unsettled = self.unsettled.take().expect("it is taken out by whoever ends it");
        let wait = self.members.server.world.sleep(after);
        self.members.queue.lock().let_go(&unsettled);
        self.members.wake_if_leaving();
        let world = self.members.server.world.clone();
        world.detach(async move {
            wait.await;
            self.members.queue.lock().put_back(unsettled);
            self.members.changed.notify_waiters();
        });
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        let Some(unsettled) = self.unsettled.take() else { return };
        {
            let mut queue = self.members.queue.lock();
            queue.let_go(&unsettled);
            if !self.is_settled {
                queue.put_back(unsettled);
            }
        }
        if !self.is_settled {
            self.members.changed.notify_waiters();
        }
        self.members.wake_if_leaving();
    }
}

fn delivery(
    members: Arc<Members>,
    unsettled: Unsettled,
    held: Option<OwnedSemaphorePermit>,
) -> Delivery {
    let (to, message, attempt) =
        (unsettled.to.clone(), unsettled.message.clone(), unsettled.attempt);
    let handed = Handed { members, unsettled: Some(unsettled), is_settled: false, _held: held };
    Delivery::new(to, message, attempt, |settlement| Box::pin(handed.settle(settlement)))
}
