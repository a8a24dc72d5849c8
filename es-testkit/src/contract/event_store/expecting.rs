//! What a stream must look like for an append to go ahead.

use es_core::{AppendError, Batch, EventStore, EventStoreExt, Expected, StreamId, Version, Write};

use super::scene::{Log, conflict, exact, stream, to, versions};
use crate::{contract::run::together, fake};

/// `Any` makes a stream that was not there.
pub async fn any_accepts_a_stream_that_does_not_exist(log: &Log) {
    log.must(to(&stream("a"), 1).expect(Expected::Any)).await;
}

/// `Any` adds to a stream that is there.
pub async fn any_accepts_a_stream_that_exists(log: &Log) {
    log.have(&stream("a"), 3).await;
    let appended = log.must(to(&stream("a"), 1).expect(Expected::Any)).await;
    assert_eq!(appended.version(), Version::new(4));
}

/// `NoStream` makes a stream that was not there.
pub async fn no_stream_accepts_a_stream_that_does_not_exist(log: &Log) {
    log.have(&stream("b"), 1).await;
    log.must(to(&stream("a"), 1).expect(Expected::NoStream)).await;
}

/// `NoStream` refuses a stream that is there.
pub async fn no_stream_refuses_a_stream_that_exists(log: &Log) {
    log.have(&stream("a"), 1).await;
    conflict(log.refused(to(&stream("a"), 1).expect(Expected::NoStream)).await);
    log.assert_holds(1).await;
}

/// `Exists` adds to a stream that is there.
pub async fn exists_accepts_a_stream_that_exists(log: &Log) {
    log.have(&stream("a"), 1).await;
    log.must(to(&stream("a"), 1).expect(Expected::Exists)).await;
}

/// `Exists` refuses a stream that is not there.
pub async fn exists_refuses_a_stream_that_does_not_exist(log: &Log) {
    log.have(&stream("b"), 1).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(Expected::Exists)).await);
    assert_eq!(conflict.actual, Version::NONE);
    log.assert_holds(1).await;
}

/// `Exact` adds to a stream that is at the version.
pub async fn exact_accepts_the_version_of_the_stream(log: &Log) {
    log.have(&stream("a"), 3).await;
    log.must(to(&stream("a"), 2).expect(exact(3))).await;
    log.must(to(&stream("a"), 1).expect(exact(5))).await;
    assert_eq!(versions(&log.of(&stream("a")).await), [1, 2, 3, 4, 5, 6]);
}

/// `Exact` with no events makes a stream that was not there.
pub async fn exact_none_accepts_a_stream_that_does_not_exist(log: &Log) {
    log.must(to(&stream("a"), 1).expect(exact(0))).await;
}

/// `Exact` with no events refuses a stream that is there.
pub async fn exact_none_refuses_a_stream_that_exists(log: &Log) {
    log.have(&stream("a"), 1).await;
    conflict(log.refused(to(&stream("a"), 1).expect(exact(0))).await);
}

/// `Exact` refuses a version that the stream has left behind.
pub async fn exact_refuses_a_version_behind(log: &Log) {
    log.have(&stream("a"), 3).await;
    conflict(log.refused(to(&stream("a"), 1).expect(exact(2))).await);
    log.assert_holds(3).await;
}

/// `Exact` refuses a version that the stream has not reached.
pub async fn exact_refuses_a_version_ahead(log: &Log) {
    log.have(&stream("a"), 3).await;
    conflict(log.refused(to(&stream("a"), 1).expect(exact(4))).await);
    log.assert_holds(3).await;
}

/// The greatest number is a version as any other (A29).
pub async fn exact_refuses_the_greatest_version(log: &Log) {
    log.have(&stream("a"), 1).await;
    let refusals = [stream("a"), stream("b")];
    for stream in refusals {
        conflict(log.refused(to(&stream, 1).expect(exact(u64::MAX))).await);
    }
}

/// Optimistic concurrency in one line.
pub async fn a_second_writer_at_the_same_version_conflicts(log: &Log) {
    log.have(&stream("a"), 1).await;
    log.must(to(&stream("a"), 1).expect(exact(1))).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(exact(1))).await);
    assert_eq!(conflict.actual, Version::new(2));
}

/// The events of other streams do not count.
pub async fn the_version_of_a_stream_ignores_other_streams(log: &Log) {
    log.have(&stream("a"), 2).await;
    log.have(&stream("b"), 7).await;
    log.must(to(&stream("a"), 1).expect(exact(2))).await;
}

/// Within a batch the second write to a stream sees the first.
pub async fn a_later_write_expects_what_the_earlier_ones_leave(log: &Log) {
    log.have(&stream("a"), 1).await;
    let later = Write::new(stream("a")).expect(exact(3)).events(fake::events(1));
    log.must(to(&stream("a"), 2).expect(exact(1)).write(later)).await;
    assert_eq!(versions(&log.of(&stream("a")).await), [1, 2, 3, 4]);
}

/// Within a batch the second write to a stream cannot ignore the first.
pub async fn a_later_write_that_forgets_the_earlier_ones_conflicts(log: &Log) {
    log.have(&stream("a"), 1).await;
    let later = Write::new(stream("a")).expect(exact(1)).events(fake::events(1));
    conflict(log.refused(to(&stream("a"), 2).expect(exact(1)).write(later)).await);
    log.assert_holds(1).await;
}

/// Within a batch a stream exists once it has been written.
pub async fn a_later_write_finds_the_stream_that_an_earlier_one_made(log: &Log) {
    let later = Write::new(stream("a")).expect(Expected::Exists).events(fake::events(1));
    log.must(to(&stream("a"), 1).expect(Expected::NoStream).write(later)).await;
    log.assert_holds(2).await;
}

/// Of many writers at one version exactly one wins, round after round (A10).
pub async fn of_64_writers_at_one_version_exactly_one_wins(log: &Log) {
    log.have(&stream("a"), 1).await;
    for round in 1..=10 {
        assert_eq!(race(log, &stream("a"), exact(round)).await, 1, "winners of round {round}");
    }
    assert_eq!(log.version(&stream("a")).await.expect("a version"), Version::new(11));
}

/// Of many writers that would begin a stream exactly one does (A10).
pub async fn of_64_writers_of_a_new_stream_exactly_one_wins(log: &Log) {
    for round in 0..10 {
        let stream = stream(&round.to_string());
        assert_eq!(race(log, &stream, Expected::NoStream).await, 1, "winners of round {round}");
        assert_eq!(log.of(&stream).await.len(), 1);
    }
}

/// Writers that expect nothing are in nobody's way.
pub async fn of_64_writers_that_expect_anything_all_win(log: &Log) {
    assert_eq!(race(log, &stream("a"), Expected::Any).await, 64);
    assert_eq!(versions(&log.of(&stream("a")).await), (1..=64).collect::<Vec<_>>());
}

async fn race(log: &Log, stream: &StreamId, expected: Expected) -> usize {
    let append = |_| {
        let (store, batch) = (log.share(), to(stream, 1).expect(expected));
        async move { wins(&*store, batch).await }
    };
    together((0..64).map(append)).await.into_iter().filter(|won| *won).count()
}

async fn wins(store: &dyn EventStore, batch: Batch) -> bool {
    match store.append(batch).await {
        Ok(_) => true,
        Err(AppendError::Conflict(_)) => false,
        Err(other) => panic!("a race ends in a win or a conflict, not in {other:?}"),
    }
}
