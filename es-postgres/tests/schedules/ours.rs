//! Our readers: one that polls with a checkpoint, and one that follows.

use std::{collections::HashMap, sync::Arc};

use es_core::{EventStore, Page, Position, Read, RecordedEvent, Task, Version, World};
use es_postgres::PostgresStore;
use futures_util::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::log::{Log, in_time};

/// Reads the whole log behind a checkpoint, again and again.
pub(crate) struct Poller {
    store: PostgresStore,
    checkpoint: Position,
    seen: Vec<RecordedEvent>,
}

impl Poller {
    pub(crate) fn new(store: &PostgresStore) -> Self {
        Self { store: store.clone(), checkpoint: Position::START, seen: Vec::new() }
    }

    pub(crate) async fn poll(&mut self) {
        let read = Read::all().every_tenant().after(self.checkpoint);
        let pages: Vec<Page> = self.store.read(read).try_collect().await.expect("pages");
        for page in pages {
            self.seen.extend(page.events);
            self.checkpoint = page.through;
        }
    }

    pub(crate) fn positions(&self) -> Vec<i64> {
        positions(&self.seen)
    }

    pub(crate) async fn assert_whole(&self, log: &Log) {
        assert_whole("the poller", &self.seen, log).await;
    }
}

/// Follows in a task of its own.
pub(crate) struct Follower {
    pages: Arc<Mutex<Vec<Page>>>,
    through: watch::Receiver<Position>,
    _task: Task,
}

impl Follower {
    pub(crate) fn of_all(store: &PostgresStore) -> Self {
        Self::new(store, Read::all().every_tenant())
    }

    pub(crate) fn new(store: &PostgresStore, read: Read) -> Self {
        let mut following = store.follow(read);
        let pages = Arc::new(Mutex::new(Vec::new()));
        let (tell, through) = watch::channel(Position::START);
        let kept = Arc::clone(&pages);
        let task = World::real().spawn(async move {
            while let Some(Ok(page)) = following.next().await {
                let through = page.through;
                kept.lock().push(page);
                tell.send_replace(through);
            }
        });
        Self { pages, through, _task: task }
    }

    pub(crate) async fn until(&self, position: Position) {
        let mut through = self.through.clone();
        let waiting = through.wait_for(|through| *through >= position);
        in_time("a follower", waiting).await.expect("a follower that goes on");
    }

    pub(crate) fn through(&self) -> Position {
        *self.through.borrow()
    }

    /// What was offered, once it is sure that no page said more than it held: a
    /// later page must not reach behind the `through` of an earlier one.
    pub(crate) fn offered(&self) -> Vec<RecordedEvent> {
        let mut through = Position::START;
        let mut offered = Vec::new();
        for page in self.pages.lock().iter() {
            let is_within =
                |event: &RecordedEvent| event.position > through && event.position <= page.through;
            let events = positions(&page.events);
            let until = page.through;
            assert!(page.events.iter().all(is_within), "{events:?} in ({through}, {until}]");
            assert!(until >= through, "through goes from {through} back to {until}");
            through = until;
            offered.extend(page.events.iter().cloned());
        }
        offered
    }

    /// Waits for all that is committed now.
    pub(crate) async fn assert_whole(&self, log: &Log) {
        let last = log.positions().await.last().copied().unwrap_or_default();
        self.until(Position::new(last.unsigned_abs())).await;
        assert_whole("the follower", &self.offered(), log).await;
    }
}

pub(crate) fn positions(events: &[RecordedEvent]) -> Vec<i64> {
    events.iter().map(|event| event.position.get().cast_signed()).collect()
}

/// Every committed event once, by position, and each stream by version.
async fn assert_whole(who: &str, seen: &[RecordedEvent], log: &Log) {
    assert_eq!(positions(seen), log.positions().await, "what {who} was offered");
    let mut versions: HashMap<_, Version> = HashMap::new();
    for event in seen {
        let version = versions.entry(&event.stream).or_default();
        assert_eq!(event.version, version.plus(1), "{} at {}", event.stream, event.position);
        *version = event.version;
    }
}
