//! Loads of whole streams. A bus loads one for each command: those that come
//! while another is under way share a statement, and each gets its own events.

use std::{collections::VecDeque, sync::Arc};

use es_core::{Read, RecordedEvent, Scope, StoreError, StreamId, Version};
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use sqlx::{PgConnection, Row};
use tokio::sync::{Notify, oneshot};

use crate::{
    call::Call,
    error::{again, is_answer},
    reading::{BYTES, FIRST},
    row::{COLUMNS, Decoder, size},
    store::Shared,
};

/// Most streams of one statement.
const STREAMS: usize = 64;
/// Most loads that wait for one; more go by themselves.
const WAITING: usize = 4 * STREAMS;
/// How often to let others run before a statement is made.
const YIELDS: usize = 8;

/// The first events of a stream; nothing, if one statement cannot bring them all,
/// and each has to read its own.
type Found = Result<Option<Vec<RecordedEvent>>, StoreError>;

#[derive(Debug, Default)]
pub(crate) struct Loads {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    loads: VecDeque<Load>,
    /// How many statements are under way.
    under_way: usize,
    is_closed: bool,
}

/// A stream after a version, and who waits for it.
#[derive(Debug)]
struct Load {
    stream: StreamId,
    after: Version,
    answer: oneshot::Sender<Found>,
}

/// The stream, if the request is for all of it after some version.
pub(crate) fn whole(read: &Read) -> Option<&StreamId> {
    match &read.scope {
        Scope::Stream(stream) => {
            (*read == Read::stream(stream).after_version(read.after_version)).then_some(stream)
        }
        _ => None,
    }
}

impl Loads {
    /// Lets a load go by itself, or gives it to the next statement.
    pub(crate) fn enter(
        &self,
        stream: &StreamId,
        after: Version,
    ) -> Result<UnderWay<'_>, oneshot::Receiver<Found>> {
        let mut waiting = self.waiting.lock();
        let is_full = waiting.loads.len() >= WAITING;
        if waiting.under_way == 0 || is_full || waiting.is_closed {
            waiting.under_way += 1;
            return Ok(UnderWay(self));
        }
        let (answer, answered) = oneshot::channel();
        waiting.loads.push_back(Load { stream: stream.clone(), after, answer });
        self.wake.notify_one();
        Err(answered)
    }

    /// The loads of the next statement, once there are some; nothing more after
    /// the end.
    async fn next(&self) -> Option<(Vec<Load>, UnderWay<'_>)> {
        loop {
            let woken = self.wake.notified();
            if !self.waiting.lock().loads.is_empty() {
                self.gather().await;
                let mut waiting = self.waiting.lock();
                // Some may have gone away.
                waiting.loads.retain(|load| !load.answer.is_closed());
                let count = waiting.loads.len().min(STREAMS);
                waiting.under_way += 1;
                return Some((waiting.loads.drain(..count).collect(), UnderWay(self)));
            }
            if self.waiting.lock().is_closed {
                return None;
            }
            woken.await;
        }
    }

    /// Lets those run who have just got an answer, as they may load next.
    async fn gather(&self) {
        let mut before = 0;
        for _ in 0..YIELDS {
            let now = self.waiting.lock().loads.len();
            if now == before || now >= STREAMS {
                return;
            }
            before = now;
            tokio::task::yield_now().await;
        }
    }

    /// Whoever waits, or comes later, gets no answer.
    pub(crate) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.is_closed = true;
        waiting.loads.clear();
        self.wake.notify_one();
    }
}

/// A statement that is under way, to be kept until it is done.
pub(crate) struct UnderWay<'l>(&'l Loads);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.waiting.lock().under_way -= 1;
    }
}

/// Closes the queue when nobody is left to serve it.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.loads.close();
    }
}

/// Fetches what waits until the store is closed.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let end = End(shared);
    let shared = &end.0;
    let mut closing = shared.horizon.closing();
    while let Some((loads, _under_way)) = shared.loads.next().await {
        let fetched = tokio::select! {
            biased;
            _ = closing.wait_for(|closed| *closed) => return,
            fetched = fetch(shared, &loads) => fetched,
        };
        match fetched {
            Ok(Some(found)) => {
                let each = loads.into_iter().zip(found);
                each.for_each(|(load, found)| drop(load.answer.send(found.map(Some))));
            }
            Ok(None) => loads.into_iter().for_each(|load| drop(load.answer.send(Ok(None)))),
            Err(error) => {
                loads.into_iter().for_each(|load| drop(load.answer.send(Err(again(&error)))));
            }
        }
    }
}

/// The events of each stream, or why they cannot be read.
type Each = Vec<Result<Vec<RecordedEvent>, StoreError>>;

/// The first events of all streams; nothing if that is too much for the memory, or
/// the server refuses.
async fn fetch(shared: &Shared, loads: &[Load]) -> Result<Option<Each>, StoreError> {
    loop {
        let mut lent = shared.readers.lend().await?;
        let answer = async { Ok(rows(shared, &mut lent, loads).await) };
        match shared.readers.in_time(answer).await? {
            Ok(Some(found)) => {
                lent.give_back();
                return Ok(Some(found));
            }
            // The rest of the rows is still to come.
            Ok(None) => return Ok(None),
            // Whose stream it is that the server cannot read, each finds out alone.
            Err(error) if is_answer(&error) => {
                lent.give_back();
                return Ok(None);
            }
            Err(error) => {
                if let Some(error) = lent.failed(error) {
                    return Err(error);
                }
            }
        }
    }
}

async fn rows(
    shared: &Shared,
    connection: &mut PgConnection,
    loads: &[Load],
) -> Result<Option<Each>, sqlx::Error> {
    let mut decoders: Vec<_> =
        loads.iter().map(|load| Decoder::new(Some(load.stream.clone()))).collect();
    let mut found: Each = loads.iter().map(|_| Ok(Vec::new())).collect();
    let mut bytes = 0;
    let mut call = call(shared, loads);
    let mut rows = call.fetch(connection);
    while let Some(row) = rows.try_next().await? {
        bytes += size(&row);
        if bytes > BYTES {
            return Ok(None);
        }
        let whose: i64 = row.try_get(11)?;
        let at = usize::try_from(whose - 1).unwrap_or(usize::MAX);
        let (Some(decoder), Some(events)) = (decoders.get_mut(at), found.get_mut(at)) else {
            continue;
        };
        if let Ok(read) = events {
            match decoder.event(&row) {
                Ok(event) => read.push(event),
                Err(error) => *events = Err(error),
            }
        }
    }
    for events in found.iter_mut().flatten() {
        // So they come, though nobody has promised it.
        if !events.is_sorted_by_key(|event| event.version) {
            events.sort_unstable_by_key(|event| event.version);
        }
    }
    Ok(Some(found))
}

fn call(shared: &Shared, loads: &[Load]) -> Call {
    let tenants: Vec<_> = loads.iter().map(|load| load.stream.tenant().to_string()).collect();
    let streams: Vec<_> = loads.iter().map(|load| load.stream.name().to_owned()).collect();
    // Beyond what a version can be there is nothing.
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let after: Vec<_> = loads.iter().map(|load| number(load.after.get())).collect();
    Call::new(Arc::clone(&shared.loads_sql))
        .bind(tenants)
        .bind(streams)
        .bind(after)
        .bind(number(FIRST as u64))
}

/// The first events of several streams, and whose each is.
pub(crate) fn sql() -> String {
    format!(
        "SELECT {COLUMNS}, i.ordinal \
         FROM unnest($1::text[], $2::text[], $3::bigint[]) \
             WITH ORDINALITY AS i (tenant, stream, after, ordinal) \
         CROSS JOIN LATERAL (SELECT * FROM {{schema}}.events AS e \
             WHERE e.tenant = i.tenant COLLATE \"C\" AND e.stream = i.stream COLLATE \"C\" \
                 AND e.version > i.after ORDER BY e.version LIMIT $4) AS e"
    )
}
