//! Appends that wait for a writer, and the groups that are made of them.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use es_core::{AppendError, AppendId, Appended, Batch, StoreError, StreamId, World};
use futures_util::future::{Either, select};
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    error::{closed, lost},
    simple,
};

/// Most events, and about the most payload, of one group.
const EVENTS: usize = 2_048;
const BYTES: usize = 8 * 1024 * 1024;
/// How far to look for appends that fit into a group.
const LOOKED_AT: usize = 1_024;
/// How often to let others run before a group is made.
const YIELDS: usize = 8;
/// How long a small group waits for a large one that is under way: it may wait for a
/// lock, or for a connection that has gone silent.
const HELD_UP: Duration = Duration::from_millis(100);

/// An append, and who waits for it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) batch: Batch,
    answer: oneshot::Sender<Result<Appended, AppendError>>,
    is_simple: bool,
    _room: OwnedSemaphorePermit,
}

impl Job {
    pub(crate) fn answer(self, outcome: Result<Appended, AppendError>) {
        let _ = self.answer.send(outcome);
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Streams of the groups under way: who wants one of them would wait for its
    /// row, with all that is in its group.
    busy: HashSet<StreamId>,
    is_closed: bool,
    /// How many appends the last group had.
    last_group: usize,
    /// How many groups are under way.
    under_way: usize,
}

impl Queue {
    pub(crate) fn new(room: usize) -> Self {
        let room = Arc::new(Semaphore::new(room));
        Self { waiting: Mutex::default(), wake: Notify::new(), room }
    }

    /// Appends; the work goes on if the caller stops waiting.
    pub(crate) async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| closed())?;
        let (answer, answered) = oneshot::channel();
        let is_simple = simple::is_simple(&batch);
        {
            let mut waiting = self.waiting.lock();
            if waiting.is_closed {
                return Err(closed().into());
            }
            waiting.jobs.push_back(Job { batch, answer, is_simple, _room: room });
        }
        self.wake.notify_one();
        answered.await.map_err(|_| lost())?
    }

    /// Takes a batch out of turn, if nothing waits that it could be committed
    /// with, and nothing under way that it would wait for.
    pub(crate) fn overtake(&self, batch: &Batch) -> Option<Alone<'_>> {
        let mut waiting = self.waiting.lock();
        let streams = || batch.writes.iter().map(|write| &write.stream);
        let is_free = waiting.last_group <= 1
            && waiting.jobs.is_empty()
            && !streams().any(|one| waiting.busy.contains(one));
        if !is_free || waiting.is_closed {
            return None;
        }
        let streams: Vec<_> = streams().cloned().collect();
        waiting.busy.extend(streams.iter().cloned());
        Some(Alone { queue: self, streams })
    }

    /// Waits until there may be a group; `false` once the queue is closed and
    /// empty.
    pub(crate) async fn wait(&self, world: &World) -> bool {
        loop {
            let woken = std::pin::pin!(self.wake.notified());
            let has_group = {
                let waiting = self.waiting.lock();
                let has_group = waiting.has_group();
                if has_group && waiting.is_worth_it() {
                    return true;
                }
                if waiting.is_closed && waiting.jobs.is_empty() {
                    self.wake.notify_one();
                    return false;
                }
                has_group
            };
            if !has_group {
                woken.await;
            } else if let Either::Right(_) = select(woken, world.sleep(HELD_UP)).await {
                // A group that takes so long is no measure.
                self.waiting.lock().last_group = 0;
            }
        }
    }

    /// Lets those run who were answered last, as they may have something new: one
    /// of them alone would get a commit of its own, for which all others wait. Half
    /// of the last group is enough, the rest may be the next one.
    pub(crate) async fn gather(&self) {
        for _ in 0..YIELDS {
            {
                let waiting = self.waiting.lock();
                if waiting.jobs.len() >= waiting.last_group.div_ceil(2) {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// The next group, if there is one. Give its streams back with
    /// [`done`](Self::done).
    pub(crate) fn group(&self) -> Option<(Vec<Job>, Vec<StreamId>)> {
        let mut waiting = self.waiting.lock();
        if !waiting.is_worth_it() {
            return None;
        }
        let (group, streams) = waiting.group();
        if !group.is_empty() {
            waiting.last_group = group.len();
            waiting.under_way += 1;
        }
        if !waiting.jobs.is_empty() {
            self.wake.notify_one();
        }
        (!group.is_empty()).then_some((group, streams))
    }

    pub(crate) fn done(&self, streams: Vec<StreamId>) {
        self.end(&streams, 1);
    }

    fn end(&self, streams: &[StreamId], groups: usize) {
        let mut waiting = self.waiting.lock();
        waiting.under_way -= groups;
        for stream in streams {
            waiting.busy.remove(stream);
        }
        if !waiting.jobs.is_empty() {
            self.wake.notify_one();
        }
    }

    /// What waits is still carried out, and nothing more taken.
    pub(crate) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.room.close();
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    /// Whether it is closed and empty.
    pub(crate) fn is_done(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.is_closed && waiting.jobs.is_empty()
    }

    /// Nobody is left to carry them out.
    pub(crate) fn abandon(&self, error: &StoreError) {
        let jobs = std::mem::take(&mut self.waiting.lock().jobs);
        jobs.into_iter().for_each(|job| job.answer(Err(crate::error::again(error).into())));
        self.wake.notify_waiters();
        self.wake.notify_one();
    }
}

/// A batch that goes by itself.
#[derive(Debug)]
pub(crate) struct Alone<'q> {
    queue: &'q Queue,
    streams: Vec<StreamId>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.queue.end(&self.streams, 0);
    }
}

impl Waiting {
    /// While a group is under way, the next one goes if it is as large: the server
    /// has work then while answers are read, and no commit is wasted on a few.
    fn is_worth_it(&self) -> bool {
        self.under_way == 0 || self.jobs.len() >= self.last_group
    }

    /// Whether [`group`](Self::group) would find one.
    fn has_group(&self) -> bool {
        let mut passed = HashSet::new();
        self.jobs.iter().take(LOOKED_AT).any(|job| {
            let streams = || job.batch.writes.iter().map(|write| &write.stream);
            let is_free = !streams().any(|one| self.busy.contains(one) || passed.contains(one));
            passed.extend(streams());
            is_free
        })
    }

    /// Takes appends that do not touch each other: none shares a stream or an
    /// append id with another or with a group under way, and none is taken out
    /// of the order of its stream. One that is not simple goes alone.
    fn group(&mut self) -> (Vec<Job>, Vec<StreamId>) {
        let (mut group, mut left) = (Vec::new(), VecDeque::new());
        let (mut passed, mut ids) = (HashSet::new(), HashSet::<AppendId>::new());
        let (mut events, mut bytes, mut looked_at) = (0, 0, 0);
        while let Some(job) = self.jobs.pop_front() {
            looked_at += 1;
            let streams = || job.batch.writes.iter().map(|write| &write.stream);
            let own = || job.batch.writes.iter().filter_map(|write| write.append_id);
            let is_free = !streams().any(|one| self.busy.contains(one) || passed.contains(one))
                && !own().any(|id| ids.contains(&id));
            if is_free && (group.is_empty() || job.is_simple) {
                let streams: Vec<_> = streams().cloned().collect();
                self.busy.extend(streams);
                ids.extend(own());
                events += job.batch.len();
                let written = job.batch.writes.iter().flat_map(|write| &write.events);
                bytes += written.map(|event| event.payload.len()).sum::<usize>();
                let is_alone = !job.is_simple;
                group.push(job);
                if is_alone || events >= EVENTS || bytes >= BYTES {
                    break;
                }
            } else {
                passed.extend(streams().cloned());
                left.push_back(job);
                if looked_at >= LOOKED_AT {
                    break;
                }
            }
        }
        while let Some(job) = left.pop_back() {
            self.jobs.push_front(job);
        }
        let streams = group.iter().flat_map(|job| &job.batch.writes).map(|write| &write.stream);
        let streams = streams.cloned().collect();
        (group, streams)
    }
}
