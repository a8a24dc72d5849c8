use std::collections::BTreeMap;

use es_core::{
    AppendError, Appended, Batch, EventId, Expected, Position, RecordedEvent, StoreErrorKind,
    StreamId,
};
use parking_lot::Mutex;

use super::{Rule, Violation, follow, order, writes};

/// What happened, as those saw it who took part.
///
/// ```
/// use es_core::{Batch, EventStore, EventStoreExt, Read, memory::MemoryStore};
/// use es_testkit::{fake, history::History};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (store, history) = (MemoryStore::new(), History::new());
/// let batch = Batch::to(fake::stream("bell-1")).events(fake::events(2));
/// let ticket = history.invoke(&batch);
/// history.ended(ticket, &store.append(batch).await);
///
/// let log = store.events(Read::all()).await.expect("a log");
/// assert_eq!(history.check(&log), []);
/// # }
/// ```
#[derive(Debug, Default)]
pub struct History {
    record: Mutex<Record>,
}

/// A moment in a history: later ones are greater.
///
/// ```
/// let history = es_testkit::history::History::new();
/// assert!(history.now() < history.now());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

/// An append that was begun and has not ended; see [`History::invoke`].
///
/// ```
/// # use es_testkit::history::{History, Ticket};
/// let ticket: Ticket = History::new().invoke(&es_core::Batch::to(es_testkit::fake::stream("a-1")));
/// ```
#[derive(Debug)]
pub struct Ticket(usize);

/// One write that a client tried.
///
/// ```
/// use es_core::Expected;
/// use es_testkit::{fake, history::Attempt};
///
/// let attempt = Attempt { stream: fake::stream("a-1"), expected: Expected::Any, events: vec![] };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The stream.
    pub stream: StreamId,
    /// What it expected.
    pub expected: Expected,
    /// The ids of its events.
    pub events: Vec<EventId>,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    ticks: u64,
    pub(super) operations: Vec<Operation>,
    pub(super) reads: Vec<Reading>,
    pub(super) followers: BTreeMap<String, Vec<Step>>,
    pub(super) folds: Vec<(String, Position, u64)>,
    pub(super) effects: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Operation {
    pub(super) began: Tick,
    pub(super) ended: Option<Tick>,
    pub(super) writes: Vec<Attempt>,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Acknowledged(Appended),
    Refused,
    Unknown,
}

#[derive(Debug)]
pub(super) struct Reading {
    pub(super) began: Tick,
    pub(super) ended: Tick,
    pub(super) events: Vec<EventId>,
}

#[derive(Debug)]
pub(super) enum Step {
    Offered(EventId),
    Restarted(Position),
}

impl Record {
    fn tick(&mut self) -> Tick {
        self.ticks += 1;
        Tick(self.ticks)
    }
}

impl History {
    /// Nothing has happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// This moment.
    pub fn now(&self) -> Tick {
        self.record.lock().tick()
    }

    /// A client begins to append. Until it is told how that ended, the outcome
    /// is unknown.
    pub fn invoke(&self, batch: &Batch) -> Ticket {
        let attempt = |write: &es_core::Write| Attempt {
            stream: write.stream.clone(),
            expected: write.expected,
            events: write.events.iter().map(|event| event.id).collect(),
        };
        let writes = batch.writes.iter().map(attempt).collect();
        let mut record = self.record.lock();
        let began = record.tick();
        record.operations.push(Operation { began, ended: None, writes, outcome: Outcome::Unknown });
        Ticket(record.operations.len() - 1)
    }

    /// The append ended so.
    pub fn ended(&self, ticket: Ticket, result: &Result<Appended, AppendError>) {
        let outcome = match result {
            Ok(appended) => Outcome::Acknowledged(appended.clone()),
            Err(AppendError::Store(error)) if error.kind() == StoreErrorKind::Unknown => {
                Outcome::Unknown
            }
            Err(_) => Outcome::Refused,
        };
        let mut record = self.record.lock();
        let now = record.tick();
        let operation = &mut record.operations[ticket.0];
        (operation.ended, operation.outcome) = (Some(now), outcome);
    }

    /// A client read the whole log, beginning at `began`, and saw this.
    pub fn read(&self, began: Tick, events: &[RecordedEvent]) {
        let events = events.iter().map(|event| event.id).collect();
        let mut record = self.record.lock();
        let ended = record.tick();
        record.reads.push(Reading { began, ended, events });
    }

    /// A follower of the whole log was offered this event.
    pub fn offered(&self, follower: &str, event: &RecordedEvent) {
        self.step(follower, Step::Offered(event.id));
    }

    /// A follower begins, or begins anew, after this position.
    pub fn restarted(&self, follower: &str, after: Position) {
        self.step(follower, Step::Restarted(after));
    }

    fn step(&self, follower: &str, step: Step) {
        self.record.lock().followers.entry(follower.to_owned()).or_default().push(step);
    }

    /// A projection or a snapshot holds the [`digest`] of all events up to
    /// `through`.
    pub fn folded(&self, name: &str, through: Position, digest: u64) {
        self.record.lock().folds.push((name.to_owned(), through, digest));
    }

    /// The effect of this key happened.
    pub fn effect(&self, key: &str) {
        self.record.lock().effects.push(key.to_owned());
    }

    /// Checks everything against the whole log, read after all came to an end.
    pub fn check(&self, log: &[RecordedEvent]) -> Vec<Violation> {
        let record = self.record.lock();
        let mut found = Vec::new();
        let mut report = |rule: Rule, what: String| found.push(Violation { rule, what });
        writes::check(&record, log, &mut report);
        order::check(&record, log, &mut report);
        follow::check(&record, log, &mut report);
        found
    }
}

/// What a fold of these events has seen, in their order; for [`History::folded`].
///
/// ```
/// use es_testkit::{fake, history::digest};
///
/// let (one, two) = (fake::event_id(), fake::event_id());
/// assert_ne!(digest([one, two]), digest([two, one]));
/// ```
pub fn digest(events: impl IntoIterator<Item = EventId>) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = events.into_iter().flat_map(|id| id.uuid().into_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// Where rules tell what they found.
pub(super) type Report<'a> = dyn FnMut(Rule, String) + 'a;
