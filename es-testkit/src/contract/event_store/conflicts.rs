//! What a loser learns, so that it can decide again without a read.

use es_core::{EventStore, Expected, Version, Write, limits};

use super::scene::{Log, conflict, exact, stream, to, versions};
use crate::{contract::run::together, fake};

/// A conflict says which stream, and how far it is.
pub async fn a_conflict_names_the_stream_and_its_version(log: &Log) {
    log.have(&stream("a"), 5).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(exact(2))).await);
    assert_eq!((conflict.stream, conflict.actual), (stream("a"), Version::new(5)));
}

/// A conflict carries the events that the loser has not seen: no more, no
/// fewer, as a read would give them.
pub async fn a_conflict_returns_exactly_the_unseen_events(log: &Log) {
    log.have(&stream("a"), 3).await;
    log.have(&stream("b"), 2).await;
    log.have(&stream("a"), 4).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(exact(2))).await);
    assert_eq!(conflict.unseen, log.of(&stream("a")).await[2..]);
}

/// The unseen events lead to the actual version without a hole.
pub async fn unseen_events_lead_from_the_seen_version_without_a_hole(log: &Log) {
    log.have(&stream("a"), 9).await;
    for seen in 0..9 {
        let conflict = conflict(log.refused(to(&stream("a"), 1).expect(exact(seen))).await);
        assert!(conflict.is_complete_after(Version::new(seen)), "after version {seen}");
    }
}

/// Who expected no stream has seen nothing of it.
pub async fn a_conflict_with_no_stream_returns_the_whole_stream(log: &Log) {
    log.have(&stream("a"), 4).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(Expected::NoStream)).await);
    assert_eq!(conflict.unseen, log.of(&stream("a")).await);
}

/// Who is ahead of the stream has nothing to see.
pub async fn a_conflict_of_a_version_ahead_returns_nothing(log: &Log) {
    log.have(&stream("a"), 4).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(exact(5))).await);
    assert_eq!((conflict.actual, conflict.unseen), (Version::new(4), vec![]));
}

/// Who expected a stream that is not there has nothing to see.
pub async fn a_conflict_with_exists_returns_nothing(log: &Log) {
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(Expected::Exists)).await);
    assert_eq!((conflict.actual, conflict.unseen), (Version::NONE, vec![]));
}

/// A conflict is bounded: up to [`limits::CONFLICT_EVENTS`] it is whole.
pub async fn a_conflict_returns_as_many_events_as_the_bound(log: &Log) {
    log.have(&stream("a"), 1).await;
    log.have(&stream("a"), limits::CONFLICT_EVENTS).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(exact(1))).await);
    assert_eq!(conflict.unseen.len(), limits::CONFLICT_EVENTS);
    assert!(conflict.is_complete_after(Version::new(1)));
}

/// A conflict is bounded: above [`limits::CONFLICT_EVENTS`] it is empty, never
/// a part.
pub async fn a_conflict_with_more_events_than_the_bound_returns_none(log: &Log) {
    log.have(&stream("a"), 2).await;
    log.have(&stream("a"), limits::CONFLICT_EVENTS).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(exact(1))).await);
    assert_eq!(conflict.actual.get(), limits::CONFLICT_EVENTS as u64 + 2);
    assert!(conflict.unseen.is_empty());
}

/// Deciding again on what the conflict told succeeds.
pub async fn who_decides_again_on_a_conflict_succeeds(log: &Log) {
    log.have(&stream("a"), 3).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(exact(1))).await);
    let again = to(&stream("a"), 1).expect(Expected::Exact(conflict.actual));
    assert_eq!(log.must(again).await.version(), Version::new(4));
}

/// The stream in the way is named, not the first of the batch.
pub async fn a_conflict_in_a_batch_names_the_stream_that_moved(log: &Log) {
    log.have(&stream("b"), 2).await;
    let moved = Write::new(stream("b")).expect(exact(1)).events(fake::events(1));
    let conflict = conflict(log.refused(to(&stream("a"), 1).write(moved)).await);
    assert_eq!((conflict.stream, versions(&conflict.unseen)), (stream("b"), vec![2]));
}

/// The events of the refused batch are not among the unseen ones, and not in
/// the version.
pub async fn a_conflict_does_not_count_the_refused_events(log: &Log) {
    log.have(&stream("a"), 1).await;
    let later = Write::new(stream("a")).expect(exact(1)).events(fake::events(1));
    let conflict = conflict(log.refused(to(&stream("a"), 2).expect(exact(1)).write(later)).await);
    assert_eq!((conflict.actual, conflict.unseen), (Version::new(1), vec![]));
}

/// One caller's conflict does not hurt another's append, even when a store
/// writes both at once.
pub async fn a_conflict_does_not_hurt_the_appends_beside_it(log: &Log) {
    log.have(&stream("old"), 1).await;
    let append = |n: usize| {
        let store = log.share();
        let batch = match n % 2 {
            0 => to(&stream(&n.to_string()), 1),
            _ => to(&stream("old"), 1).expect(Expected::NoStream),
        };
        async move { (n.is_multiple_of(2), store.append(batch).await.is_ok()) }
    };
    let outcomes = together((0..64).map(append)).await;
    assert!(outcomes.iter().all(|(due, done)| due == done), "{outcomes:?}");
    log.assert_holds(33).await;
}
