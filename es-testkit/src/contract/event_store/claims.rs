//! Unique values within a scope of one tenant.

use es_core::{AppendError, Batch, Claim, EventStore, StreamId, Write};

use super::scene::{Log, conflict, exact, holder, stream, to};
use crate::{contract::run::together, fake};

fn take(key: &str, id: &str) -> Claim {
    Claim::take("user-name", key, stream(id)).expect("a claim")
}

fn release(key: &str, id: &str) -> Claim {
    Claim::release("user-name", key, stream(id)).expect("a claim")
}

fn by(id: &str) -> Batch {
    to(&stream(id), 1)
}

async fn assert_held_by(log: &Log, key: &str, id: &str) {
    let refusal = log.refused(by("nosy").claim(take(key, "nosy"))).await;
    assert_eq!(holder(refusal), stream(id), "the holder of {key:?}");
}

/// Taking another stream's claim is refused, with the name of the holder.
pub async fn a_claim_is_refused_with_the_name_of_its_holder(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    match log.refused(by("2").claim(take("ada", "2"))).await {
        AppendError::Claimed { scope, key, holder } => {
            assert_eq!((scope.as_str(), key.as_str()), ("user-name", "ada"));
            assert_eq!(holder, stream("1"));
        }
        other => panic!("the claim is taken: {other:?}"),
    }
}

/// A refused claim leaves nothing of its batch.
pub async fn a_refused_claim_leaves_nothing_of_its_batch(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    log.refused(by("2").claim(take("bob", "2")).claim(take("ada", "2"))).await;
    log.assert_holds(1).await;
    log.must(by("3").claim(take("bob", "3"))).await;
}

/// A stream may take its own claim again.
pub async fn taking_ones_own_claim_again_changes_nothing(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    log.must(by("1").claim(take("ada", "1"))).await;
    assert_held_by(log, "ada", "1").await;
}

/// What was released can be taken.
pub async fn a_released_claim_can_be_taken(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    log.must(by("1").claim(release("ada", "1"))).await;
    log.must(by("2").claim(take("ada", "2"))).await;
    assert_held_by(log, "ada", "2").await;
}

/// Only the holder gives a claim up.
pub async fn releasing_anothers_claim_changes_nothing(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    log.must(by("2").claim(release("ada", "2"))).await;
    assert_held_by(log, "ada", "1").await;
}

/// What nobody holds can be released without harm.
pub async fn releasing_what_nobody_holds_changes_nothing(log: &Log) {
    log.must(by("1").claim(release("ada", "1"))).await;
    log.must(by("2").claim(take("ada", "2"))).await;
}

/// Release and take in one batch pass a claim on.
pub async fn release_and_take_in_one_batch_pass_a_claim_on(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    log.must(by("2").claim(release("ada", "1")).claim(take("ada", "2"))).await;
    assert_held_by(log, "ada", "2").await;
}

/// The order of release and take in one batch does not matter.
pub async fn take_and_release_in_one_batch_pass_a_claim_on(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    log.must(by("2").claim(take("ada", "2")).claim(release("ada", "1"))).await;
    assert_held_by(log, "ada", "2").await;
}

/// A claim is passed on by its holder only.
pub async fn a_claim_is_not_passed_on_by_a_stranger(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    log.refused(by("2").claim(release("ada", "3")).claim(take("ada", "2"))).await;
    assert_held_by(log, "ada", "1").await;
}

/// Two streams of one batch cannot both take a claim.
pub async fn two_streams_cannot_take_one_claim_in_one_batch(log: &Log) {
    let refusal = log.append(by("1").claim(take("ada", "1")).claim(take("ada", "2"))).await;
    assert!(refusal.is_err(), "two streams believe that they hold one claim");
    log.assert_holds(0).await;
}

/// A stream may take a claim twice in one batch.
pub async fn one_stream_may_take_a_claim_twice_in_one_batch(log: &Log) {
    log.must(by("1").claim(take("ada", "1")).claim(take("ada", "1"))).await;
    assert_held_by(log, "ada", "1").await;
}

/// Several claims are taken together or not at all.
pub async fn several_claims_are_taken_together_or_not_at_all(log: &Log) {
    log.must(by("1").claim(take("a", "1")).claim(take("b", "1"))).await;
    assert_held_by(log, "a", "1").await;
    assert_held_by(log, "b", "1").await;
    log.refused(by("2").claim(take("c", "2")).claim(take("b", "2"))).await;
    log.must(by("3").claim(take("c", "3"))).await;
}

/// An append that loses takes no claim.
pub async fn a_conflict_takes_no_claim(log: &Log) {
    log.have(&stream("1"), 1).await;
    conflict(log.refused(by("1").expect(exact(0)).claim(take("ada", "1"))).await);
    log.must(by("2").claim(take("ada", "2"))).await;
}

/// An append that loses releases no claim.
pub async fn a_conflict_releases_no_claim(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    conflict(log.refused(by("1").expect(exact(0)).claim(release("ada", "1"))).await);
    assert_held_by(log, "ada", "1").await;
}

/// The same key in another scope is another claim.
pub async fn scopes_are_apart(log: &Log) {
    log.must(by("1").claim(take("ada", "1"))).await;
    let other = Claim::take("mail", "ada", stream("2")).expect("a claim");
    log.must(by("2").claim(other)).await;
}

/// Scope and key do not run together.
pub async fn scope_and_key_do_not_run_together(log: &Log) {
    let take = |scope, key, id| Claim::take(scope, key, stream(id)).expect("a claim");
    log.must(by("1").claim(take("a", "b:c", "1"))).await;
    log.must(by("2").claim(take("a:b", "c", "2"))).await;
    log.must(by("3").claim(take("a-b", "c", "3"))).await;
    log.must(by("4").claim(take("a", "b-c", "4"))).await;
}

/// A batch may change claims and append nothing.
pub async fn a_batch_may_change_claims_alone(log: &Log) {
    log.must(Batch::to(stream("1")).claim(take("ada", "1"))).await;
    assert_held_by(log, "ada", "1").await;
    log.assert_holds(0).await;
}

/// A retry of claims alone is known by its id.
pub async fn a_retry_of_claims_alone_is_known(log: &Log) {
    let batch = Batch::to(stream("1")).claim(take("ada", "1")).append_id(fake::append_id());
    assert!(!log.must(batch.clone()).await.repeated);
    log.must(by("1").claim(release("ada", "1"))).await;
    assert!(log.must(batch).await.repeated);
    log.must(by("2").claim(take("ada", "2"))).await;
}

/// A stream may hold a claim in a batch that writes to another one.
pub async fn a_claim_may_belong_to_any_stream_of_the_batch(log: &Log) {
    let batch = by("1").write(Write::new(stream("2")).events(fake::events(1)));
    log.must(batch.claim(take("ada", "2"))).await;
    assert_held_by(log, "ada", "2").await;
}

/// Of many streams that take one claim exactly one gets it (A10).
pub async fn of_64_streams_that_take_one_claim_exactly_one_gets_it(log: &Log) {
    let append = |n: usize| {
        let id = n.to_string();
        let (store, batch) = (log.share(), by(&id).claim(take("ada", &id)));
        async move { (id, store.append(batch).await) }
    };
    let outcomes = together((0..64).map(append)).await;
    let winners: Vec<&String> =
        outcomes.iter().filter(|(_, one)| one.is_ok()).map(|(id, _)| id).collect();
    assert_eq!(winners.len(), 1);
    let won: StreamId = stream(winners[0]);
    let refused = outcomes.into_iter().filter_map(|(_, one)| one.err());
    assert!(refused.map(holder).all(|holder| holder == won));
}
