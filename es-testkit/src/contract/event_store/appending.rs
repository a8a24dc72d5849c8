//! What an append does, and what it answers.

use es_core::{Batch, EventStore, Expected, InvalidBatch, Position, Version, Write, Written};

use super::scene::{Log, assert_in_order, conflict, exact, positions, stream, to, versions};
use crate::{contract::run::together, fake};

/// What was appended is in the log at once.
pub async fn an_appended_event_can_be_read(log: &Log) {
    let event = fake::event("thing.happened").build();
    let appended = log.must(Batch::to(stream("a")).event(event.clone())).await;
    let found = log.of(&stream("a")).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id, &found[0].payload), (event.id, &event.payload));
    assert_eq!(found[0].position, appended.position);
}

/// The version of an event is that of its stream right after it.
pub async fn the_first_event_of_a_stream_has_version_1(log: &Log) {
    let appended = log.have(&stream("a"), 1).await;
    assert_eq!(appended.version(), Version::new(1));
    assert_eq!(versions(&log.of(&stream("a")).await), [1]);
}

/// No version of a stream is left out or given twice.
pub async fn the_versions_of_a_stream_are_dense(log: &Log) {
    for count in [1, 3, 2] {
        log.have(&stream("a"), count).await;
        log.have(&stream("b"), 1).await;
    }
    assert_eq!(versions(&log.of(&stream("a")).await), [1, 2, 3, 4, 5, 6]);
    assert_eq!(versions(&log.of(&stream("b")).await), [1, 2, 3]);
}

/// The log has one order, over all streams.
pub async fn positions_increase_strictly(log: &Log) {
    for n in 0..20 {
        log.have(&stream(&(n % 3).to_string()), 1 + n % 4).await;
    }
    assert_in_order(&log.everything().await);
}

/// [`Position::START`] stands before the first event.
pub async fn the_first_position_is_after_the_start(log: &Log) {
    assert!(log.have(&stream("a"), 1).await.position > Position::START);
}

/// The answer names the version of the stream after the append.
pub async fn an_append_answers_with_the_version_of_the_stream(log: &Log) {
    assert_eq!(log.have(&stream("a"), 2).await.version(), Version::new(2));
    assert_eq!(log.have(&stream("a"), 3).await.version(), Version::new(5));
}

/// The answer names the position of the last event that was appended.
pub async fn an_append_answers_with_the_position_of_its_last_event(log: &Log) {
    let appended = log.have(&stream("a"), 3).await;
    assert_eq!(positions(&log.of(&stream("a")).await).last(), Some(&appended.position));
}

/// One answer for each write of the batch, in their order.
pub async fn each_write_of_a_batch_gets_its_own_answer(log: &Log) {
    log.have(&stream("b"), 1).await;
    let batch = to(&stream("a"), 2).write(Write::new(stream("b")).events(fake::events(3)));
    let appended = log.must(batch).await;
    let last = async |id| log.of(&stream(id)).await.pop().expect("an event");
    let (a, b) = (last("a").await, last("b").await);
    let written = [(a.version, a.position), (b.version, b.position)];
    let expected = written.map(|(version, position)| Written { version, position });
    assert_eq!(appended.writes, expected);
    assert_eq!(appended.position, b.position);
}

/// `repeated` is for what was in the log before.
pub async fn a_first_append_is_not_a_repetition(log: &Log) {
    let batch = to(&stream("a"), 1).append_id(fake::append_id());
    assert!(!log.must(batch).await.repeated);
}

/// The events of a batch stand in the order in which they were given.
pub async fn the_events_of_a_batch_keep_their_order(log: &Log) {
    let events = fake::events(50);
    let given: Vec<_> = events.iter().map(|event| event.id).collect();
    log.must(Batch::to(stream("a")).events(events)).await;
    let found: Vec<_> = log.of(&stream("a")).await.iter().map(|event| event.id).collect();
    assert_eq!(found, given);
}

/// The writes of a batch stand in the order in which they were given.
pub async fn the_writes_of_a_batch_keep_their_order(log: &Log) {
    let write = |id| Write::new(stream(id)).events(fake::events(2));
    log.must(Batch::new(["c", "a", "b"].map(write))).await;
    let log = log.everything().await;
    let streams: Vec<_> = log.iter().map(|event| event.stream.id()).collect();
    assert_eq!(streams, ["c", "c", "a", "a", "b", "b"]);
}

/// Two writes to one stream follow one another.
pub async fn one_batch_may_write_a_stream_twice(log: &Log) {
    let batch = to(&stream("a"), 2).write(Write::new(stream("a")).events(fake::events(1)));
    let appended = log.must(batch).await;
    let after: Vec<_> = appended.writes.iter().map(|write| write.version.get()).collect();
    assert_eq!(after, [2, 3]);
    assert_eq!(versions(&log.of(&stream("a")).await), [1, 2, 3]);
}

/// All streams of a batch have its events.
pub async fn a_batch_over_streams_is_appended_wholly(log: &Log) {
    let write = |n: usize| Write::new(stream(&n.to_string())).events(fake::events(n));
    let appended = log.must(Batch::new((1..=10).map(write))).await;
    assert_eq!(appended.writes.len(), 10);
    for n in 1..=10 {
        assert_eq!(log.of(&stream(&n.to_string())).await.len(), n);
    }
}

/// If one stream does not look as expected, no stream has an event.
pub async fn a_batch_over_streams_that_conflicts_leaves_nothing(log: &Log) {
    log.have(&stream("c"), 1).await;
    let write = |id| Write::new(stream(id)).expect(Expected::NoStream).events(fake::events(2));
    let refusal = log.refused(Batch::new(["a", "b", "c"].map(write))).await;
    assert_eq!(conflict(refusal).stream, stream("c"));
    log.assert_holds(1).await;
}

/// The last write of a batch counts as much as the first.
pub async fn a_batch_that_conflicts_at_its_last_write_leaves_nothing(log: &Log) {
    let last = Write::new(stream("a")).expect(exact(9)).events(fake::events(1));
    conflict(log.refused(to(&stream("a"), 3).write(last)).await);
    log.assert_holds(0).await;
}

/// A stream that was not written before may be first seen in a refused batch.
pub async fn a_stream_that_a_refused_batch_would_have_begun_does_not_exist(log: &Log) {
    conflict(log.refused(to(&stream("a"), 1).expect(Expected::Exists)).await);
    let appended = log.must(to(&stream("a"), 1).expect(Expected::NoStream)).await;
    assert_eq!(appended.version(), Version::new(1));
}

/// A write without events checks its expected version and no more.
pub async fn a_guard_lets_the_batch_through_while_its_stream_stands_still(log: &Log) {
    log.have(&stream("rate"), 3).await;
    let guard = Write::new(stream("rate")).expect(exact(3));
    log.must(to(&stream("a"), 1).write(guard)).await;
    assert_eq!(log.of(&stream("a")).await.len(), 1);
}

/// Once the guarded stream has moved, the batch is refused.
pub async fn a_guard_stops_the_batch_once_its_stream_has_moved(log: &Log) {
    log.have(&stream("rate"), 4).await;
    let guard = Write::new(stream("rate")).expect(exact(3));
    let conflict = conflict(log.refused(to(&stream("a"), 1).write(guard)).await);
    assert_eq!((conflict.stream, conflict.actual), (stream("rate"), Version::new(4)));
    assert_eq!(versions(&conflict.unseen), [4]);
    log.assert_holds(4).await;
}

/// A guard is answered with the version that it saw, and no position.
pub async fn a_guard_appends_nothing(log: &Log) {
    log.have(&stream("rate"), 3).await;
    let batch = Batch::new([Write::new(stream("rate")).expect(exact(3))])
        .write(Write::new(stream("a")).events(fake::events(1)));
    let appended = log.must(batch).await;
    let seen = Written { version: Version::new(3), position: Position::START };
    assert_eq!(appended.writes[0], seen);
    assert_eq!(log.of(&stream("rate")).await.len(), 3);
}

/// A guard on a stream that does not exist does not make one.
pub async fn a_guard_on_a_stream_that_does_not_exist_makes_none(log: &Log) {
    let guard = || Write::new(stream("rate")).expect(Expected::NoStream);
    log.must(to(&stream("a"), 1).write(guard())).await;
    log.must(to(&stream("a"), 1).write(guard())).await;
    assert!(log.of(&stream("rate")).await.is_empty());
}

/// A batch without writes is refused.
pub async fn a_batch_without_writes_is_invalid(log: &Log) {
    let refusal = log.refused(Batch::new([])).await;
    assert!(matches!(refusal, es_core::AppendError::Invalid(InvalidBatch::Empty)), "{refusal:?}");
}

/// A batch that only guards is refused: there is nothing to guard.
pub async fn a_batch_of_guards_alone_is_invalid(log: &Log) {
    let refusal = log.refused(Batch::to(stream("a")).append_id(fake::append_id())).await;
    assert!(matches!(refusal, es_core::AppendError::Invalid(InvalidBatch::Empty)), "{refusal:?}");
}

/// An event is appended once in a batch.
pub async fn one_event_id_twice_in_a_batch_is_invalid(log: &Log) {
    let event = fake::event("thing.happened").build();
    let refusal = log.refused(Batch::to(stream("a")).events([event.clone(), event])).await;
    let invalid = matches!(refusal, es_core::AppendError::Invalid(InvalidBatch::EventTwice { .. }));
    assert!(invalid, "{refusal:?}");
    log.assert_holds(0).await;
}

/// Appends to different streams are not in each other's way.
pub async fn writers_of_different_streams_all_succeed(log: &Log) {
    let append = |n: usize| {
        let (store, stream) = (log.share(), stream(&n.to_string()));
        async move {
            for version in 0..5 {
                store.append(to(&stream, 2).expect(exact(version * 2))).await.expect("no conflict");
            }
        }
    };
    together((0..32).map(append)).await;
    let log = log.everything().await;
    assert_eq!(log.len(), 320);
    assert_in_order(&log);
}
