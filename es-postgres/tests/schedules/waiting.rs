//! An append that waits for the row of a stream.

use chrono::{DateTime, Utc};
use es_core::{AppendError, Appended, EventStore, EventStoreExt, Read, StoreErrorKind};
use es_postgres::PostgresStore;
use es_testkit::fake;

use crate::log::{begin, begin_append, on_a_log, to};

const CROWD: usize = 40;

type Outcome = Result<Appended, AppendError>;

fn is_busy(outcome: &Outcome) -> bool {
    matches!(outcome, Err(AppendError::Store(error)) if error.kind() == StoreErrorKind::Busy)
}

/// Appends to this stream and to many others at once.
async fn crowd(store: &PostgresStore, stream: &str) -> (Outcome, Vec<Outcome>) {
    let one = begin_append(store, to(stream));
    let others: Vec<_> =
        (0..CROWD).map(|n| begin_append(store, to(&format!("free-{n}")))).collect();
    let mut outcomes = Vec::new();
    for other in others {
        outcomes.push(other.end().await);
    }
    (one.end().await, outcomes)
}

/// A caller's transaction has the stream, and takes its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_held_keeps_no_other_from_growing() {
    on_a_log("held", async |log| {
        let store = log.hasty_store().await;
        let held = log.hold(to("held-1")).await;
        // Alone before the crowd, and in its midst.
        for _ in 0..2 {
            let (late, others) = crowd(&store, "held-1").await;
            assert!(is_busy(&late), "{late:?}");
            others.into_iter().for_each(|one| drop(one.expect("an append to another stream")));
        }
        held.commit().await;
        store.append(to("held-1")).await.expect("an append to a stream that is free");
        store.close().await;
    })
    .await;
}

/// A follower waits at the held append; what came behind it waits the longer.
#[tokio::test]
async fn what_is_held_back_from_followers_is_behind_them() {
    on_a_log("behind", async |log| {
        let first = log.append("a-1").await.position;
        let held = log.hold(to("held-1")).await;
        let second = log.append("a-1").await.position;
        log.append("a-1").await;
        let seen = Read::all().after(first);
        assert!(log.store.events(seen.clone()).await.expect("a read").is_empty());

        let at = DateTime::<Utc>::MAX_UTC;
        let lag = log.store.lag(seen.clone(), at).await.expect("a lag");
        let all = log.store.events(Read::stream(&fake::stream("a-1"))).await.expect("a read");
        let waiting = all.iter().find(|event| event.position == second).expect("the second");
        assert_eq!((lag.events, lag.age), (2, (at - waiting.recorded_at).to_std().ok()));

        held.commit().await;
        let lag = log.store.lag(seen, at).await.expect("a lag");
        assert_eq!(lag.events, 3);
    })
    .await;
}

/// It has begun before the store is closed, by itself and not as one of a group.
#[tokio::test]
async fn who_closes_a_store_waits_for_an_append_under_way() {
    on_a_log("closing", async |log| {
        let store = log.another_store().await;
        store.append(to("free-1")).await.expect("a connection that is open");
        let held = log.hold(to("held-1")).await;
        let appending = begin_append(&store, to("held-1"));
        log.until_blocked_by(held.pid).await;
        let closing = begin(async move {
            store.close().await;
            store
        });
        held.commit().await;
        let store = closing.end().await;
        let ended = appending.try_end().expect("an append that ended before the store did");
        ended.expect("an append");
        let late = store.append(to("free-1")).await;
        assert!(
            matches!(late, Err(AppendError::Store(error)) if error.kind() == StoreErrorKind::Closed)
        );
    })
    .await;
}
