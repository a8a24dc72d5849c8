//! A few threads, each with a connection of its own, that read.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::{self, Thread},
};

use es_core::{StoreError, StoreErrorKind};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::{SqliteOptions, connection::open_reader, error::closed, names::NamesByNumber};

/// Most reads that wait for a thread.
const QUEUE: usize = 256;

/// The way to the readers. With the last one the threads end.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    owner: Arc<Owner>,
}

#[derive(Debug)]
struct Owner {
    queue: Arc<Queue>,
}

/// What a job may use.
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    pub(crate) names: NamesByNumber,
}

type Work = Box<dyn FnOnce(&mut Reader) + Send>;

/// Something to read.
struct Job {
    work: Work,
    _place: Option<OwnedSemaphorePermit>,
}

/// Jobs that wait for a thread, and threads that wait for a job. The thread that
/// was idle last is called first: what it read last is still in its caches.
#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    places: Arc<Semaphore>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    idle: Vec<Thread>,
    is_closed: bool,
}

impl Readers {
    pub(crate) fn start(
        options: &SqliteOptions,
        alive: &mpsc::Sender<()>,
    ) -> Result<Self, StoreError> {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            places: Arc::new(Semaphore::new(QUEUE)),
            closed: watch::Sender::new(false),
        });
        let readers = Self { owner: Arc::new(Owner { queue: Arc::clone(&queue) }) };
        for _ in 0..options.readers {
            let connection = open_reader(options)?;
            let mut reader = Reader { connection, names: NamesByNumber::default() };
            let (queue, alive) = (Arc::clone(&queue), alive.clone());
            thread::spawn(move || {
                while let Some(job) = queue.next() {
                    // A job that panics answers nobody, and the thread reads on.
                    drop(catch_unwind(AssertUnwindSafe(|| job(&mut reader))));
                }
                drop((reader, alive));
            });
        }
        Ok(readers)
    }

    /// Ends the threads once they have read what was asked for before this,
    /// whoever still holds a way to them.
    pub(crate) fn close(&self) {
        self.owner.queue.close();
    }

    /// Waits until nothing more can be asked for.
    pub(crate) async fn closed(&self) {
        let _ = self.owner.queue.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Reads something.
    pub(crate) async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.send(move |reader| drop(answer.send(read(reader)))).await?;
        answered.await.map_err(|_| self.lost())?
    }

    /// Has a thread do this.
    pub(crate) async fn send<F>(&self, work: F) -> Result<(), StoreError>
    where
        F: FnOnce(&mut Reader) + Send + 'static,
    {
        let places = Arc::clone(&self.owner.queue.places);
        let place = places.acquire_owned().await.map_err(|_| closed())?;
        let job = Job { work: Box::new(work), _place: Some(place) };
        self.owner.queue.push(job)
    }

    /// Why an answer did not come.
    pub(crate) fn lost(&self) -> StoreError {
        match self.are_closed() {
            true => closed(),
            false => StoreError::new(StoreErrorKind::Other, "a read panicked"),
        }
    }

    pub(crate) fn are_closed(&self) -> bool {
        *self.owner.queue.closed.borrow()
    }

    /// Whether others wait for a thread.
    pub(crate) fn are_wanted(&self) -> bool {
        !self.owner.queue.waiting.lock().jobs.is_empty()
    }

    /// Has this done after what waits; for a job on its own thread, which is
    /// going to come to it.
    pub(crate) fn go_round(&self, work: impl FnOnce(&mut Reader) + Send + 'static) {
        let job = Job { work: Box::new(work), _place: None };
        self.owner.queue.waiting.lock().jobs.push_back(job);
    }
}

impl Queue {
    fn push(&self, job: Job) -> Result<(), StoreError> {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return Err(closed());
        }
        waiting.jobs.push_back(job);
        let idle = waiting.idle.pop();
        drop(waiting);
        idle.inspect(Thread::unpark);
        Ok(())
    }

    /// Waits for a job; `None` once the queue is closed and empty.
    fn next(&self) -> Option<Work> {
        loop {
            let mut waiting = self.waiting.lock();
            let thread = thread::current();
            waiting.idle.retain(|idle| idle.id() != thread.id());
            if let Some(job) = waiting.jobs.pop_front() {
                drop(waiting);
                return Some(job.work);
            }
            if waiting.is_closed {
                return None;
            }
            waiting.idle.push(thread);
            drop(waiting);
            thread::park();
        }
    }

    fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        let idle = std::mem::take(&mut waiting.idle);
        drop(waiting);
        self.places.close();
        self.closed.send_replace(true);
        idle.iter().for_each(Thread::unpark);
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} jobs, {} threads", self.jobs.len(), self.idle.len())
    }
}
