//! What one tenant does changes no answer to another.

use es_core::{
    Batch, Claim, Criteria, EventStoreExt, Expected, InvalidBatch, Position, Read, RecordedEvent,
    StreamId, Version, Write,
};

use super::scene::{Follower, Log, category, conflict, exact, name, stream, to, versions, with};
use crate::fake;

/// The stream of the same name of tenant `acme`.
fn theirs(id: &str) -> StreamId {
    stream(id).of(fake::tenant("acme"))
}

/// One name, two tenants, two streams.
pub async fn two_tenants_may_use_one_stream_name(log: &Log) {
    log.have(&stream("a"), 3).await;
    log.must(to(&theirs("a"), 2).expect(Expected::NoStream)).await;
    assert_eq!(versions(&log.of(&stream("a")).await), [1, 2, 3]);
    assert_eq!(versions(&log.of(&theirs("a")).await), [1, 2]);
    assert!(log.of(&theirs("a")).await.iter().all(|event| event.stream == theirs("a")));
}

/// The version that one tenant sees is its own.
pub async fn the_versions_of_two_tenants_are_apart(log: &Log) {
    log.have(&theirs("a"), 5).await;
    log.must(to(&stream("a"), 1).expect(exact(0))).await;
    conflict(log.refused(to(&stream("a"), 1).expect(exact(5))).await);
    assert_eq!(log.version(&theirs("a")).await.expect("a version"), Version::new(5));
}

/// The unseen events of a conflict are the tenant's own.
pub async fn a_conflict_shows_nothing_of_another_tenant(log: &Log) {
    log.have(&stream("a"), 2).await;
    log.have(&theirs("a"), 4).await;
    let conflict = conflict(log.refused(to(&stream("a"), 1).expect(exact(0))).await);
    assert_eq!(conflict.unseen, log.of(&stream("a")).await);
}

/// A claim is unique within its tenant.
pub async fn the_claims_of_two_tenants_are_apart(log: &Log) {
    let take = |stream: &StreamId| Claim::take("name", "ada", stream.clone()).expect("a claim");
    log.must(to(&stream("1"), 1).claim(take(&stream("1")))).await;
    log.must(to(&theirs("2"), 1).claim(take(&theirs("2")))).await;
    let release = Claim::release("name", "ada", theirs("1")).expect("a claim");
    log.must(to(&theirs("1"), 1).claim(release)).await;
    log.refused(to(&stream("3"), 1).claim(take(&stream("3")))).await;
    log.refused(to(&theirs("3"), 1).claim(take(&theirs("3")))).await;
}

/// An append id is known within its tenant.
pub async fn the_append_ids_of_two_tenants_are_apart(log: &Log) {
    let id = fake::append_id();
    log.must(to(&stream("a"), 1).append_id(id)).await;
    let second = log.must(to(&theirs("a"), 2).append_id(id)).await;
    assert!(!second.repeated);
    assert!(log.must(to(&theirs("a"), 2).append_id(id)).await.repeated);
    assert_eq!(log.find(Read::append(id)).await.len(), 1);
    assert_eq!(log.find(Read::append(id).of(fake::tenant("acme"))).await.len(), 2);
}

/// A condition sees only the tenant of its batch.
pub async fn a_condition_sees_only_its_tenant(log: &Log) {
    let taken = || fake::event("seat.taken").tag("seat", "1a");
    let free = || Criteria::tag(fake::tag("seat", "1a"));
    let types = || Criteria::types([name("seat.taken")]);
    log.must(with(&theirs("a"), taken())).await;
    let batch = with(&stream("a"), taken());
    log.must(batch.unless(free(), Position::START).unless(types(), Position::START)).await;
    log.refused(with(&stream("b"), taken()).unless(free(), Position::START)).await;
    log.refused(with(&theirs("b"), taken()).unless(types(), Position::START)).await;
}

/// Everything that one tenant may ask for, in each way of asking.
fn questions() -> Vec<Read> {
    let tag = fake::tag("colour", "red");
    vec![
        Read::all(),
        Read::all().backwards(),
        Read::all().backwards().limit(2),
        Read::stream(&stream("a")),
        category("thing"),
        category("thing").backwards().limit(3),
        Read::all().types([name("thing.happened")]),
        Read::all().tag(tag.clone()),
        Read::all().correlated("order-7"),
        category("thing").tag(tag).correlated("order-7"),
    ]
}

fn coloured(stream: &StreamId) -> Batch {
    let event = || fake::event("thing.happened").tag("colour", "red").correlated("order-7");
    with(stream, event()).event(event().build())
}

/// No way of asking shows one tenant's events to another.
pub async fn no_read_shows_the_events_of_another_tenant(log: &Log) {
    for id in ["a", "b"] {
        log.must(coloured(&theirs(id))).await;
        log.must(coloured(&stream(id))).await;
    }
    for read in questions() {
        let found = log.find(read.clone()).await;
        assert!(!found.is_empty());
        assert!(found.iter().all(|one| *one.stream.tenant() == Default::default()), "{read:?}");
    }
    assert_eq!(log.find(Read::all().of(fake::tenant("acme"))).await.len(), 4);
    assert_eq!(log.find(Read::all().every_tenant()).await.len(), 8);
}

/// A read of criteria shows nothing of another tenant.
pub async fn a_read_of_criteria_shows_nothing_of_another_tenant(log: &Log) {
    log.must(coloured(&theirs("a"))).await;
    log.must(coloured(&stream("a"))).await;
    let criteria = || Criteria::tag(fake::tag("colour", "red"));
    let either = || Criteria::types([name("thing.happened")]).or(criteria());
    for criteria in [criteria(), either()] {
        assert_eq!(log.find(Read::matching(criteria.clone())).await.len(), 2);
        let theirs = Read::matching(criteria.clone()).of(fake::tenant("acme"));
        assert_eq!(log.find(theirs).await.len(), 2);
        assert_eq!(log.find(Read::matching(criteria).every_tenant()).await.len(), 4);
    }
}

/// Who asks for every tenant gets every tenant, in one order.
pub async fn every_tenant_can_be_read_in_one_order(log: &Log) {
    for n in 0..12 {
        let tenant = fake::tenant(["acme", "beta", "gamma"][n % 3]);
        log.have(&stream("a").of(tenant), 1).await;
    }
    let all = log.find(Read::all().every_tenant()).await;
    assert_eq!(all.len(), 12);
    super::scene::assert_in_order(&all);
    assert_eq!(log.find(category("thing").every_tenant()).await, all);
}

/// A follower of one tenant is offered nothing of another, and its checkpoint
/// moves past them.
pub async fn a_follower_is_offered_only_its_tenant(log: &Log) {
    let mut follower = Follower::new(&log.share(), Read::all().of(fake::tenant("acme")));
    let mut all = Follower::new(&log.share(), Read::all().every_tenant());
    for _ in 0..10 {
        log.have(&theirs("a"), 1).await;
        log.have(&stream("a"), 1).await;
    }
    let head = log.head().await.expect("a head");
    let seen = follower.past(head).await;
    assert_eq!(seen.len(), 10);
    assert!(seen.iter().all(|event| *event.stream.tenant() == fake::tenant("acme")));
    assert_eq!(all.until(head).await.len(), 20);
}

/// A batch belongs to one tenant.
pub async fn a_batch_of_two_tenants_is_invalid(log: &Log) {
    let batch = to(&stream("a"), 1).write(Write::new(theirs("a")).events(fake::events(1)));
    let refusal = log.refused(batch).await;
    let invalid = matches!(refusal, es_core::AppendError::Invalid(InvalidBatch::SeveralTenants));
    assert!(invalid, "{refusal:?}");
    log.assert_holds(0).await;
}

/// Tenants are compared byte by byte.
pub async fn tenants_that_look_alike_are_apart(log: &Log) {
    let names = ["acme", "Acme", "acme ", "acme%", "ac_e", "caf\u{e9}", "cafe\u{301}"];
    for (n, name) in names.iter().enumerate() {
        log.have(&stream("a").of(fake::tenant(name)), n + 1).await;
    }
    for (n, name) in names.iter().enumerate() {
        let found = log.find(Read::all().of(fake::tenant(name))).await;
        assert_eq!(found.len(), n + 1, "of {name:?}");
    }
}

/// Non-interference: the answers to one tenant are the same to the byte,
/// whether another one has an empty log or a full one.
pub async fn the_answers_to_one_tenant_do_not_depend_on_another(log: &Log) {
    let alone = log.another().await;
    let script: Vec<_> = ["a", "b", "a"].iter().map(|id| coloured(&stream(id))).collect();
    for batch in script {
        log.must(coloured(&theirs("a"))).await;
        log.must(batch.clone()).await;
        log.must(coloured(&theirs("b")).append_id(fake::append_id())).await;
        alone.must(batch).await;
    }
    for read in questions() {
        let (beside, alone) = (log.find(read.clone()).await, alone.find(read.clone()).await);
        assert_eq!(told(beside), told(alone), "{read:?}");
    }
}

/// What a tenant can see of an event. Its position and the moment are left
/// out: the log has one order for all tenants.
fn told(events: Vec<RecordedEvent>) -> Vec<String> {
    let told = |mut event: RecordedEvent| {
        (event.position, event.recorded_at) = Default::default();
        format!("{event:?}")
    };
    events.into_iter().map(told).collect()
}
