//! The checker of histories notices a violation of each of its rules.

use es_core::{
    AppendError, Appended, Batch, Conflict, Expected, Position, RecordedEvent, StoreError,
    StoreErrorKind, Version, Written,
};
use es_testkit::{
    fake,
    history::{History, Rule, Ticket, digest},
};

/// A log of three events, and the batch that wrote them.
fn written() -> (Batch, Vec<RecordedEvent>) {
    let events = fake::events(3);
    let batch = Batch::to(fake::stream("a-1")).expect(Expected::NoStream).events(events.clone());
    let log = (1..).zip(events).map(|(n, event)| {
        let mut recorded = fake::event("thing.happened").recorded("a-1", n, n);
        recorded.id = event.id;
        recorded
    });
    (batch, log.collect())
}

fn answer(version: u64, position: u64) -> Result<Appended, AppendError> {
    let (version, position) = (Version::new(version), Position::new(position));
    Ok(Appended { writes: vec![Written { version, position }], position, repeated: false })
}

fn refusal() -> Result<Appended, AppendError> {
    let stream = fake::stream("a-1");
    let conflict = Conflict { stream, actual: Version::NONE, unseen: vec![] };
    Err(AppendError::Conflict(Box::new(conflict)))
}

fn unknown() -> Result<Appended, AppendError> {
    Err(StoreError::new(StoreErrorKind::Unknown, "the answer was lost").into())
}

fn invoked(batch: &Batch) -> (History, Ticket) {
    let history = History::new();
    let ticket = history.invoke(batch);
    (history, ticket)
}

fn broken(history: &History, log: &[RecordedEvent]) -> Vec<Rule> {
    let mut rules: Vec<_> = history.check(log).into_iter().map(|one| one.rule).collect();
    rules.dedup();
    rules
}

#[test]
fn a_sound_history_breaks_no_rule() {
    let (batch, log) = written();
    let (history, ticket) = invoked(&batch);
    history.ended(ticket, &answer(3, 3));
    history.read(history.now(), &log);
    history.restarted("f", Position::START);
    log.iter().for_each(|event| history.offered("f", event));
    history.restarted("f", Position::new(1));
    history.offered("f", &log[1]);
    history.folded("p", Position::new(2), digest(log[..2].iter().map(|event| event.id)));
    history.effect("mail-1");
    assert_eq!(history.check(&log), []);
}

#[test]
fn rule_1_notices_an_acknowledged_event_that_is_gone() {
    let (batch, log) = written();
    let (history, ticket) = invoked(&batch);
    history.ended(ticket, &answer(3, 3));
    assert_eq!(broken(&history, &log[..2]), [Rule::Acknowledged]);
}

#[test]
fn rule_1_notices_another_place_than_the_one_returned() {
    let (batch, log) = written();
    let (history, ticket) = invoked(&batch);
    history.ended(ticket, &answer(4, 3));
    assert_eq!(broken(&history, &log), [Rule::Acknowledged]);
}

#[test]
fn rule_2_notices_a_refused_event_that_is_there() {
    let (batch, log) = written();
    let (history, ticket) = invoked(&batch);
    history.ended(ticket, &refusal());
    assert_eq!(broken(&history, &log), [Rule::Refused]);
}

#[test]
fn rule_3_notices_an_unknown_append_that_is_there_in_part() {
    let (batch, log) = written();
    let (history, ticket) = invoked(&batch);
    history.ended(ticket, &unknown());
    assert_eq!(broken(&history, &log), []);
    assert_eq!(broken(&history, &[]), []);
    assert_eq!(broken(&history, &log[..2]), [Rule::Unknown]);
}

#[test]
fn rule_3_notices_an_unknown_append_that_comes_late() {
    let (batch, log) = written();
    let (history, ticket) = invoked(&batch);
    history.ended(ticket, &unknown());
    history.read(history.now(), &[]);
    assert!(broken(&history, &log).contains(&Rule::Unknown));
}

#[test]
fn rule_4_notices_a_hole_in_a_stream() {
    let (_, mut log) = written();
    log.remove(1);
    assert_eq!(broken(&History::new(), &log), [Rule::Dense]);
}

#[test]
fn rule_4_notices_positions_out_of_order() {
    let (_, mut log) = written();
    log[2].position = Position::new(2);
    assert_eq!(broken(&History::new(), &log), [Rule::Dense]);
}

#[test]
fn rule_5_notices_an_expectation_that_did_not_hold() {
    let (mut batch, log) = written();
    batch.writes[0].expected = Expected::Exact(Version::new(1));
    let (history, ticket) = invoked(&batch);
    history.ended(ticket, &answer(3, 3));
    assert_eq!(broken(&history, &log), [Rule::Expected]);
}

#[test]
fn rule_6_notices_an_append_that_stands_before_an_earlier_one() {
    let (_, log) = written();
    let history = History::new();
    for at in [1, 0, 2] {
        let mut batch = Batch::to(fake::stream("a-1")).events(fake::events(1));
        batch.writes[0].events[0].id = log[at].id;
        let ticket = history.invoke(&batch);
        history.ended(ticket, &answer(at as u64 + 1, at as u64 + 1));
    }
    assert_eq!(broken(&history, &log), [Rule::RealTime]);
}

#[test]
fn rule_7_notices_a_read_with_a_hole() {
    let (_, log) = written();
    let history = History::new();
    history.read(history.now(), &log[1..]);
    assert_eq!(broken(&history, &log), [Rule::Prefix]);
}

#[test]
fn rule_7_notices_a_read_that_misses_what_was_acknowledged() {
    let (batch, log) = written();
    let (history, ticket) = invoked(&batch);
    history.ended(ticket, &answer(3, 3));
    history.read(history.now(), &log[..2]);
    assert_eq!(broken(&history, &log), [Rule::Prefix]);
}

#[test]
fn rule_7_notices_a_read_of_what_is_yet_to_begin() {
    let (batch, log) = written();
    let history = History::new();
    history.read(history.now(), &log);
    let ticket = history.invoke(&batch);
    history.ended(ticket, &answer(3, 3));
    assert_eq!(broken(&history, &log), [Rule::Prefix]);
}

#[test]
fn rule_8_notices_a_follower_that_skips() {
    let (_, log) = written();
    let history = History::new();
    history.restarted("f", Position::START);
    history.offered("f", &log[0]);
    history.offered("f", &log[2]);
    assert_eq!(broken(&history, &log), [Rule::Offered]);
}

#[test]
fn rule_8_notices_a_follower_that_is_offered_an_event_twice() {
    let (_, log) = written();
    let history = History::new();
    history.restarted("f", Position::START);
    history.offered("f", &log[0]);
    history.offered("f", &log[0]);
    assert_eq!(broken(&history, &log), [Rule::Offered]);
}

#[test]
fn rule_8_notices_a_restart_past_what_was_not_offered() {
    let (_, log) = written();
    let history = History::new();
    history.restarted("f", Position::START);
    history.offered("f", &log[0]);
    history.restarted("f", Position::new(2));
    assert_eq!(broken(&history, &log), [Rule::Offered]);
}

#[test]
fn rule_9_notices_a_projection_that_is_no_fold() {
    let (_, log) = written();
    let history = History::new();
    let reversed = digest(log.iter().rev().map(|event| event.id));
    history.folded("p", Position::new(3), reversed);
    assert_eq!(broken(&history, &log), [Rule::Fold]);
}

#[test]
fn rule_10_notices_an_effect_that_happened_twice() {
    let history = History::new();
    history.effect("mail-7");
    history.effect("mail-8");
    history.effect("mail-7");
    assert_eq!(broken(&history, &[]), [Rule::Effect]);
}
