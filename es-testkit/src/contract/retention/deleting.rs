//! A stream ends, and may begin again.

use es_core::{
    AppendError, Claim, ContentType, DELETED, EventStoreExt, Expected, InvalidBatch, Read,
    Snapshot, TOMBSTONED, TRUNCATED, Version,
};

use super::scene::{Log, conflict, exact, next, stream, to, versions};
use crate::fake;

/// At the next version and a new position.
pub async fn only_the_marker_remains(log: &Log) {
    let it = stream("1");
    log.have(&it, 3).await;
    log.have(&stream("2"), 1).await;
    let deleted = log.delete(&it, exact(3)).await.expect("a deletion");
    let left = log.of(&it).await;
    assert_eq!((left.len(), &left[0].event_type), (1, &DELETED));
    assert_eq!((deleted.version(), deleted.repeated), (Version::new(4), false));
    assert_eq!((left[0].version, left[0].position), (Version::new(4), deleted.position));
    assert_eq!(log.head().await.expect("an end"), deleted.position);
    assert_eq!(log.find(Read::all().types([DELETED])).await, left);
    assert_eq!(log.everything().await.len(), 2);
}

/// Whoever says that it exists, or at which version, or nothing.
pub async fn a_deleted_stream_goes_on_with_the_next_version(log: &Log) {
    for (at, expected) in [Expected::Any, Expected::Exists, exact(3)].into_iter().enumerate() {
        let it = stream(&at.to_string());
        log.have(&it, 2).await;
        log.end(&it).await;
        assert_eq!(log.version(&it).await.expect("a version"), Version::new(3));
        let appended = log.must(to(&it, 2).expect(expected)).await;
        assert_eq!(appended.version(), Version::new(5));
        assert_eq!(versions(&log.of(&it).await), [3, 4, 5]);
    }
}

/// It is for one that never was.
pub async fn a_stream_that_was_is_not_no_stream(log: &Log) {
    let it = stream("1");
    log.have(&it, 2).await;
    log.end(&it).await;
    let refusal = log.append(to(&it, 1).expect(Expected::NoStream)).await;
    let conflict = conflict(refusal.expect_err("a conflict"));
    assert_eq!((conflict.actual, versions(&conflict.unseen)), (Version::new(3), vec![3]));
}

/// It removes nothing then, and tells what was not seen.
pub async fn a_deletion_at_another_version_conflicts(log: &Log) {
    let it = stream("1");
    log.have(&it, 4).await;
    for (expected, unseen) in
        [(exact(2), vec![3, 4]), (exact(9), vec![]), (Expected::NoStream, vec![1, 2, 3, 4])]
    {
        let refusal = log.delete(&it, expected).await.expect_err("a conflict");
        let conflict = conflict(refusal);
        assert_eq!((conflict.actual, versions(&conflict.unseen)), (Version::new(4), unseen));
    }
    assert_eq!(versions(&log.of(&it).await), [1, 2, 3, 4]);
}

/// Whatever is expected: there is nothing to delete.
pub async fn a_stream_that_never_was_cannot_be_deleted(log: &Log) {
    let it = stream("1");
    for expected in [Expected::Any, Expected::NoStream, Expected::Exists, exact(0), exact(1)] {
        let refusal = log.delete(&it, expected).await.expect_err("a conflict");
        let conflict = conflict(refusal);
        assert_eq!((conflict.stream, conflict.actual), (it.clone(), Version::NONE));
        assert!(conflict.unseen.is_empty());
    }
    assert!(log.everything().await.is_empty());
}

/// So that whoever missed the answer may ask again.
pub async fn a_deletion_again_answers_with_the_first(log: &Log) {
    let it = stream("1");
    log.have(&it, 2).await;
    let first = log.end(&it).await;
    for expected in [Expected::Any, Expected::Exists, exact(2), exact(3)] {
        let again = log.delete(&it, expected).await.expect("the first answer");
        assert!(again.repeated);
        assert_eq!((again.writes, again.position), (first.writes.clone(), first.position));
    }
    assert_eq!(log.everything().await.len(), 1);
}

/// What came after the first deletion goes, and its marker.
pub async fn a_reopened_stream_can_be_deleted_again(log: &Log) {
    let it = stream("1");
    log.have(&it, 2).await;
    log.end(&it).await;
    log.have(&it, 3).await;
    assert_eq!(log.cut(&it, 5).await, 2);
    assert!(!log.delete(&it, exact(6)).await.expect("a deletion").repeated);
    assert_eq!(versions(&log.of(&it).await), [7]);
}

/// So that a state from before is not gone on with.
pub async fn a_conflict_with_a_deletion_begins_with_its_marker(log: &Log) {
    let it = stream("1");
    log.have(&it, 4).await;
    log.end(&it).await;
    log.have(&it, 1).await;
    for seen in [0, 2, 4] {
        let refusal = log.append(to(&it, 1).expect(exact(seen))).await;
        let conflict = conflict(refusal.expect_err("a conflict"));
        assert_eq!((conflict.actual, versions(&conflict.unseen)), (Version::new(6), vec![5, 6]));
        assert!(conflict.is_complete_after(Version::new(seen)));
    }
}

/// Who else holds one keeps it.
pub async fn a_deletion_frees_the_claims_of_its_stream_alone(log: &Log) {
    let (it, other) = (stream("1"), stream("2"));
    let theirs = it.clone().of(fake::tenant("acme"));
    let take = |key: &str, holder| Claim::take("name", key, holder).expect("a claim");
    log.must(to(&it, 1).claim(take("a", it.clone())).claim(take("b", it.clone()))).await;
    log.must(to(&other, 1).claim(take("c", other.clone()))).await;
    log.must(to(&theirs, 1).claim(take("a", theirs.clone()))).await;
    log.end(&it).await;
    let third = stream("3");
    log.must(to(&third, 1).claim(take("a", third.clone())).claim(take("b", third.clone()))).await;
    let held = log.append(to(&third, 1).claim(take("c", third.clone()))).await;
    assert!(matches!(held, Err(AppendError::Claimed { holder, .. }) if holder == other));
    let rival = third.of(fake::tenant("acme"));
    let held = log.append(to(&rival, 1).claim(take("a", rival.clone()))).await;
    assert!(matches!(held, Err(AppendError::Claimed { holder, .. }) if holder == theirs));
}

/// If the store keeps any.
pub async fn a_deletion_removes_the_snapshot_of_its_stream_alone(log: &Log) {
    let Some(snapshots) = &log.snapshots else { return };
    let it = stream("1");
    let streams = [it.clone(), stream("2"), it.clone().of(fake::tenant("acme"))];
    for one in &streams {
        log.have(one, 2).await;
        let snapshot = Snapshot::new(Version::new(2), 1, ContentType::JSON, "{}");
        snapshots.save(one, snapshot).await.expect("a place for a snapshot");
    }
    log.end(&it).await;
    let mut kept = Vec::new();
    for one in &streams {
        kept.push(snapshots.load(one).await.expect("a load").is_some());
    }
    assert_eq!(kept, [false, true, true]);
}

/// Behind, at and ahead of it, each as far as it has come.
pub async fn followers_are_told_of_a_deletion_in_order(log: &Log) {
    let (it, other) = (stream("1"), stream("2"));
    log.have(&it, 3).await;
    let mut ahead = log.follow(Read::all());
    assert_eq!(next(&mut ahead, 3).await.len(), 3);
    let mut behind = log.follow(Read::all());
    log.have(&other, 1).await;
    let deleted = log.end(&it).await;
    let mut at = log.follow(Read::all().after(deleted.position));
    let mut named = log.follow(Read::all().types([DELETED, TOMBSTONED, TRUNCATED]));
    log.have(&it, 1).await;
    assert_eq!(versions(&next(&mut ahead, 3).await), [1, 4, 5]);
    assert_eq!(versions(&next(&mut behind, 3).await), [1, 4, 5]);
    assert_eq!(versions(&next(&mut at, 1).await), [5]);
    assert_eq!(versions(&next(&mut named, 1).await), [4]);
}

/// Before and after something new has begun there.
pub async fn a_retry_of_what_is_deleted_has_its_first_answer(log: &Log) {
    let it = stream("1");
    let batches: Vec<_> = [1, 3, 1].map(|count| to(&it, count).append_id(fake::append_id())).into();
    let mut first = Vec::new();
    for batch in &batches {
        first.push(log.must(batch.clone()).await);
    }
    log.end(&it).await;
    for round in 0..2 {
        for (batch, first) in batches.iter().zip(&first) {
            let again = log.must(batch.clone()).await;
            assert!(again.repeated);
            assert_eq!((again.writes, again.position), (first.writes.clone(), first.position));
        }
        log.have(&it, 1).await;
        assert_eq!(log.of(&it).await.len(), 2 + round);
    }
}

/// They are the store's.
pub async fn a_marker_cannot_be_appended(log: &Log) {
    for name in ["gesta.deleted", "gesta.tombstoned", "gesta.truncated", "gesta.anything"] {
        let forged = to(&stream("1"), 0).event(fake::event(name).build());
        let refusal = log.append(forged).await.expect_err("a refusal");
        let AppendError::Invalid(InvalidBatch::ReservedType { event_type }) = refusal else {
            panic!("it is reserved: {refusal:?}");
        };
        assert_eq!(event_type, name);
    }
    log.must(to(&stream("1"), 0).event(fake::event("gestation.begun").build())).await;
}

/// A stream of the same name goes on.
pub async fn other_tenants_are_not_deleted(log: &Log) {
    let it = stream("1");
    let theirs = it.clone().of(fake::tenant("acme"));
    log.have(&it, 2).await;
    log.have(&theirs, 2).await;
    log.tombstone(&theirs, Expected::Any).await.expect("a tombstone");
    assert_eq!(versions(&log.of(&it).await), [1, 2]);
    assert_eq!(log.must(to(&it, 1).expect(exact(2))).await.version(), Version::new(3));
}

/// And so are its claims and its answers.
pub async fn what_was_deleted_is_so_after_a_reopening(log: &Log) {
    let it = stream("1");
    let batch = to(&it, 2).append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    let deleted = log.end(&it).await;
    let log = log.reopen().await;
    assert_eq!(versions(&log.of(&it).await), [3]);
    assert_eq!(log.end(&it).await.position, deleted.position);
    assert_eq!(log.must(batch).await.writes, first.writes);
    assert_eq!(log.must(to(&it, 1).expect(exact(3))).await.version(), Version::new(4));
}
