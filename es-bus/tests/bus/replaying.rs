//! How a replay goes on, and how it stops.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use es_bus::{Handle, HandleError, Received, Replay, ReplayError, Replayed};
use es_core::{
    Abilities, AppendError, Appended, Batch, Clock, ContentType, Event, EventStore, EventStoreExt,
    FaultKind, Name, NewEvent, Page, Pages, Position, Read, StoreError, StoreErrorKind, World,
    memory::MemoryStore,
};
use es_testkit::TestClock;
use futures_util::{FutureExt, StreamExt, stream::try_unfold};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::replays::{AccountEvent, Clerk, LONG, Log, Then, appending, deposits, endpoint, stream};

/// Hands out pages of two events, each as the log is by then, and breaks after so many pages.
struct Paged {
    inner: Log,
    /// How many pages were taken.
    taken: Arc<AtomicUsize>,
    breaks_after: usize,
}

impl Paged {
    async fn of(amounts: i64) -> Self {
        let inner: Log = Arc::new(MemoryStore::new());
        deposits(&inner, amounts).await;
        Self { inner, taken: Arc::default(), breaks_after: usize::MAX }
    }
}

#[async_trait]
impl EventStore for Paged {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.inner.append(batch).await
    }

    fn read(&self, read: Read) -> Pages {
        let (inner, taken) = (Arc::clone(&self.inner), Arc::clone(&self.taken));
        let breaks_after = self.breaks_after;
        let pages = try_unfold(read, move |read| {
            let (inner, taken) = (Arc::clone(&inner), Arc::clone(&taken));
            async move {
                if taken.fetch_add(1, Ordering::SeqCst) >= breaks_after {
                    return Err(StoreError::new(StoreErrorKind::Unavailable, "the disk is gone"));
                }
                let events = inner.events(read.clone().limit(2)).await?;
                let through = events.last().map(|last| last.position);
                Ok(through.map(|through| (Page { events, through }, read.after(through))))
            }
        });
        pages.boxed()
    }

    fn follow(&self, read: Read) -> Pages {
        self.inner.follow(read)
    }

    async fn horizon(&self) -> Result<Position, StoreError> {
        self.inner.horizon().await
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }
}

/// Lets all others go on as far as they can.
async fn settled() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_failure_stops_a_replay_and_says_from_where_to_go_on() {
    for (then, kind) in [
        (Then::Fail, FaultKind::Transient),
        (Then::FailForGood, FaultKind::Permanent),
        (Then::Panic, FaultKind::Panic),
    ] {
        let log: Log = Arc::new(MemoryStore::new());
        deposits(&log, 5).await;
        let clerk = Clerk::default();
        *clerk.then.lock() = Some((3, then));
        let billing = endpoint().handle(clerk.clone());
        let error = Replay::of(&log, Read::all()).to(&billing).await.unwrap_err();
        let so_far = error.so_far();
        assert_eq!((so_far.handled, so_far.through), (2, Position::new(2)));
        assert_eq!(so_far.up_to, Position::new(5));
        assert!(error.to_string().starts_with("the event at position 3 was not handled"));
        let ReplayError::Handler { position, fault, .. } = error else { panic!("{error}") };
        assert_eq!((position, fault.kind), (Position::new(3), kind));
        let rest = Read::all().after(so_far.through);
        let replayed = Replay::of(&log, rest).to(&billing).await.unwrap();
        assert_eq!((clerk.amounts(), replayed.handled), (vec![1, 2, 3, 4, 5], 3));
    }
}

#[tokio::test]
async fn what_cannot_be_read_stops_a_replay() {
    let log: Log = Arc::new(MemoryStore::new());
    deposits(&log, 1).await;
    let (id, name) = (World::real().event_id(), AccountEvent::TYPES[0].name);
    let broken = NewEvent::raw(id, Name::from_static(name), ContentType::JSON, "[");
    log.append(Batch::to(stream("ada")).event(broken)).await.unwrap();
    let billing = endpoint().handle(Clerk::default());
    match Replay::of(&log, Read::all()).to(&billing).await {
        Err(ReplayError::Handler { so_far, position, fault }) => {
            assert_eq!((so_far.handled, position), (1, Position::new(2)));
            assert_eq!(fault.kind, FaultKind::Undecodable);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_log_that_fails_stops_a_replay_and_says_from_where_to_go_on() {
    let log = Paged { breaks_after: 2, ..Paged::of(6).await };
    let clerk = Clerk::default();
    let billing = endpoint().handle(clerk.clone());
    let error = Replay::of(&log, Read::all()).to(&billing).await.unwrap_err();
    assert!(matches!(&error, ReplayError::Store { error, .. }
        if error.kind() == StoreErrorKind::Unavailable));
    assert_eq!((error.so_far().handled, error.so_far().through), (4, Position::new(4)));
    let rest = Read::all().after(error.so_far().through);
    Replay::of(&log.inner, rest).to(&billing).await.unwrap();
    assert_eq!(clerk.amounts(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_replay_goes_forwards() {
    let log: Log = Arc::new(MemoryStore::new());
    let billing = endpoint().handle(Clerk::default());
    let refused = Replay::of(&log, Read::all().backwards()).to(&billing).await;
    assert!(matches!(refused, Err(ReplayError::Store { error, .. })
        if error.kind() == StoreErrorKind::Invalid));
}

#[tokio::test]
async fn a_replay_with_a_limit_goes_on_behind_its_last_event() {
    let log: Log = Arc::new(MemoryStore::new());
    deposits(&log, 5).await;
    let (clerk, mut read) = (Clerk::default(), Read::all().limit(2));
    let billing = endpoint().handle(clerk.clone());
    for through in [2, 4, 5, 5] {
        let replayed = Replay::of(&log, read.clone()).to(&billing).await.unwrap();
        assert_eq!(replayed.through, Position::new(through));
        read = read.after(replayed.through);
    }
    assert_eq!(clerk.amounts(), [1, 2, 3, 4, 5]);
}

/// However long the log is, no more of it is in memory.
#[tokio::test]
async fn a_page_is_read_when_the_one_before_it_was_handled() {
    let log = Paged::of(10).await;
    let (taken, seen) = (Arc::clone(&log.taken), Arc::new(Mutex::new(Vec::new())));
    let notes = Arc::clone(&seen);
    let billing = endpoint().handle(move |_: Received<AccountEvent>| {
        notes.lock().push(taken.load(Ordering::SeqCst));
        async { Ok::<_, HandleError>(()) }
    });
    Replay::of(&log, Read::all()).to(&billing).await.unwrap();
    assert_eq!(*seen.lock(), [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]);
}

/// A store may read a stream to its end as it is by then, and the handler makes it longer.
#[tokio::test]
async fn a_replay_does_not_run_after_its_own_handler() {
    let log = Paged::of(5).await;
    let billing = appending(&log.inner);
    let replay = Replay::of(&log, Read::all()).to(&billing);
    let replayed = tokio::time::timeout(LONG, replay).await.unwrap().unwrap();
    assert_eq!((replayed.handled, replayed.through), (5, Position::new(5)));
}

#[tokio::test]
async fn progress_is_told_after_each_event() {
    let log: Log = Arc::new(MemoryStore::new());
    deposits(&log, 4).await;
    let told = Mutex::new(Vec::new());
    let billing = endpoint().handle(Clerk::default());
    let replay = Replay::of(&log, Read::all());
    let replayed = replay.on_progress(|so_far| told.lock().push(so_far)).to(&billing);
    let replayed = replayed.await.unwrap();
    let mut told = told.into_inner();
    told.dedup();
    let steps: Vec<_> = told.iter().map(|so_far| (so_far.handled, so_far.through.get())).collect();
    assert_eq!(steps, [(1, 1), (2, 2), (3, 3), (4, 4)]);
    assert!(told.iter().all(|so_far| so_far.up_to == Position::new(4)));
    assert_eq!(told.last(), Some(&replayed));
}

/// A replay of as many deposits as this, at so many a second, that runs in a task.
async fn paced(
    per_second: u32,
    amounts: i64,
) -> (TestClock, Clerk, impl Future<Output = Replayed>) {
    let log: Log = Arc::new(MemoryStore::new());
    deposits(&log, amounts).await;
    let (clock, clerk) = (TestClock::new(), Clerk::default());
    let world = World::real().with_clock(clock.clone());
    let billing = endpoint().filter(|message| message.key.as_deref() == Some("account-ada"));
    let billing = billing.handle(clerk.clone());
    let running = World::real();
    let (done, outcome) = tokio::sync::oneshot::channel();
    running.detach(async move {
        let replay = Replay::of(&log, Read::all()).per_second(per_second).world(world);
        let _ = done.send(replay.to(&billing).await.unwrap());
    });
    let outcome = tokio::time::timeout(LONG, outcome);
    (clock, clerk, outcome.map(|replayed| replayed.unwrap().unwrap()))
}

/// What is skipped costs no time.
#[tokio::test]
async fn so_many_are_handed_out_in_a_second_and_no_more() {
    let (clock, clerk, replayed) = paced(4, 10).await;
    for handled in 1..=5 {
        settled().await;
        assert_eq!(clerk.amounts().len(), handled);
        clock.advance(Duration::from_millis(249));
        settled().await;
        assert_eq!(clerk.amounts().len(), handled, "too early");
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(replayed.await.handled, 5);
}

/// Else a clock that ticks each millisecond would make of 10,000 a second 1,000, and one that
/// was late would be followed by a rush.
#[tokio::test]
async fn a_clock_that_is_late_is_made_up_for_a_little() {
    let (clock, clerk, replayed) = paced(1_000, 100).await;
    settled().await;
    assert_eq!(clerk.amounts().len(), 1);
    clock.advance(Duration::from_millis(6));
    settled().await;
    assert_eq!(clerk.amounts().len(), 7);
    clock.advance(Duration::from_secs(60));
    settled().await;
    assert_eq!(clerk.amounts().len(), 18, "ten that were late, and the one that is due");
    while clerk.amounts().len() < 50 {
        clock.advance(Duration::from_millis(1));
        settled().await;
    }
    assert_eq!(replayed.await.handled, 50);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_stop_it() {
    let log: Log = Arc::new(MemoryStore::new());
    deposits(&log, 2).await;
    let (clock, clerk) = (TestClock::new(), Clerk::default());
    let (back, billing) = (clock.clone(), clerk.clone());
    let billing = endpoint().handle(move |received: Received<AccountEvent>| {
        back.set(back.now() - Duration::from_secs(3_600));
        let clerk = billing.clone();
        async move { clerk.handle(received).await }
    });
    let replay = Replay::of(&log, Read::all()).per_second(1);
    let mut replay = Box::pin(replay.world(World::real().with_clock(clock.clone())).to(&billing));
    while clerk.amounts().is_empty() || clock.sleepers() == 0 {
        assert!((&mut replay).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    clock.advance(Duration::from_secs(1));
    let replayed = tokio::time::timeout(LONG, replay).await.unwrap();
    assert_eq!(replayed.unwrap().handled, 2);
}

/// The event in hand is handled to its end, and none comes after it.
#[tokio::test]
async fn dropped_it_stops_between_two_events() {
    let log: Log = Arc::new(MemoryStore::new());
    deposits(&log, 3).await;
    let (gate, begun) = (Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(0)));
    let (waits, begins, ended) =
        (Arc::clone(&gate), Arc::clone(&begun), Arc::new(Semaphore::new(0)));
    let ends = Arc::clone(&ended);
    let billing = endpoint().handle(move |_: Received<AccountEvent>| {
        let (waits, ends) = (Arc::clone(&waits), Arc::clone(&ends));
        begins.add_permits(1);
        async move {
            waits.acquire().await?.forget();
            ends.add_permits(1);
            Ok::<_, HandleError>(())
        }
    });
    let last = Mutex::new(Replayed::default());
    let replay = Replay::of(&log, Read::all()).on_progress(|so_far| *last.lock() = so_far);
    let mut replay = Box::pin(replay.to(&billing));
    while begun.available_permits() < 2 {
        assert!((&mut replay).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    drop(replay);
    assert_eq!((last.lock().handled, ended.available_permits()), (1, 1));
    gate.add_permits(2);
    settled().await;
    assert_eq!((begun.available_permits(), ended.available_permits()), (2, 2));
}
