//! The same append id never makes a second copy.

use es_core::{
    AppendError, Appended, Batch, Claim, Criteria, EventStore, Expected, NewEvent, Position, Read,
    Version, Write,
};

use super::scene::{Log, conflict, exact, known, stream, to, with};
use crate::{contract::run::together, fake};

/// A retry that expects anything writes nothing (A12).
pub async fn a_retry_that_expects_anything_writes_nothing(log: &Log) {
    assert_once(log, Expected::Any, 0).await;
}

/// A retry that expects no stream is no conflict with itself (A13).
pub async fn a_retry_that_expects_no_stream_is_no_conflict(log: &Log) {
    assert_once(log, Expected::NoStream, 0).await;
}

/// A retry that expects a stream writes nothing (A12).
pub async fn a_retry_that_expects_a_stream_writes_nothing(log: &Log) {
    assert_once(log, Expected::Exists, 2).await;
}

/// A retry at an exact version is no conflict with its own success (A13).
pub async fn a_retry_at_an_exact_version_is_no_conflict(log: &Log) {
    assert_once(log, exact(2), 2).await;
}

async fn assert_once(log: &Log, expected: Expected, before: usize) {
    if before > 0 {
        log.have(&stream("a"), before).await;
    }
    let batch = to(&stream("a"), 2).expect(expected).append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    for _ in 0..3 {
        assert_eq!(log.must(batch.clone()).await, again(&first));
    }
    assert_eq!(log.of(&stream("a")).await.len(), before + 2);
}

fn again(first: &Appended) -> Appended {
    Appended { repeated: true, ..first.clone() }
}

/// A retry after the stream went on is still answered with its own place.
pub async fn a_retry_answers_with_the_first_place(log: &Log) {
    let batch = to(&stream("a"), 1).expect(exact(0)).append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    log.have(&stream("a"), 5).await;
    assert_eq!(log.must(batch).await, again(&first));
}

/// The id counts, not what comes with it.
pub async fn a_retry_with_other_events_answers_with_the_first_result(log: &Log) {
    let id = fake::append_id();
    let first = log.must(to(&stream("a"), 2).append_id(id)).await;
    assert_eq!(log.must(to(&stream("a"), 2).append_id(id)).await, again(&first));
    log.assert_holds(2).await;
}

/// An id is remembered for the life of the log, not for a while (A12).
pub async fn a_retry_after_thousands_of_other_appends_is_known(log: &Log) {
    let batch = to(&stream("a"), 1).append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    for n in 0..40 {
        let other = || Write::new(stream(&n.to_string())).append_id(fake::append_id());
        log.must(Batch::new((0..100).map(|_| other().events(fake::events(1))))).await;
    }
    assert_eq!(log.must(batch).await, again(&first));
}

/// A condition that the own event now meets is not in the way of a retry.
pub async fn a_retry_whose_condition_meets_its_own_event_is_known(log: &Log) {
    let seat = || Criteria::tag(fake::tag("seat", "1a"));
    let batch = with(&stream("a"), fake::event("seat.taken").tag("seat", "1a"))
        .unless(seat(), Position::START)
        .append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    assert_eq!(log.must(batch).await, again(&first));
}

/// A claim that another stream took since is not in the way of a retry.
pub async fn a_retry_whose_claim_was_passed_on_is_known(log: &Log) {
    let take = |id| Claim::take("seat", "1a", stream(id)).expect("a claim");
    let batch = to(&stream("a"), 1).claim(take("a")).append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    let release = Claim::release("seat", "1a", stream("a")).expect("a claim");
    log.must(to(&stream("b"), 1).claim(release).claim(take("b"))).await;
    assert_eq!(log.must(batch).await, again(&first));
    log.refused(to(&stream("c"), 1).claim(take("c"))).await;
}

/// A retry gets one answer for each write, as the first try did.
pub async fn a_retry_over_streams_answers_for_every_write(log: &Log) {
    let batch = to(&stream("a"), 2)
        .write(Write::new(stream("b")).events(fake::events(1)))
        .append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    assert_eq!(log.must(batch).await, again(&first));
}

/// A retry gets one answer for each write, guards among them.
pub async fn a_retry_with_a_guard_answers_for_every_write(log: &Log) {
    log.have(&stream("rate"), 2).await;
    let batch = to(&stream("a"), 1)
        .write(Write::new(stream("rate")).expect(exact(2)))
        .append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    log.have(&stream("rate"), 1).await;
    assert_eq!(log.must(batch).await, again(&first));
}

/// A retry gets one answer for each write, even of one stream.
pub async fn a_retry_of_two_writes_of_one_stream_answers_for_both(log: &Log) {
    let batch = to(&stream("a"), 2)
        .write(Write::new(stream("a")).events(fake::events(1)))
        .append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    assert_eq!(log.must(batch).await, again(&first));
}

fn append_of(events: impl IntoIterator<Item = NewEvent>) -> Write {
    Write::new(stream("a")).append_id(fake::append_id()).events(events)
}

/// Appends that were folded into one batch are each known by their own id.
pub async fn folded_appends_are_each_known_by_their_id(log: &Log) {
    let (one, two) = (append_of(fake::events(1)), append_of(fake::events(2)));
    let first = log.must(Batch::new([one.clone(), two.clone()])).await;
    let one = log.must(Batch::new([one])).await;
    let two = log.must(Batch::new([two])).await;
    assert!(one.repeated && two.repeated);
    assert_eq!([one.writes, two.writes].concat(), first.writes);
    log.assert_holds(3).await;
}

/// A folded batch whose ids are all known is a repetition.
pub async fn a_folded_batch_whose_ids_are_all_known_is_repeated(log: &Log) {
    let batch = Batch::new([append_of(fake::events(1)), append_of(fake::events(2))]);
    let first = log.must(batch.clone()).await;
    assert_eq!(log.must(batch).await, again(&first));
    log.assert_holds(3).await;
}

/// Appends that came one by one are known when they come again as one batch.
pub async fn single_appends_are_known_when_they_come_again_folded(log: &Log) {
    let (one, two) = (append_of(fake::events(1)), append_of(fake::events(2)));
    let first = log.must(Batch::new([one.clone()])).await;
    let second = log.must(Batch::new([two.clone()])).await;
    let both = log.must(Batch::new([one, two])).await;
    assert!(both.repeated);
    assert_eq!(both.writes, [first.writes, second.writes].concat());
}

/// If only some ids of a batch are known, it is refused, and says which.
pub async fn a_batch_whose_ids_are_partly_known_is_refused_with_those(log: &Log) {
    let (old, new) = (append_of(fake::events(2)), append_of(fake::events(1)));
    let first = log.must(Batch::new([old.clone()])).await;
    let known = known(log.refused(Batch::new([new, old.clone()])).await);
    let id = old.append_id.expect("an id");
    assert_eq!(known, [(id, again(&first))]);
    log.assert_holds(2).await;
}

/// Events without an id are never known, so a known append that comes again
/// beside them is told, and they are not lost in silence.
pub async fn events_without_an_id_beside_a_known_append_are_not_swallowed(log: &Log) {
    let old = append_of(fake::events(2));
    log.must(Batch::new([old.clone()])).await;
    let nameless = Write::new(stream("a")).events(fake::events(1));
    let known = known(log.refused(Batch::new([old.clone(), nameless])).await);
    assert_eq!(known.into_iter().map(|(id, _)| Some(id)).collect::<Vec<_>>(), [old.append_id]);
    log.assert_holds(2).await;
}

/// What was left of a partly known batch can be appended by itself.
pub async fn the_rest_of_a_partly_known_batch_can_be_appended(log: &Log) {
    let (old, new) = (append_of(fake::events(2)), append_of(fake::events(1)));
    log.must(Batch::new([old.clone()])).await;
    known(log.refused(Batch::new([old, new.clone()])).await);
    assert!(!log.must(Batch::new([new])).await.repeated);
    log.assert_holds(3).await;
}

/// Writes that share an id are one append, so they stand side by side.
pub async fn writes_that_share_an_id_around_another_are_invalid(log: &Log) {
    let (shared, other) = (fake::append_id(), fake::append_id());
    let write = |id| Write::new(stream("a")).append_id(id).events(fake::events(1));
    let around = log.refused(Batch::new([write(shared), write(other), write(shared)])).await;
    assert!(matches!(around, AppendError::Invalid(_)), "{around:?}");
    log.assert_holds(0).await;
    let beside = Batch::new([write(shared), write(shared), write(other)]);
    assert!(!log.must(beside.clone()).await.repeated, "a refused batch uses up no id");
    assert!(log.must(beside).await.repeated);
    assert_eq!(log.find(Read::append(shared)).await.len(), 2);
}

/// An append that lost may try again under the same id.
pub async fn a_conflict_does_not_use_up_the_id(log: &Log) {
    log.have(&stream("a"), 1).await;
    let id = fake::append_id();
    conflict(log.refused(to(&stream("a"), 1).expect(exact(0)).append_id(id)).await);
    let appended = log.must(to(&stream("a"), 1).expect(exact(1)).append_id(id)).await;
    assert!(!appended.repeated);
    assert_eq!(appended.version(), Version::new(2));
}

/// A batch that no store takes leaves its id free.
pub async fn an_invalid_batch_does_not_use_up_the_id(log: &Log) {
    let id = fake::append_id();
    let event = fake::event("$reserved").build();
    log.refused(Batch::to(stream("a")).event(event).append_id(id)).await;
    assert!(!log.must(to(&stream("a"), 1).append_id(id)).await.repeated);
}

/// Retries that run at once make one copy together.
pub async fn of_64_retries_at_once_one_writes(log: &Log) {
    let batch = to(&stream("a"), 3).append_id(fake::append_id());
    let tries = (0..64).map(|_| (log.share(), batch.clone()));
    let tries = tries.map(|(store, batch)| async move { store.append(batch).await });
    let done: Result<Vec<_>, AppendError> = together(tries).await.into_iter().collect();
    let done = done.expect("a retry succeeds");
    assert_eq!(done.iter().filter(|one| !one.repeated).count(), 1);
    assert!(done.iter().all(|one| one.writes == done[0].writes));
    log.assert_holds(3).await;
}

/// Without an id nothing protects a retry, and nothing is taken for one.
pub async fn appends_without_an_id_are_never_repetitions(log: &Log) {
    let event = fake::event("thing.happened").build();
    for _ in 0..2 {
        let again = NewEvent { id: fake::event_id(), ..event.clone() };
        assert!(!log.must(Batch::to(stream("a")).event(again)).await.repeated);
    }
    log.assert_holds(2).await;
}

/// Each event says which append wrote it.
pub async fn events_bear_the_id_of_their_append(log: &Log) {
    let (one, two) = (append_of(fake::events(2)), append_of(fake::events(1)));
    let ids = [one.append_id, one.append_id, two.append_id];
    log.must(Batch::new([one, two])).await;
    let found: Vec<_> = log.of(&stream("a")).await.iter().map(|event| event.append_id).collect();
    assert_eq!(found, ids);
}

/// Two ids are two appends, however much alike.
pub async fn another_id_is_another_append(log: &Log) {
    for _ in 0..2 {
        let batch = to(&stream("a"), 1).append_id(fake::append_id());
        assert!(!log.must(batch).await.repeated);
    }
    log.assert_holds(2).await;
}
