//! Conditions over the whole log, and reads of what matches.

use es_core::{
    AppendError, Batch, Criteria, EventStore, Expected, Position, Read, RecordedEvent, StreamId,
};

use super::scene::{Log, conflict, exact, name, overtaken, positions, stream, to, with};
use crate::{contract::run::together, fake};

fn seat(number: &str) -> Criteria {
    Criteria::tag(fake::tag("seat", number))
}

fn taking(stream: &StreamId, number: &str) -> Batch {
    with(stream, fake::event("seat.taken").tag("seat", number))
}

/// While nothing matches, an append goes through.
pub async fn a_condition_that_nothing_meets_lets_the_append_through(log: &Log) {
    log.must(taking(&stream("a"), "1a")).await;
    log.must(taking(&stream("b"), "1b").unless(seat("1b"), Position::START)).await;
}

/// Once something matches, an append is refused.
pub async fn a_condition_that_an_event_meets_stops_the_append(log: &Log) {
    let first = log.must(taking(&stream("a"), "1a")).await;
    let refusal = log.refused(taking(&stream("b"), "1a").unless(seat("1a"), Position::START)).await;
    assert_eq!(overtaken(refusal), first.position);
    log.assert_holds(1).await;
}

/// The refusal names the first event that matches.
pub async fn a_refusal_names_the_first_event_that_matches(log: &Log) {
    log.have(&stream("x"), 3).await;
    let first = log.must(taking(&stream("a"), "1a")).await;
    log.have(&stream("x"), 2).await;
    log.must(taking(&stream("b"), "1a")).await;
    let refusal = log.refused(taking(&stream("c"), "1a").unless(seat("1a"), Position::START)).await;
    assert_eq!(overtaken(refusal), first.position);
}

/// What the decision has seen does not stop it: at the position itself.
pub async fn a_condition_ignores_what_stands_at_its_position(log: &Log) {
    let seen = log.must(taking(&stream("a"), "1a")).await.position;
    log.must(taking(&stream("b"), "1a").unless(seat("1a"), seen)).await;
}

/// What came right after the position stops the append.
pub async fn a_condition_sees_what_stands_right_after_its_position(log: &Log) {
    let seen = log.have(&stream("x"), 1).await.position;
    let later = log.must(taking(&stream("a"), "1a")).await.position;
    let refusal = log.refused(taking(&stream("b"), "1a").unless(seat("1a"), seen)).await;
    assert_eq!(overtaken(refusal), later);
}

/// After the last position that can be, nothing is found (A29).
pub async fn a_condition_after_the_greatest_position_holds(log: &Log) {
    log.must(taking(&stream("a"), "1a")).await;
    log.must(taking(&stream("b"), "1a").unless(seat("1a"), Position::new(u64::MAX))).await;
}

/// Any of the types of an alternative will do.
pub async fn a_condition_on_types_asks_for_any_of_them(log: &Log) {
    log.must(with(&stream("a"), fake::event("two"))).await;
    let types = |types: &[&str]| Criteria::types(types.iter().map(|one| name(one)));
    log.must(to(&stream("b"), 1).unless(types(&["one", "three"]), Position::START)).await;
    let refusal = to(&stream("b"), 1).unless(types(&["one", "two"]), Position::START);
    overtaken(log.refused(refusal).await);
}

/// All tags of an alternative are asked for.
pub async fn a_condition_on_tags_asks_for_all_of_them(log: &Log) {
    log.must(taking(&stream("a"), "1a")).await;
    let both = || seat("1a").and(fake::tag("show", "7"));
    log.must(to(&stream("b"), 1).unless(both(), Position::START)).await;
    log.must(with(&stream("a"), fake::event("x").tag("show", "7").tag("seat", "1a"))).await;
    overtaken(log.refused(to(&stream("b"), 1).unless(both(), Position::START)).await);
}

/// Types and tags of an alternative hold together.
pub async fn a_condition_on_types_and_tags_asks_for_both(log: &Log) {
    log.must(with(&stream("a"), fake::event("seat.freed").tag("seat", "1a"))).await;
    log.must(with(&stream("a"), fake::event("seat.taken").tag("seat", "1b"))).await;
    let taken = || seat("1a").of_types([name("seat.taken")]);
    log.must(to(&stream("b"), 1).unless(taken(), Position::START)).await;
    log.must(taking(&stream("a"), "1a")).await;
    overtaken(log.refused(to(&stream("b"), 1).unless(taken(), Position::START)).await);
}

/// One alternative that matches is enough.
pub async fn a_condition_asks_for_any_of_its_alternatives(log: &Log) {
    log.must(taking(&stream("a"), "1b")).await;
    let either = seat("1a").or(Criteria::types([name("hall.closed")])).or(seat("1b"));
    overtaken(log.refused(to(&stream("b"), 1).unless(either, Position::START)).await);
    let neither = seat("1a").or(Criteria::types([name("hall.closed")])).or(seat("1c"));
    log.must(to(&stream("b"), 1).unless(neither, Position::START)).await;
}

/// The refusal names the first match over all alternatives.
pub async fn a_refusal_names_the_first_match_of_any_alternative(log: &Log) {
    let first = log.must(taking(&stream("a"), "1b")).await;
    log.must(taking(&stream("a"), "1a")).await;
    let either = seat("1a").or(seat("1b"));
    let refusal = log.refused(to(&stream("b"), 1).unless(either, Position::START)).await;
    assert_eq!(overtaken(refusal), first.position);
}

/// Every condition of a batch must hold.
pub async fn every_condition_must_hold(log: &Log) {
    log.must(taking(&stream("a"), "1b")).await;
    let batch = to(&stream("b"), 1).unless(seat("1a"), Position::START);
    log.must(batch.clone()).await;
    overtaken(log.refused(batch.unless(seat("1b"), Position::START)).await);
}

/// A batch is not in its own way.
pub async fn a_condition_does_not_see_the_batch_itself(log: &Log) {
    let batch = taking(&stream("a"), "1a").event(fake::event("x").tag("seat", "1a").build());
    log.must(batch.unless(seat("1a"), Position::START)).await;
}

/// A condition and an expected version must both hold.
pub async fn a_condition_and_an_expected_version_both_hold(log: &Log) {
    log.must(taking(&stream("a"), "1a")).await;
    let batch = |version| taking(&stream("a"), "1b").expect(exact(version));
    conflict(log.refused(batch(0).unless(seat("1b"), Position::START)).await);
    overtaken(log.refused(batch(1).unless(seat("1a"), Position::START)).await);
    log.must(batch(1).unless(seat("1b"), Position::START)).await;
}

/// A condition holds over streams of every category.
pub async fn a_condition_sees_every_stream(log: &Log) {
    for other in ["course-1", "student-2", "thing-a"] {
        let batch = taking(&fake::stream(other), other);
        log.must(batch).await;
        let refused = taking(&stream("z"), "x").unless(seat(other), Position::START);
        overtaken(log.refused(refused).await);
    }
}

/// Of many writers under one condition exactly one wins, round after round
/// (A10).
pub async fn of_64_writers_under_one_condition_exactly_one_wins(log: &Log) {
    for round in 0..5 {
        let number = round.to_string();
        let append = |n: usize| {
            let batch = taking(&stream(&n.to_string()), &number);
            let (store, batch) = (log.share(), batch.unless(seat(&number), Position::START));
            async move { store.append(batch).await }
        };
        let outcomes = together((0..64).map(append)).await;
        let lost = |one: &Result<_, _>| matches!(one, Err(AppendError::Overtaken { .. }));
        assert_eq!(outcomes.iter().filter(|one| one.is_ok()).count(), 1, "winners");
        assert_eq!(outcomes.iter().filter(|one| lost(one)).count(), 63, "losers");
    }
}

/// A read of criteria finds what any alternative asks for, each event once and
/// in the order of the log.
pub async fn a_read_of_criteria_finds_each_match_once_and_in_order(log: &Log) {
    for n in 0..40 {
        let event = fake::event(["seat.taken", "seat.freed"][n % 2]);
        let event = event.tag("seat", &(n % 4).to_string()).tag("row", &(n % 5).to_string());
        log.must(with(&stream(&(n % 3).to_string()), event)).await;
    }
    let criteria = seat("1").or(Criteria::tag(fake::tag("row", "1"))).or(seat("1"));
    let found = log.find(Read::matching(criteria.clone())).await;
    let all = log.everything().await;
    let due: Vec<RecordedEvent> = all.into_iter().filter(|one| criteria.matches(one)).collect();
    assert_eq!(positions(&found), positions(&due));
    assert_eq!(found, due);
}

/// A read of criteria with an alternative of types alone looks everywhere.
pub async fn a_read_of_criteria_without_tags_looks_everywhere(log: &Log) {
    for n in 0..30 {
        let event = fake::event(["one", "two", "three"][n % 3]).tag("n", &n.to_string());
        log.must(with(&stream(&(n % 4).to_string()), event)).await;
    }
    let criteria = Criteria::types([name("two")]).or(Criteria::tag(fake::tag("n", "3")));
    let found = log.find(Read::matching(criteria.clone())).await;
    assert_eq!(found.len(), 11);
    assert!(found.iter().all(|event| criteria.matches(event)));
}

/// Deciding over a query: read what matches, append unless something new does.
pub async fn a_decision_over_a_query_is_safe(log: &Log) {
    let seen = log.find(Read::matching(seat("1a"))).await;
    let after = seen.last().map_or(Position::START, |event| event.position);
    log.must(taking(&stream("a"), "1a").unless(seat("1a"), after)).await;
    let late = taking(&stream("b"), "1a").unless(seat("1a"), after).expect(Expected::Any);
    overtaken(log.refused(late).await);
}
