use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use es_core::{
    AppendError, Appended, Batch, EventId, EventStore, EventStoreExt, Position, Read,
    RecordedEvent, StoreErrorKind, Task, World, Write,
};
use es_postgres::PostgresStore;
use es_testkit::fake;
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::private::SOON;

/// Tasks that append with ids until they are told to stop, and try again what
/// failed; the record of what was acknowledged; and a follower.
pub(crate) struct Load {
    shared: Arc<Shared>,
    tasks: Vec<Task>,
}

pub(crate) type Acked = Vec<(Batch, Appended)>;

struct Shared {
    store: PostgresStore,
    acked: Mutex<Acked>,
    failed: Mutex<BTreeMap<String, usize>>,
    count: watch::Sender<usize>,
    is_over: AtomicBool,
    seen: Mutex<Vec<(Position, EventId)>>,
    last: watch::Sender<Position>,
}

impl Load {
    pub(crate) fn on(store: &PostgresStore, appending: usize) -> Self {
        Self::after(Vec::new(), store, appending)
    }

    /// As [`on`](Self::on), on a log that holds this already.
    pub(crate) fn after(acked: Acked, store: &PostgresStore, appending: usize) -> Self {
        let shared = Arc::new(Shared {
            store: store.clone(),
            acked: Mutex::new(acked),
            failed: Mutex::default(),
            count: watch::Sender::new(0),
            is_over: AtomicBool::new(false),
            seen: Mutex::default(),
            last: watch::Sender::new(Position::START),
        });
        let world = World::real();
        let mut tasks = vec![world.spawn(follow(Arc::clone(&shared)))];
        tasks.extend((0..appending).map(|task| world.spawn(append(Arc::clone(&shared), task))));
        Self { shared, tasks }
    }

    /// Waits until so many more were acknowledged.
    pub(crate) async fn goes_on(&self, appends: usize) {
        let mut count = self.shared.count.subscribe();
        let goal = *count.borrow() + appends;
        let waiting = count.wait_for(|count| *count >= goal);
        let went = tokio::time::timeout(SOON, waiting).await;
        went.expect("appends go on").expect("somebody counts");
    }

    /// Stops, and checks that the log is what was acknowledged, once and in
    /// order, and that the follower has seen it so.
    pub(crate) async fn ends_well(self) -> Acked {
        self.shared.is_over.store(true, SeqCst);
        let log = self.shared.store.clone();
        let mut tasks = self.tasks.into_iter();
        let follower = tasks.next().expect("a follower");
        for task in tasks {
            let ended = tokio::time::timeout(SOON, task).await;
            assert!(ended.expect("an append that ends"), "a task that appends has failed");
        }
        let events = log.events(Read::all()).await.expect("a log that can be read");
        let last = events.last().expect("an event").position;
        self.shared.last.send_replace(last);
        let ended = tokio::time::timeout(SOON, follower).await;
        assert!(ended.expect("a follower that comes to the end"), "the follower has failed");
        let acked = std::mem::take(&mut *self.shared.acked.lock());
        assert_log(&events, &acked);
        let all: Vec<_> = events.iter().map(|event| (event.position, event.id)).collect();
        assert!(*self.shared.seen.lock() == all, "the follower has seen something else");
        let failed = self.shared.failed.lock();
        println!("{} appends acknowledged, {} events; {failed:?}", acked.len(), events.len());
        acked
    }
}

/// All that was acknowledged is there once and where it was said to be, nothing
/// else is, and the versions have no gaps.
pub(crate) fn assert_log(events: &[RecordedEvent], acked: &[(Batch, Appended)]) {
    let mut by_id = BTreeMap::new();
    let mut versions = BTreeMap::new();
    for event in events {
        assert!(by_id.insert(event.id, event).is_none(), "{} is there twice", event.id);
        let version = versions.entry(event.stream.name()).or_insert(0);
        *version += 1;
        assert_eq!(event.version.get(), *version, "in {}", event.stream);
    }
    assert!(events.is_sorted_by(|one, next| one.position < next.position));
    for (batch, appended) in acked {
        for (write, written) in batch.writes.iter().zip(&appended.writes) {
            let last = write.events.last().expect("an event");
            let found = by_id.get(&last.id).expect("an acknowledged event is lost");
            assert_eq!((found.version, found.position), (written.version, written.position));
            assert!(write.events.iter().all(|event| by_id.contains_key(&event.id)));
        }
    }
    let expected: usize = acked.iter().map(|(batch, _)| batch.len()).sum();
    assert_eq!(events.len(), expected, "events that nobody has appended, or lost ones");
}

async fn append(shared: Arc<Shared>, task: usize) {
    for round in 0.. {
        if shared.is_over.load(SeqCst) {
            return;
        }
        let batch = batch(task, round).append_id(fake::append_id());
        let appended = shared.until_done(&batch).await;
        shared.acked.lock().push((batch, appended));
        shared.count.send_modify(|count| *count += 1);
    }
}

/// One event; now and then tags and a correlation; now and then two streams.
fn batch(task: usize, round: usize) -> Batch {
    let stream = |n: usize| fake::stream(&format!("load-{}", n % 5));
    let event = fake::event("load.lifted");
    match round % 4 {
        0 => Batch::to(stream(task)).event(event.tag("task", &task.to_string()).build()),
        1 => Batch::to(stream(task))
            .events(fake::events(2))
            .write(Write::new(stream(task + 1)).events(fake::events(1))),
        2 => Batch::to(stream(task)).event(event.correlated("a lift").build()),
        _ => Batch::to(stream(task)).event(event.build()),
    }
}

impl Shared {
    async fn until_done(&self, batch: &Batch) -> Appended {
        loop {
            let error: AppendError = match self.store.append(batch.clone()).await {
                Ok(appended) => return appended,
                Err(error) => error,
            };
            let AppendError::Store(error) = error else { panic!("refused: {error}") };
            assert!(error.is_transient(), "{:?}: {error}", error.kind());
            *self.failed.lock().entry(format!("{:?}", error.kind())).or_default() += 1;
        }
    }
}

/// Follows from its checkpoint, which it begins anew from after each few pages
/// and after each failure, until it has come to the last event.
async fn follow(shared: Arc<Shared>) {
    let mut last = shared.last.subscribe();
    let mut after = Position::START;
    loop {
        let mut pages = shared.store.follow(Read::all().after(after));
        for _ in 0..5 {
            if after >= *last.borrow() && *last.borrow() > Position::START {
                return;
            }
            let page = tokio::select! {
                page = pages.try_next() => page,
                _ = last.changed() => continue,
            };
            match page {
                Ok(page) => {
                    let page = page.expect("a follower has no end");
                    after = page.through;
                    let seen = page.events.iter().map(|event| (event.position, event.id));
                    shared.seen.lock().extend(seen);
                }
                Err(error) => {
                    assert!(error.is_transient(), "{:?}: {error}", error.kind());
                    break;
                }
            }
        }
    }
}

/// What a failed append means.
pub(crate) fn kind(outcome: Result<Appended, AppendError>) -> StoreErrorKind {
    match outcome.expect_err("an append that fails") {
        AppendError::Store(error) => error.kind(),
        refused => panic!("refused: {refused}"),
    }
}
