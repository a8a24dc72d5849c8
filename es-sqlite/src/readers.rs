//! A few threads, each with a connection of its own, that read.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use es_core::StoreError;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::{SqliteOptions, connection::open_reader, error::closed, names::NamesByNumber};

/// Most reads that wait for a thread.
const QUEUE: usize = 256;

/// The way to the readers.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    jobs: mpsc::Sender<Job>,
    threads: usize,
}

/// What a job may use.
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    pub(crate) names: NamesByNumber,
}

/// Something to read, or the end for the thread that comes to it.
enum Job {
    Read(Box<dyn FnOnce(&mut Reader) + Send>),
    Close,
}

type Jobs = Arc<Mutex<mpsc::Receiver<Job>>>;
type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

impl Readers {
    pub(crate) fn start(
        options: &SqliteOptions,
        alive: &mpsc::Sender<()>,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..options.readers {
            let connection = open_reader(options)?;
            let reader = Reader { connection, names: NamesByNumber::default() };
            let (queue, alive) = (Arc::clone(&queue), alive.clone());
            thread::spawn(move || {
                serve(reader, &queue);
                drop(alive);
            });
        }
        Ok(Self { jobs, threads: options.readers })
    }

    /// Ends the threads once they have read what was asked for before this,
    /// whoever still holds a way to them.
    pub(crate) async fn close(&self) {
        for _ in 0..self.threads {
            let _ = self.jobs.send(Job::Close).await;
        }
    }

    /// Waits until the threads have ended.
    pub(crate) async fn closed(&self) {
        self.jobs.closed().await;
    }

    /// Reads something.
    pub(crate) async fn run<T, F>(&self, read: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    {
        let (job, answer) = job(read);
        self.jobs.send(job).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Begins to read something, if a place in the queue is free.
    pub(crate) fn ahead<T, F>(&self, read: F) -> Option<Answer<T>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    {
        let (job, answer) = job(read);
        self.jobs.try_send(job).is_ok().then_some(answer)
    }
}

fn job<T, F>(read: F) -> (Job, Answer<T>)
where
    T: Send + 'static,
    F: FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let job = move |reader: &mut Reader| drop(answer.send(read(reader)));
    (Job::Read(Box::new(job)), answered)
}

/// One thread waits at the queue, the others wait for its place.
fn serve(mut reader: Reader, queue: &Jobs) {
    loop {
        let job = queue.lock().blocking_recv();
        match job {
            // A job that panics answers nobody, and the thread reads on.
            Some(Job::Read(job)) => drop(catch_unwind(AssertUnwindSafe(|| job(&mut reader)))),
            Some(Job::Close) | None => return,
        }
    }
}
