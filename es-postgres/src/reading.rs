//! Reads a request by the page.

use std::{collections::VecDeque, sync::Arc};

use es_core::{
    Direction, Page, Position, Read, RecordedEvent, Scope, StoreError, StreamId, Version, limits,
};
use futures_util::TryStreamExt;
use sqlx::PgConnection;
use tokio::sync::oneshot;

use crate::{
    connections::Connections,
    error::closed,
    query::{Query, Window},
    row::{Decoder, size},
    schema::Schema,
    store::Shared,
};

/// Rows of the first statement of a request, and of a later one: most streams
/// fit into the first.
pub(crate) const FIRST: usize = limits::PAGE_EVENTS;
const LATER: usize = 8 * limits::PAGE_EVENTS;
/// Bytes of rows after which a statement is cut off.
pub(crate) const BYTES: usize = 4 * 1024 * 1024;
/// Most positions that one statement looks at if there is no index for what it
/// looks for, so that a filter that finds nothing does not keep its reader
/// waiting for ever.
const LOOKED_AT: u64 = 128 * 1024;

/// A request on its way through the log.
#[derive(Debug)]
pub(crate) struct Reading {
    read: Read,
    source: Source,
    window: Window,
    left: u64,
    rows: usize,
    ready: VecDeque<RecordedEvent>,
    /// How far the events that are ready lead.
    through: Position,
    state: State,
    is_bounded: bool,
    ahead: Option<Ahead>,
}

/// Where the rows come from.
#[derive(Debug, Clone)]
struct Source {
    query: Arc<Query>,
    /// The stream of every row, if there is but one.
    one: Option<StreamId>,
}

/// The events of a statement, and whether it was not cut off.
type Fetched = Result<(Vec<RecordedEvent>, bool), StoreError>;

/// A statement that is to be run, or runs already.
#[derive(Debug)]
struct Ahead {
    window: Window,
    wanted: usize,
    fetched: Option<oneshot::Receiver<Fetched>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Statements are left to be run.
    Open,
    /// All is read; the last page was not handed out yet.
    Read,
    Done,
}

impl Reading {
    /// A request up to `horizon`. Without one the statements see all that is
    /// committed, which is whole for a stream and for an append.
    pub(crate) fn new(schema: &Schema, read: Read, horizon: Option<Position>) -> Self {
        let one = match &read.scope {
            Scope::Stream(stream) => Some(stream.clone()),
            _ => None,
        };
        let bound = horizon.unwrap_or(Position::new(u64::MAX));
        let window = Window {
            after: read.after,
            up_to: read.up_to.map_or(bound, |up_to| up_to.min(bound)),
            after_version: read.after_version,
            up_to_version: Version::new(u64::MAX),
        };
        Self {
            source: Source { query: Arc::new(Query::new(schema, &read)), one },
            ahead: None,
            window,
            left: if is_anyones(&read) { read.limit.unwrap_or(u64::MAX) } else { 0 },
            rows: FIRST,
            ready: VecDeque::new(),
            through: read.after,
            state: State::Open,
            is_bounded: horizon.is_some(),
            read,
        }
    }

    /// Takes what a statement for several has found: the first events, all or
    /// [`FIRST`] of them.
    pub(crate) fn begin(&mut self, found: Vec<RecordedEvent>) {
        let Ahead { window, wanted, .. } = self.next(None);
        self.note(window, wanted, found, true);
    }

    /// The next page; `None` after the last.
    pub(crate) async fn page(&mut self, shared: &Arc<Shared>) -> Option<Result<Page, StoreError>> {
        while self.state == State::Open && self.ready.is_empty() {
            if self.left == 0 || self.window.after >= self.window.up_to {
                self.state = State::Read;
                break;
            }
            let through = self.through;
            if let Err(error) = self.fetch(shared).await {
                self.state = State::Done;
                return Some(Err(error));
            }
            if self.ready.is_empty() && self.through > through {
                break;
            }
        }
        match self.state {
            State::Done => None,
            State::Read if self.ready.len() <= limits::PAGE_EVENTS => {
                self.state = State::Done;
                let events = self.ready.drain(..).collect();
                Some(Ok(Page { events, through: self.through }))
            }
            _ => {
                let count = self.ready.len().min(limits::PAGE_EVENTS);
                let events: Vec<_> = self.ready.drain(..count).collect();
                let last = events.last().map(|event| event.position);
                let through = match last {
                    Some(last) if !self.ready.is_empty() && self.is_forwards() => last,
                    _ => self.through,
                };
                Some(Ok(Page { events, through }))
            }
        }
    }

    fn is_forwards(&self) -> bool {
        self.read.direction == Direction::Forwards
    }

    /// Runs one statement, and takes note of what is left. The next one runs
    /// while its events are handled.
    async fn fetch(&mut self, shared: &Arc<Shared>) -> Result<(), StoreError> {
        let Ahead { window, wanted, fetched } = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.next(None),
        };
        let fetched = match fetched {
            Some(fetched) => fetched.await.map_err(|_| closed())?,
            None => self.source.select(&shared.readers, window, wanted).await,
        };
        let (found, is_whole) = fetched?;
        self.note(window, wanted, found, is_whole);
        if self.state == State::Open && self.left > 0 {
            let (answer, fetched) = oneshot::channel();
            let ahead = self.next(Some(fetched));
            let (source, readers) = (self.source.clone(), shared.readers.clone());
            let (window, wanted) = (ahead.window, ahead.wanted);
            shared.options.world.detach(async move {
                let mut answer = answer;
                tokio::select! {
                    fetched = source.select(&readers, window, wanted) => drop(answer.send(fetched)),
                    () = answer.closed() => {}
                }
            });
            self.ahead = Some(ahead);
        }
        Ok(())
    }

    fn next(&self, fetched: Option<oneshot::Receiver<Fetched>>) -> Ahead {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.rows);
        Ahead { window: self.narrowed(), wanted, fetched }
    }

    fn note(&mut self, window: Window, wanted: usize, found: Vec<RecordedEvent>, is_whole: bool) {
        self.rows = if is_whole { (self.rows * 8).min(LATER) } else { found.len().max(1) };
        let is_whole = is_whole && found.len() < wanted;
        let last = found.last().map(|event| (event.position, event.version));
        match (self.read.direction, last) {
            (Direction::Forwards, Some((position, version))) if !is_whole => {
                self.window.after = position;
                if matches!(self.read.scope, Scope::Stream(_)) {
                    self.window.after_version = version;
                }
            }
            (Direction::Forwards, last) => {
                // Without a bound the last event is as far as is known.
                let seen = last.map_or(window.after, |(position, _)| position);
                self.window.after = if self.is_bounded { window.up_to } else { seen };
                if !self.is_bounded {
                    self.state = State::Read;
                }
            }
            (Direction::Backwards, Some((position, version))) if !is_whole => {
                self.window.up_to = Position::new(position.get().saturating_sub(1));
                if matches!(self.read.scope, Scope::Stream(_)) {
                    self.window.up_to_version = Version::new(version.get().saturating_sub(1));
                }
            }
            (Direction::Backwards, _) => self.window.up_to = window.after,
        }
        self.through = self.window.after;
        // Two correlations may have one hash.
        let is_sure = self.read.correlation_id.is_none();
        let before = self.ready.len();
        let read = &self.read;
        self.ready.extend(found.into_iter().filter(|event| is_sure || read.accepts(event)));
        self.left -= (self.ready.len() - before) as u64;
        if self.window.after >= self.window.up_to {
            self.state = State::Read;
        }
    }

    /// As much of the window as one statement may look at.
    fn narrowed(&self) -> Window {
        let mut window = self.window;
        if !self.source.query.is_search {
            match self.read.direction {
                Direction::Forwards => {
                    let last = window.after.get().saturating_add(LOOKED_AT);
                    window.up_to = window.up_to.min(Position::new(last));
                }
                Direction::Backwards => {
                    let first = window.up_to.get().saturating_sub(LOOKED_AT);
                    window.after = window.after.max(Position::new(first));
                }
            }
        }
        window
    }
}

/// Nothing is in a stream of one tenant and of another too.
fn is_anyones(read: &Read) -> bool {
    match (&read.scope, &read.tenant) {
        (Scope::Stream(stream), Some(tenant)) => stream.tenant() == tenant,
        _ => true,
    }
}

impl Source {
    /// The rows of one statement, and whether it was not cut off. Their memory
    /// is bounded: too much payload costs the connection, as the rest of the rows
    /// could not be skipped.
    async fn select(&self, readers: &Connections, window: Window, wanted: usize) -> Fetched {
        loop {
            let mut lent = readers.lend().await?;
            let answer = async { Ok(self.rows(&mut lent, window, wanted).await) };
            match readers.in_time(answer).await? {
                Ok((found, true)) => {
                    lent.give_back();
                    return Ok((found?, true));
                }
                Ok((found, false)) => return Ok((found?, false)),
                Err(error) => {
                    if let Some(error) = lent.failed(error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The events, and whether all rows were read. A damaged one is not known
    /// before all are.
    async fn rows(
        &self,
        connection: &mut PgConnection,
        window: Window,
        wanted: usize,
    ) -> Result<(Result<Vec<RecordedEvent>, StoreError>, bool), sqlx::Error> {
        let mut decoder = Decoder::new(self.one.clone());
        let mut found = Ok(Vec::with_capacity(wanted.min(FIRST)));
        let mut bytes = 0;
        let mut call = self.query.page(window, wanted);
        let mut rows = call.fetch(connection);
        while let Some(row) = rows.try_next().await? {
            if bytes > BYTES {
                return Ok((found, false));
            }
            bytes += size(&row);
            let Ok(events) = &mut found else { continue };
            match decoder.event(&row) {
                Ok(event) => events.push(event),
                Err(error) => found = Err(error),
            }
        }
        Ok((found, true))
    }
}
