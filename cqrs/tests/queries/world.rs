//! A shelf of numbers, kept by nobody but the test: it says when a change is
//! committed, when it is told, and when the position moves.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use cqrs::{
    Answer, Answered, AskError, BoxError, CacheTag, Change, Freshness, Queries, QueriesBuilder,
    Query, QuerySettings,
};
use es_core::{Name, Position, RowId, StoreError, Tenant, World};
use es_testkit::TestClock;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use tokio::sync::{
    Notify,
    broadcast::{self, error::RecvError},
    watch,
};

/// What stands in the place of `number`.
#[derive(Debug, Clone, Query)]
#[query(output = u64)]
pub(crate) struct NumberAt {
    pub(crate) place: String,
}

pub(crate) fn at(place: &str) -> NumberAt {
    NumberAt { place: place.into() }
}

/// A read model in the hands of the test; clones share it.
#[derive(Clone)]
pub(crate) struct Shelf {
    rows: Arc<Mutex<HashMap<(Tenant, String), u64>>>,
    position: Arc<Mutex<Position>>,
    /// Wakes in the order in which they came, so that a seed repeats a run.
    moved: Arc<Notify>,
    changes: broadcast::Sender<Change>,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        let changes = broadcast::Sender::new(64);
        Self { rows: Arc::default(), position: Arc::default(), moved: Arc::default(), changes }
    }

    /// A row changes, nobody is told yet.
    pub(crate) fn commit(&self, place: &str, number: u64) {
        self.rows.lock().insert((Tenant::default(), place.to_owned()), number);
    }

    /// A change of the row is told.
    pub(crate) fn tell(&self, place: &str, position: u64) {
        let rows = [RowId::new(Tenant::default(), place)].into();
        let (model, position) = (Name::from_static("shelf"), Position::new(position));
        let _ = self.changes.send(Change::Rows { model, rows, position });
    }

    pub(crate) fn tell_everything(&self) {
        let _ = self.changes.send(Change::Everything);
    }

    pub(crate) fn move_to(&self, position: u64) {
        *self.position.lock() = Position::new(position);
        self.moved.notify_waiters();
    }

    /// All of it, as a projector does it.
    pub(crate) fn change(&self, place: &str, number: u64, position: u64) {
        self.commit(place, number);
        self.tell(place, position);
        self.move_to(position);
    }

    pub(crate) fn read(&self, tenant: &Tenant, place: &str) -> u64 {
        let rows = self.rows.lock();
        rows.get(&(tenant.clone(), place.to_owned())).copied().unwrap_or_default()
    }

    /// Whoever listens to changes.
    pub(crate) fn listeners(&self) -> usize {
        self.changes.receiver_count()
    }
}

#[async_trait]
impl Freshness for Shelf {
    async fn as_of(&self) -> Result<Position, StoreError> {
        Ok(*self.position.lock())
    }

    async fn wait_for(&self, position: Position) -> Result<(), StoreError> {
        loop {
            let moved = self.moved.notified();
            if *self.position.lock() >= position {
                return Ok(());
            }
            moved.await;
        }
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        let changes = stream::unfold(self.changes.subscribe(), |mut changes| async move {
            match changes.recv().await {
                Ok(change) => Some((change, changes)),
                Err(RecvError::Lagged(_)) => Some((Change::Everything, changes)),
                Err(RecvError::Closed) => None,
            }
        });
        changes.boxed()
    }
}

/// What the next load is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Fine,
    Fails,
    Panics,
}

/// Reads the shelf, counts how often, and waits at two gates if the test shuts
/// them: before it reads, and after.
#[derive(Clone)]
pub(crate) struct Reader {
    shelf: Shelf,
    loads: Arc<AtomicUsize>,
    gates: [watch::Sender<bool>; 2],
    waiting: [watch::Sender<usize>; 2],
    mood: Arc<Mutex<Mood>>,
}

impl Reader {
    pub(crate) fn new(shelf: &Shelf) -> Self {
        Self {
            shelf: shelf.clone(),
            loads: Arc::default(),
            gates: [watch::Sender::new(true), watch::Sender::new(true)],
            waiting: [watch::Sender::default(), watch::Sender::default()],
            mood: Arc::new(Mutex::new(Mood::Fine)),
        }
    }

    pub(crate) fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }

    pub(crate) fn mood(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    pub(crate) fn shut(&self, gate: usize) {
        self.gates[gate].send_replace(false);
    }

    pub(crate) fn open(&self, gate: usize) {
        self.gates[gate].send_replace(true);
    }

    /// Waits until as many have come to the gate, since the beginning.
    pub(crate) async fn arrived(&self, gate: usize, many: usize) {
        self.waiting[gate].subscribe().wait_for(|arrived| *arrived >= many).await.unwrap();
    }

    async fn pass(&self, gate: usize) {
        self.waiting[gate].send_modify(|arrived| *arrived += 1);
        self.gates[gate].subscribe().wait_for(|open| *open).await.unwrap();
    }
}

impl Answer<NumberAt> for Reader {
    async fn answer(&self, query: &NumberAt, tenant: &Tenant) -> Result<u64, BoxError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.pass(0).await;
        let number = self.shelf.read(tenant, &query.place);
        self.pass(1).await;
        let mood = *self.mood.lock();
        match mood {
            Mood::Fine => Ok(number),
            Mood::Fails => Err("the shelf fell down".into()),
            Mood::Panics => panic!("the answerer panics, as the test wants"),
        }
    }
}

/// A bus over a shelf, by a clock that stands still.
pub(crate) struct Scene {
    pub(crate) shelf: Shelf,
    pub(crate) reader: Reader,
    pub(crate) clock: TestClock,
}

pub(crate) fn cached() -> QuerySettings<NumberAt> {
    QuerySettings::new()
        .tags(|query: &NumberAt| vec![CacheTag::row_of("shelf", &query.place)])
        .cached(|query| query.place.clone())
}

impl Scene {
    pub(crate) fn new() -> Self {
        let shelf = Shelf::new();
        Self { reader: Reader::new(&shelf), shelf, clock: TestClock::new() }
    }

    pub(crate) fn builder(&self, settings: QuerySettings<NumberAt>) -> QueriesBuilder {
        let world = World::real().with_clock(self.clock.clone());
        Queries::builder(self.shelf.clone()).answer(self.reader.clone(), settings).world(world)
    }

    pub(crate) fn queries(&self, settings: QuerySettings<NumberAt>) -> Queries {
        self.builder(settings).build()
    }
}

/// The answer in short: the number, its position, whether it was cached.
pub(crate) fn short(answer: Result<Answered<u64>, AskError>) -> (u64, u64, bool) {
    let answer = answer.unwrap();
    (*answer.answer, answer.as_of.get(), answer.cached)
}

/// Lets every task that can go on do so, by as many turns as a chain of them may
/// need: on a runtime of one thread.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
