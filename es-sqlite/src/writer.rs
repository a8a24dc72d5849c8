//! The one writer: a thread that owns the write connection and commits in
//! groups. While one group is in its fsync the next one gathers, and each caller
//! gets its own answer.

use std::{
    mem,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use es_core::{
    AppendError, Appended, Batch, Position, StoreError, StoreErrorKind, World, failpoint,
};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    SqliteOptions,
    connection::open_writer,
    error::{again, closed, commit_error, store_error},
    log::{Done, Log, Work},
    spin::{next_group, spin_then_wait},
};

/// Most jobs in one commit.
const GROUP: usize = 4_096;

/// The way to the writer.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    idle: Arc<AtomicBool>,
    spin: Duration,
}

/// Something to be done inside the write transaction.
enum Job {
    Log { work: Work, answer: oneshot::Sender<Result<Done, AppendError>> },
    Other(Box<dyn Other>),
    Close,
}

/// What does not touch the log. It runs inside a savepoint of its own, so that its
/// failure does not touch the others of the group.
trait Other: Send {
    fn run(&mut self, connection: &Connection);
    fn failure(&self) -> Option<StoreError>;
    fn finish(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Step<F, T> {
    step: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl Writer {
    /// Opens the file and starts the thread; `head` follows the log.
    pub(crate) fn start(
        options: SqliteOptions,
        head: watch::Sender<Position>,
        alive: mpsc::Sender<()>,
    ) -> (Self, oneshot::Receiver<Result<(), StoreError>>) {
        let (jobs, queue) = mpsc::channel(options.queue);
        let (opened, opening) = oneshot::channel();
        let idle = Arc::new(AtomicBool::new(false));
        let writer = Self { jobs, idle: Arc::clone(&idle), spin: options.spin };
        thread::spawn(move || {
            serve(&options, queue, &head, &idle, opened);
            drop(alive);
        });
        (writer, opening)
    }

    /// Appends; the work goes on if the caller stops waiting.
    pub(crate) async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        Ok(self.carry_out(Work::Append(batch)).await?.appended)
    }

    /// Changes the log; the work goes on if the caller stops waiting.
    pub(crate) async fn carry_out(&self, work: Work) -> Result<Done, AppendError> {
        let (answer, answered) = oneshot::channel();
        let alone = self.idle.swap(false, Ordering::AcqRel);
        self.jobs.send(Job::Log { work, answer }).await.map_err(|_| closed())?;
        let spin = if alone { self.spin } else { Duration::ZERO };
        spin_then_wait(answered, spin).await.map_err(|_| lost())?
    }

    /// Ends the thread once everything before this is done.
    pub(crate) async fn close(&self) {
        let _ = self.jobs.send(Job::Close).await;
    }

    /// Does this inside the write transaction.
    pub(crate) async fn run<T, F>(&self, step: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let step = Step { step: Some(step), outcome: None, answer };
        self.jobs.send(Job::Other(Box::new(step))).await.map_err(|_| closed())?;
        answered.await.map_err(|_| lost())?
    }
}

fn ended() -> StoreError {
    let message = "a step of a projection or a handler ended the transaction that it ran in";
    StoreError::new(StoreErrorKind::Invalid, message)
}

fn panicked() -> StoreError {
    StoreError::new(StoreErrorKind::Other, "a step of a projection or a handler panicked")
}

fn lost() -> StoreError {
    StoreError::new(StoreErrorKind::Unknown, "the writer ended before it answered")
}

fn serve(
    options: &SqliteOptions,
    mut queue: mpsc::Receiver<Job>,
    head: &watch::Sender<Position>,
    idle: &AtomicBool,
    opened: oneshot::Sender<Result<(), StoreError>>,
) {
    let mut connection = match open_writer(options) {
        Ok(connection) => connection,
        Err(error) => return drop(opened.send(Err(error))),
    };
    let mut opened = Some(opened);
    while Session::serve(&connection, options, &mut queue, head, idle, &mut opened).is_continue() {
        // After an I/O error SQLite's view of the file is not to be trusted.
        connection = match reopen(options, &mut queue) {
            Some(fresh) => fresh,
            None => return,
        };
    }
}

/// Opens the file again. Until that succeeds each job is told why it cannot be
/// done; `None` once nobody can ask any more.
fn reopen(options: &SqliteOptions, queue: &mut mpsc::Receiver<Job>) -> Option<Connection> {
    loop {
        match open_writer(options) {
            Ok(fresh) => return Some(fresh),
            Err(error) => Answer::not_run(queue.blocking_recv()?)?.send(&Err(error)),
        }
    }
}

/// One connection's life as the writer.
struct Session<'c> {
    connection: &'c Connection,
    log: Log<'c>,
    world: World,
    data_version: i64,
    answers: Vec<Answer>,
}

enum Answer {
    Log(oneshot::Sender<Result<Done, AppendError>>, Result<Done, AppendError>),
    Other(Box<dyn Other>),
}

impl<'c> Session<'c> {
    /// `Continue` asks for a new connection.
    fn serve(
        connection: &'c Connection,
        options: &SqliteOptions,
        queue: &mut mpsc::Receiver<Job>,
        head: &watch::Sender<Position>,
        idle: &AtomicBool,
        opened: &mut Option<oneshot::Sender<Result<(), StoreError>>>,
    ) -> ControlFlow<()> {
        let session = Self::new(connection, options);
        if let Some(opened) = opened.take() {
            let _ = opened.send(session.as_ref().map(|_| ()).map_err(again));
        }
        match session {
            Ok(session) => session.work(queue, head, idle, options.spin),
            Err(error) => {
                // Closed, or the next job learns why it cannot be done.
                let Some(answer) = queue.blocking_recv().and_then(Answer::not_run) else {
                    return ControlFlow::Break(());
                };
                answer.send(&Err(error));
                ControlFlow::Continue(())
            }
        }
    }

    fn new(connection: &'c Connection, options: &SqliteOptions) -> Result<Self, StoreError> {
        let log = Log::new(connection, options.inline.clone())?;
        let world = options.world.clone();
        Ok(Self { connection, log, world, data_version: 0, answers: Vec::new() })
    }

    fn work(
        mut self,
        queue: &mut mpsc::Receiver<Job>,
        head: &watch::Sender<Position>,
        idle: &AtomicBool,
        spin: Duration,
    ) -> ControlFlow<()> {
        advance(head, self.log.head());
        let mut group = Vec::new();
        while next_group(queue, &mut group, GROUP, idle, spin) > 0 {
            if group.iter().any(|job| matches!(job, Job::Close)) {
                queue.close();
            }
            let committed = self.commit_group(&mut group);
            if committed.is_ok() {
                self.log.inlined.tell();
                advance(head, self.log.head());
            }
            self.answer(&committed);
            if committed.is_err_and(|error| error.kind() == StoreErrorKind::Unknown) {
                return ControlFlow::Continue(());
            }
        }
        ControlFlow::Break(())
    }

    fn commit_group(&mut self, group: &mut Vec<Job>) -> Result<(), StoreError> {
        let mut jobs = group.drain(..);
        let done = self.begin().and_then(|()| self.carry_out(&mut jobs));
        // What the failure kept from running has not happened either.
        self.answers.extend(jobs.filter_map(Answer::not_run));
        let committed = done.and_then(|()| self.commit());
        if committed.is_err() {
            self.roll_back();
        }
        committed
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        self.connection
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]))
            .map_err(store_error)?;
        let version: i64 = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)))
            .map_err(store_error)?;
        if version != mem::replace(&mut self.data_version, version) {
            self.log.forget()?;
        }
        Ok(())
    }

    fn carry_out(&mut self, jobs: impl Iterator<Item = Job>) -> Result<(), StoreError> {
        let now = self.world.now();
        for job in jobs {
            match job {
                Job::Log { work, answer } => match self.log.carry_out(work, now) {
                    Err(AppendError::Store(error)) if self.log.is_spoilt_by(&error) => {
                        self.answers.push(Answer::Log(answer, Err(again(&error).into())));
                        return Err(error);
                    }
                    outcome => self.answers.push(Answer::Log(answer, outcome)),
                },
                Job::Close => {}
                Job::Other(mut other) => {
                    let flushed = self.log.pending.flush();
                    let done = flushed.and_then(|()| self.in_savepoint(&mut *other));
                    self.log.inlined.forget();
                    self.answers.push(Answer::Other(other));
                    done?;
                }
            }
        }
        self.log.pending.flush()
    }

    fn in_savepoint(&self, other: &mut dyn Other) -> Result<(), StoreError> {
        let run = |sql| {
            let done = self.connection.prepare_cached(sql).and_then(|mut one| one.execute([]));
            done.map(|_| ()).map_err(store_error)
        };
        run("SAVEPOINT other")?;
        other.run(self.connection);
        if self.connection.is_autocommit() {
            // SQLite itself does so when the disk is full or fails.
            return Err(other.failure().unwrap_or_else(ended));
        }
        if other.failure().is_some() {
            run("ROLLBACK TO other")?;
        }
        run("RELEASE other")
    }

    fn commit(&self) -> Result<(), StoreError> {
        failpoint!("sqlite.before_commit");
        self.connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]))
            .map_err(commit_error)?;
        failpoint!("sqlite.after_commit");
        Ok(())
    }

    fn roll_back(&mut self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.data_version = 0;
        self.log.inlined.roll_back();
        let _ = self.log.forget();
    }

    fn answer(&mut self, committed: &Result<(), StoreError>) {
        self.answers.drain(..).for_each(|answer| answer.send(committed));
    }
}

/// Moves the head forwards, and wakes the followers if it moved.
pub(crate) fn advance(head: &watch::Sender<Position>, position: Position) {
    head.send_if_modified(|head| position > mem::replace(head, position.max(*head)));
}

impl Answer {
    fn send(self, committed: &Result<(), StoreError>) {
        let committed = committed.as_ref().copied().map_err(again);
        match self {
            Self::Log(caller, outcome) => {
                let _ = caller.send(committed.map_err(AppendError::from).and(outcome));
            }
            Self::Other(other) => other.finish(committed),
        }
    }

    fn not_run(job: Job) -> Option<Self> {
        match job {
            Job::Log { answer, .. } => Some(Self::Log(answer, Err(lost().into()))),
            Job::Other(other) => Some(Self::Other(other)),
            Job::Close => None,
        }
    }
}

impl<T, F> Other for Step<F, T>
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
{
    fn run(&mut self, connection: &Connection) {
        let Some(step) = self.step.take() else { return };
        let outcome = catch_unwind(AssertUnwindSafe(|| step(connection)));
        self.outcome = Some(outcome.unwrap_or_else(|_| Err(panicked())));
    }

    fn failure(&self) -> Option<StoreError> {
        match &self.outcome {
            Some(outcome) => outcome.as_ref().err().map(again),
            None => Some(lost()),
        }
    }

    fn finish(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = self.outcome.unwrap_or_else(|| Err(lost()));
        let _ = self.answer.send(committed.and(outcome));
    }
}
