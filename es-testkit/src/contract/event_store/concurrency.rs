//! Many clients at once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use es_core::{
    AppendError, Batch, EventStore, EventStoreExt, Expected, Position, Random, Read,
    StoreErrorKind, Version, Write,
};
use futures_util::{FutureExt, TryStreamExt};

use super::scene::{Log, assert_in_order, exact, stream, to};
use crate::{SeededRandom, contract::run::together, fake, history::History};

const CLIENTS: usize = 8;
const OPERATIONS: usize = 60;

type Shared = (Arc<dyn EventStore>, Arc<History>);

/// Eight clients append, retry and read while followers watch: the history of
/// it all keeps the rules of [`history`](crate::history) (A33).
pub async fn the_history_of_many_clients_keeps_the_rules(log: &Log) {
    let history = Arc::new(History::new());
    let with = || (log.share(), Arc::clone(&history));
    let clients: Vec<_> = (0..CLIENTS).map(|n| client(n, with())).collect();
    let followers = (0..3).map(|n| follower(n, with()).boxed());
    let store = log.share();
    let end = async move {
        together(clients).await;
        store.append(to(&fake::stream("end-1"), 1)).await.expect("an append");
    };
    together(followers.chain([end.boxed()])).await;
    let log = log.find(Read::all()).await;
    assert_eq!(history.check(&log[..log.len() - 1]), []);
}

async fn client(number: usize, (store, history): Shared) {
    let random = SeededRandom::new(number as u64);
    for _ in 0..OPERATIONS {
        let stream = stream(&random.below(4).to_string());
        if random.below(6) == 0 {
            let began = history.now();
            let seen = store.events(Read::all()).await.expect("a read");
            history.read(began, &seen);
            continue;
        }
        let expected = match random.below(3) {
            0 => Expected::Any,
            _ => Expected::Exact(store.version(&stream).await.expect("a version")),
        };
        let batch = to(&stream, 1 + random.below(3)).expect(expected);
        let batch = batch.append_id(fake::append_id());
        let ticket = history.invoke(&batch);
        let mut outcome = store.append(batch.clone()).await;
        if random.below(4) == 0 {
            outcome = outcome.and(store.append(batch).await);
        }
        assert_no_failure(&outcome);
        history.ended(ticket, &outcome);
    }
}

fn assert_no_failure<T>(outcome: &Result<T, AppendError>) {
    if let Err(AppendError::Store(error)) = outcome {
        assert_eq!(error.kind(), StoreErrorKind::Unknown, "{error}");
    }
}

async fn follower(number: usize, (store, history): Shared) {
    let name = format!("follower-{number}");
    let mut events = store.tail(Read::all());
    history.restarted(&name, Position::START);
    while let Some(event) = events.try_next().await.expect("a follower does not fail") {
        tokio::task::yield_now().await;
        if event.stream.category() == "end" {
            return;
        }
        history.offered(&name, &event);
    }
}

/// While writers are at work, a reader never sees a hole: what it saw is what
/// stands there in the end, up to the last event that it saw (A1, A4, A5).
pub async fn a_reader_of_a_busy_log_never_sees_a_hole(log: &Log) {
    let busy = Arc::new(AtomicBool::new(true));
    let reads = (0..2).map(|_| {
        let (store, busy) = (log.share(), Arc::clone(&busy));
        async move {
            let mut seen = Vec::new();
            while busy.load(Ordering::SeqCst) {
                seen.push(store.events(Read::all()).await.expect("a read"));
                tokio::task::yield_now().await;
            }
            seen
        }
        .boxed()
    });
    let (store, over) = (log.share(), Arc::clone(&busy));
    let writes = async move {
        together((0..8).map(|n| write(n, Arc::clone(&store)))).await;
        over.store(false, Ordering::SeqCst);
        Vec::new()
    };
    let seen = together(reads.chain([writes.boxed()])).await;
    let all = log.everything().await;
    assert_in_order(&all);
    for read in seen.iter().flatten() {
        assert_eq!(*read, all[..read.len()], "a read of a busy log is a prefix of it");
    }
}

async fn write(number: usize, store: Arc<dyn EventStore>) {
    for n in 0..25 {
        let mut batch = to(&stream(&number.to_string()), 1 + n % 3);
        if n % 5 == 4 {
            batch = batch.expect(exact(0));
        }
        assert_no_failure(&store.append(batch).await);
    }
}

/// A batch is seen wholly or not at all, by readers and followers (A14).
pub async fn nobody_sees_a_part_of_a_batch(log: &Log) {
    let (writer, reader) = (log.share(), log.share());
    let write = async move {
        for _ in 0..60 {
            let other = Write::new(stream("b")).events(fake::events(5));
            writer.append(to(&stream("a"), 5).write(other)).await.expect("an append");
        }
    };
    let read = async move {
        let mut seen = 0;
        while seen < 600 {
            seen = reader.events(Read::all()).await.expect("a read").len();
            assert_eq!(seen % 10, 0, "a batch has ten events");
            tokio::task::yield_now().await;
        }
    };
    together([write.boxed(), read.boxed()]).await;
}

/// What was acknowledged is read at once, by anybody.
pub async fn what_was_acknowledged_is_read_at_once(log: &Log) {
    let work = |n: usize| {
        let (writer, reader) = (log.share(), log.share());
        async move {
            let stream = stream(&n.to_string());
            for version in 1..=20 {
                let appended = writer.append(to(&stream, 1)).await.expect("an append");
                let found = reader.events(Read::stream(&stream)).await.expect("a read");
                assert_eq!(found.len(), version);
                assert!(reader.head().await.expect("a head") >= appended.position);
            }
        }
    };
    together((0..CLIENTS).map(work)).await;
}

/// Writers who lose decide again, and each of them gets through in the end:
/// no update is lost.
pub async fn no_update_is_lost_among_writers_that_decide_again(log: &Log) {
    const EACH: usize = 15;
    let work = |_| {
        let store = log.share();
        async move {
            let mut seen = Version::NONE;
            for _ in 0..EACH {
                seen = decide_until_it_holds(&*store, seen).await;
            }
        }
    };
    together((0..CLIENTS).map(work)).await;
    let counter = log.of(&stream("counter")).await;
    assert_eq!(counter.len(), CLIENTS * EACH);
    let counts: Vec<u64> = counter.iter().map(|event| number(&event.payload)).collect();
    assert_eq!(counts, (1..=counts.len() as u64).collect::<Vec<_>>());
}

fn number(payload: &[u8]) -> u64 {
    serde_json::from_slice(payload).expect("a number")
}

async fn decide_until_it_holds(store: &dyn EventStore, mut seen: Version) -> Version {
    loop {
        tokio::task::yield_now().await;
        let next = seen.plus(1);
        let event = fake::event("counted").json(&next.get()).build();
        let batch = Batch::to(stream("counter")).event(event).expect(Expected::Exact(seen));
        match store.append(batch).await {
            Ok(_) => return next,
            Err(AppendError::Conflict(conflict)) => {
                assert!(conflict.is_complete_after(seen), "what was missed is told");
                seen = conflict.actual;
            }
            Err(other) => panic!("a writer wins or loses: {other:?}"),
        }
    }
}

/// Batches that take the same streams in opposite orders do not block each
/// other for ever (A27).
pub async fn batches_that_cross_do_not_block_each_other(log: &Log) {
    let work = |n: usize| {
        let store = log.share();
        async move {
            for _ in 0..10 {
                let mut ids = ["a", "b", "c", "d"];
                ids.rotate_left(n % 4);
                if n.is_multiple_of(2) {
                    ids.reverse();
                }
                let write = |id| Write::new(stream(id)).events(fake::events(1));
                store.append(Batch::new(ids.map(write))).await.expect("no deadlock");
            }
        }
    };
    together((0..32).map(work)).await;
    let all = log.everything().await;
    assert_eq!(all.len(), 32 * 10 * 4);
    assert_in_order(&all);
}

/// What was acknowledged before another append began stands before it, also
/// when different clients write different streams.
pub async fn positions_keep_to_real_time(log: &Log) {
    let stores = [log.share(), log.share(), log.share()];
    let mut last = Position::START;
    for n in 0..60 {
        let random = SeededRandom::new(n).next_u64();
        let target = stream(&(random % 9).to_string());
        let store = &stores[usize::try_from(n).unwrap_or_default() % 3];
        let appended = store.append(to(&target, 1)).await.expect("an append");
        assert!(appended.position > last);
        last = appended.position;
    }
}
