//! What was acknowledged is there when the store is opened again (A15).

use es_core::{Claim, Criteria, EventStoreExt, Metadata, Position, Read, Version, Write};

use super::scene::{
    Follower, Log, assert_in_order, conflict, exact, holder, overtaken, stream, to, versions, with,
};
use crate::fake;

/// What is promised is asked for at the start.
pub async fn a_store_promises_what_it_says(log: &Log) {
    let given = log.abilities().durability;
    assert!(log.require_durable(given).is_ok());
}

/// The abilities of a store do not change while it is open.
pub async fn the_abilities_of_a_store_do_not_change(log: &Log) {
    let before = log.abilities();
    log.have(&stream("a"), 1).await;
    assert_eq!(log.abilities(), before);
}

/// Every event is there, to the byte.
pub async fn events_are_there_after_a_reopening(log: &Log) {
    for n in 0..20 {
        let event = fake::event("x").tag("n", &n.to_string()).correlated("c").payload(vec![n; 9]);
        log.must(with(&stream(&(n % 3).to_string()), event)).await;
    }
    let before = log.everything().await;
    let log = log.reopen().await;
    assert_eq!(log.everything().await, before);
    assert_eq!(log.find(Read::all().correlated("c")).await, before);
    assert_eq!(log.find(Read::all().tag(fake::tag("n", "7"))).await.len(), 1);
}

/// An empty log is still empty.
pub async fn an_empty_log_is_empty_after_a_reopening(log: &Log) {
    let log = log.reopen().await;
    log.assert_holds(0).await;
    assert_eq!(log.have(&stream("a"), 1).await.version(), Version::new(1));
}

/// Versions go on where they were.
pub async fn versions_go_on_after_a_reopening(log: &Log) {
    log.have(&stream("a"), 3).await;
    let log = log.reopen().await;
    conflict(log.refused(to(&stream("a"), 1).expect(exact(2))).await);
    log.must(to(&stream("a"), 2).expect(exact(3))).await;
    assert_eq!(versions(&log.of(&stream("a")).await), [1, 2, 3, 4, 5]);
}

/// Positions go on above the last one, even after refused appends (A9).
pub async fn positions_go_on_after_a_reopening(log: &Log) {
    let mut last = Position::START;
    let mut log = log.reopen().await;
    for _ in 0..5 {
        let position = log.have(&stream("a"), 2).await.position;
        assert!(position > last);
        last = position;
        log.refused(to(&stream("a"), 1).expect(exact(0))).await;
        log = log.reopen().await;
    }
    assert_in_order(&log.everything().await);
}

/// Append ids are known (A12).
pub async fn append_ids_are_known_after_a_reopening(log: &Log) {
    let batch = to(&stream("a"), 2).expect(exact(0)).append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    log.have(&stream("a"), 1).await;
    let log = log.reopen().await;
    let again = log.must(batch).await;
    assert!(again.repeated);
    assert_eq!(again.writes, first.writes);
    log.assert_holds(3).await;
}

/// Claims are held by who took them, and free if they were released.
pub async fn claims_are_held_after_a_reopening(log: &Log) {
    let take = |key, id| Claim::take("name", key, stream(id)).expect("a claim");
    log.must(to(&stream("1"), 1).claim(take("ada", "1")).claim(take("bob", "1"))).await;
    let release = Claim::release("name", "bob", stream("1")).expect("a claim");
    log.must(to(&stream("1"), 1).claim(release)).await;
    let log = log.reopen().await;
    let refusal = log.refused(to(&stream("2"), 1).claim(take("ada", "2"))).await;
    assert_eq!(holder(refusal), stream("1"));
    log.must(to(&stream("2"), 1).claim(take("bob", "2"))).await;
}

/// Conditions see what was there before.
pub async fn conditions_see_what_was_before_a_reopening(log: &Log) {
    let first = log.must(with(&stream("a"), fake::event("x").tag("seat", "1a"))).await;
    let log = log.reopen().await;
    let seat = Criteria::tag(fake::tag("seat", "1a"));
    let refusal = log.refused(to(&stream("b"), 1).unless(seat, Position::START)).await;
    assert_eq!(overtaken(refusal), first.position);
}

/// Tenants are apart.
pub async fn tenants_are_apart_after_a_reopening(log: &Log) {
    let theirs = stream("a").of(fake::tenant("acme"));
    log.have(&stream("a"), 1).await;
    log.have(&theirs, 2).await;
    let log = log.reopen().await;
    assert_eq!((log.of(&stream("a")).await.len(), log.of(&theirs).await.len()), (1, 2));
}

/// A follower goes on from its checkpoint.
pub async fn a_follower_goes_on_after_a_reopening(log: &Log) {
    let middle = log.have(&stream("a"), 3).await.position;
    log.have(&stream("a"), 2).await;
    let log = log.reopen().await;
    let mut follower = Follower::new(&log.share(), Read::all().after(middle));
    let last = log.have(&stream("a"), 1).await.position;
    assert_eq!(versions(follower.until(last).await), [4, 5, 6]);
}

/// Metadata is there.
pub async fn metadata_is_there_after_a_reopening(log: &Log) {
    let metadata = Metadata::new().user_id("ada").with("region", "eu");
    log.must(with(&stream("a"), fake::event("x").metadata(metadata.clone()))).await;
    let log = log.reopen().await;
    assert_eq!(log.of(&stream("a")).await[0].metadata, metadata);
}

/// A store may be opened again and again.
pub async fn a_store_can_be_reopened_many_times(log: &Log) {
    let mut log = log.reopen().await;
    for round in 0..10 {
        log.must(to(&stream("a"), 1).expect(exact(round))).await;
        log = log.reopen().await;
    }
    assert_eq!(log.of(&stream("a")).await.len(), 10);
}

/// Batches over streams are there wholly.
pub async fn batches_are_whole_after_a_reopening(log: &Log) {
    for n in 0..10 {
        let other = Write::new(stream("b")).events(fake::events(n));
        log.must(to(&stream("a"), n + 1).write(other)).await;
    }
    let log = log.reopen().await;
    assert_eq!(log.of(&stream("a")).await.len(), 55);
    assert_eq!(log.of(&stream("b")).await.len(), 45);
}

/// What was appended right before the closing is there.
pub async fn the_last_append_before_a_closing_is_there(log: &Log) {
    let mut log = log.reopen().await;
    for count in 1..=5 {
        log.have(&stream("a"), 1).await;
        log = log.reopen().await;
        log.assert_holds(count).await;
    }
}
