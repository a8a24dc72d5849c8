//! What carries out the appends: a few connections, each with a group at a time.
//! While one group is in its fsync the next one gathers, and each caller gets its
//! own answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use es_core::{AppendError, Appended, Batch, StoreError, StoreErrorKind, Tenant, failpoint};
use sqlx::{PgConnection, postgres::PgRow};

use crate::{
    answers::{answer, known, repetition},
    batch,
    call::Call,
    conflicts,
    connections::{Lent, in_time},
    error::{again, closed, code, damaged, is_answer, store_error, write_error},
    inline, lone,
    queue::Job,
    simple::Simple,
    store::Shared,
};

/// How often an append is tried again that a deadlock or the like has undone.
pub(crate) const TRIES: usize = 4;
/// SQLSTATEs.
const UNDONE: &str = "40001";
const DEADLOCK: &str = "40P01";
const LOCKED: &str = "55P03";

/// Refuses what waits, and what will come, if a writer ends before the store is
/// closed: nobody would carry it out.
struct Post(Arc<Shared>);

impl Drop for Post {
    fn drop(&mut self) {
        let is_done = self.0.queue.is_done();
        self.0.queue.close();
        if !is_done {
            // They were never sent.
            self.0.queue.abandon(&closed());
        }
    }
}

/// Carries out groups until the queue is closed and empty.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let _post = Post(Arc::clone(&shared));
    let mut pause = Duration::ZERO;
    while shared.queue.wait(&shared.options.world).await {
        if !pause.is_zero() {
            shared.options.world.sleep(pause).await;
        }
        shared.queue.gather().await;
        let Some((group, streams)) = shared.queue.group() else { continue };
        shared.metrics.grouped(group.len());
        match shared.writers.lend().await {
            Ok(mut lent) => {
                pause = Duration::ZERO;
                if carry_out(&shared, &mut lent, group).await {
                    lent.give_back();
                }
            }
            Err(error) => {
                pause = (pause * 2).clamp(Duration::from_millis(20), Duration::from_secs(1));
                group.into_iter().for_each(|job| job.answer(Err(again(&error).into())));
            }
        }
        shared.queue.done(streams);
    }
}

/// Appends for a caller that is alone, without the way to a writer and back. A
/// caller that goes away takes the connection along.
pub(crate) async fn alone(
    shared: &Arc<Shared>,
    mut lent: Lent,
    batch: &Batch,
) -> Result<Appended, AppendError> {
    shared.metrics.grouped(1);
    let outcome = by_itself(shared, &mut lent, batch).await;
    if outcome.is_ok() {
        shared.horizon.wake();
    }
    if !breaks(&outcome) {
        lent.give_back();
    }
    outcome
}

/// Answers every job; whether the connection can be used again.
async fn carry_out(shared: &Arc<Shared>, connection: &mut PgConnection, group: Vec<Job>) -> bool {
    let (folding, group): (Vec<Job>, Vec<Job>) =
        group.into_iter().partition(|job| shared.folds(&job.batch));
    let mut rest = Vec::new();
    let mut groups = vec![group];
    while let Some(mut group) = groups.pop() {
        if group.len() < 2 {
            rest.extend(group);
            continue;
        }
        match together(shared, connection, group).await {
            Together::Done(left) => rest.extend(left),
            Together::Undone(undone) => {
                // Halves of it may be what they seem: one that is not must not
                // cost all others a commit of their own.
                group = undone;
                let other = group.split_off(group.len() / 2);
                groups.extend([other, group]);
            }
            Together::Broken => {
                return unsent(groups.into_iter().flatten().chain(rest).chain(folding).collect());
            }
        }
    }
    // Whoever waits for a model keeps no others waiting.
    if !each(shared, connection, rest).await {
        return unsent(folding);
    }
    match inline::together(shared, connection, folding).await {
        Ok(rest) => each(shared, connection, rest).await,
        Err(()) => false,
    }
}

/// Answers those that nothing was done for, as the connection is broken.
fn unsent(jobs: Vec<Job>) -> bool {
    jobs.into_iter().for_each(|job| job.answer(Err(not_sent().into())));
    false
}

/// Answers every job by itself; whether the connection can be used again.
async fn each(shared: &Arc<Shared>, connection: &mut PgConnection, mut rest: Vec<Job>) -> bool {
    if rest.len() > 1 {
        let Ok(left) = answer_known(shared, connection, rest).await else { return false };
        rest = left;
    }
    if rest.len() > 1 {
        let Ok(left) = answer_conflicts(shared, connection, rest).await else { return false };
        rest = left;
    }
    let mut rest = rest.into_iter();
    while let Some(job) = rest.next() {
        let outcome = by_itself(shared, connection, &job.batch).await;
        let is_broken = breaks(&outcome);
        if outcome.is_ok() {
            shared.horizon.wake();
        }
        job.answer(outcome);
        if is_broken {
            return unsent(rest.collect());
        }
    }
    true
}

/// Answers those that are in the log already, as all are that a program sends
/// again after a crash; the others are left.
async fn answer_known(
    shared: &Shared,
    connection: &mut PgConnection,
    rest: Vec<Job>,
) -> Result<Vec<Job>, ()> {
    let mut left = Vec::new();
    let mut tenants: BTreeMap<Option<Tenant>, Vec<Job>> = BTreeMap::new();
    for job in rest {
        tenants.entry(job.batch.tenant().cloned()).or_default().push(job);
    }
    let mut tenants = tenants.into_values();
    while let Some(jobs) = tenants.next() {
        let batches: Vec<_> = jobs.iter().map(|job| &job.batch).collect();
        match known(shared, connection, &batches).await {
            Ok(known) => {
                for job in jobs {
                    match repetition(&job.batch, &known) {
                        Some(outcome) => job.answer(outcome),
                        None => left.push(job),
                    }
                }
            }
            Err(error) => {
                let all = jobs.into_iter().chain(tenants.flatten()).chain(left);
                all.for_each(|job| job.answer(Err(again(&error).into())));
                return Err(());
            }
        }
    }
    Ok(left)
}

/// Answers those whose streams have grown meanwhile; the others are left.
async fn answer_conflicts(
    shared: &Shared,
    connection: &mut PgConnection,
    rest: Vec<Job>,
) -> Result<Vec<Job>, ()> {
    let batches: Vec<_> = rest.iter().map(|job| &job.batch).collect();
    match conflicts::find(shared, connection, &batches).await {
        Ok(found) => {
            let mut left = Vec::new();
            for (job, conflict) in rest.into_iter().zip(found) {
                match conflict {
                    Some(conflict) => job.answer(Err(conflict)),
                    None => left.push(job),
                }
            }
            Ok(left)
        }
        Err(error) => {
            rest.into_iter().for_each(|job| job.answer(Err(again(&error).into())));
            Err(())
        }
    }
}

async fn by_itself(
    shared: &Arc<Shared>,
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<Appended, AppendError> {
    let Some(inlined) = shared.inlines(batch) else {
        return plain(shared, connection, batch).await;
    };
    if !inlined.folds(batch) {
        let outcome = plain(shared, connection, batch).await;
        if !inlined.learns(&outcome) {
            return outcome;
        }
    }
    inline::alone(shared, inlined, connection, batch).await
}

/// Appends what changes no rows.
async fn plain(
    shared: &Arc<Shared>,
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<Appended, AppendError> {
    match lone::call(&shared.lone, batch, shared.options.world.now()) {
        Some(call) => match lone::send(shared, connection, call?).await {
            lone::Lone::Done(outcome) => outcome,
            lone::Lone::Otherwise => one(shared, connection, batch).await,
        },
        None => one(shared, connection, batch).await,
    }
}

/// Whether nothing more is to be expected of the connection. The primary may be
/// elsewhere by now.
fn breaks(outcome: &Result<Appended, AppendError>) -> bool {
    use StoreErrorKind::{ReadOnly, Unknown};
    matches!(outcome, Err(AppendError::Store(error)) if matches!(error.kind(), Unknown | ReadOnly))
}

pub(crate) fn not_sent() -> StoreError {
    let message = "the connection broke before the append was sent, append again";
    StoreError::new(StoreErrorKind::Unavailable, message)
}

/// What came of a group.
enum Together {
    /// All are answered but these, which have to go by themselves.
    Done(Vec<Job>),
    /// Nothing is written.
    Undone(Vec<Job>),
    /// All are answered, and nothing more is to be expected of the connection.
    Broken,
}

/// Appends all of them in one statement.
async fn together(shared: &Shared, connection: &mut PgConnection, group: Vec<Job>) -> Together {
    let mut simple = Simple::default();
    if group.iter().try_for_each(|job| simple.add(&job.batch)).is_err() {
        return Together::Done(group);
    }
    let (call, answers) = simple.statement(&shared.simple, shared.options.world.now());
    failpoint!("postgres.before_append");
    let sent = run(shared, connection, call).await;
    failpoint!("postgres.after_append");
    match sent {
        Ok(rows) => {
            shared.horizon.wake();
            let read = rows.first().map(|row| answers.read(row));
            let read = read.unwrap_or_else(|| Err(damaged("an answer is missing")));
            Together::Done(answer_all(group, read))
        }
        Err(error) if !is_answer(&error) => {
            let error = write_error(error);
            group.into_iter().for_each(|job| job.answer(Err(again(&error).into())));
            Together::Broken
        }
        // One of them waits for a lock: the others do not have to.
        Err(error) if is_late(&error) => Together::Done(group),
        // Not as simple as it looked, or too much for the server: what is wrong
        // with one of them must not hurt the others.
        Err(error) => match store_error(error) {
            error if is_for_all(error.kind()) => {
                group.into_iter().for_each(|job| job.answer(Err(again(&error).into())));
                Together::Broken
            }
            _ => Together::Undone(group),
        },
    }
}

/// Whether whatever is appended fails alike, on this connection at least.
fn is_for_all(kind: StoreErrorKind) -> bool {
    use StoreErrorKind::{Full, ReadOnly, Schema, Unavailable};
    matches!(kind, Full | ReadOnly | Schema | Unavailable)
}

fn answer_all(group: Vec<Job>, answers: Result<Vec<Option<Appended>>, StoreError>) -> Vec<Job> {
    let mut rest = Vec::new();
    match answers {
        Ok(answers) => {
            for (job, answer) in group.into_iter().zip(answers) {
                match answer {
                    Some(appended) => job.answer(Ok(appended)),
                    None => rest.push(job),
                }
            }
        }
        // It is done, but what exactly cannot be told.
        Err(error) => {
            let error = StoreError::new(StoreErrorKind::Unknown, error.to_string());
            group.into_iter().for_each(|job| job.answer(Err(again(&error).into())));
        }
    }
    rest
}

/// A server that does not answer in time is as good as a broken connection.
pub(crate) async fn run(
    shared: &Shared,
    connection: &mut PgConnection,
    call: Call,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let sent = async { Ok(call.fetch_all(connection).await) };
    match in_time(&shared.options, sent).await {
        Ok(rows) => rows,
        Err(error) => Err(sqlx::Error::Io(std::io::Error::other(error))),
    }
}

/// Appends one batch of any kind, and tries again what a deadlock has undone.
async fn one(
    shared: &Arc<Shared>,
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<Appended, AppendError> {
    let mut tries = 1;
    loop {
        match send(shared, connection, batch, &[]).await? {
            Ok(row) => return answer(shared, connection, batch, &row).await,
            Err(error) if is_undone(&error) && tries < TRIES => tries += 1,
            Err(error) => return Err(write_error(error).into()),
        }
    }
}

/// Whether somebody has a lock for longer than one waits.
pub(crate) fn is_late(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some(LOCKED)
}

/// Whether the server has let another one go on instead.
pub(crate) fn is_undone(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some(UNDONE | DEADLOCK))
}

/// Appends one batch of any kind in a transaction of the caller, which a deadlock
/// would undo as a whole.
pub(crate) async fn once(
    shared: &Arc<Shared>,
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<Appended, AppendError> {
    let row = send(shared, connection, batch, &[]).await?.map_err(write_error)?;
    answer(shared, connection, batch, &row).await
}

/// Lets `append_one` do it for whoever folds these models.
pub(crate) async fn send(
    shared: &Shared,
    connection: &mut PgConnection,
    batch: &Batch,
    folded: &[String],
) -> Result<Result<PgRow, sqlx::Error>, StoreError> {
    let now = shared.options.world.now();
    let call = batch::append_one(Arc::clone(&shared.append_one), batch, folded, now)?;
    failpoint!("postgres.before_append");
    let sent = run(shared, connection, call).await;
    failpoint!("postgres.after_append");
    match sent.map(|mut rows| rows.pop()) {
        Ok(row) => row.map(Ok).ok_or_else(|| damaged("append_one answers nothing")),
        Err(error) => Ok(Err(error)),
    }
}
