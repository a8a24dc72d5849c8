//! A stream ends for ever.

use es_core::{
    AppendError, EventStore, EventStoreExt, Expected, StreamId, TOMBSTONED, Version, Write,
};

use super::scene::{Log, conflict, exact, stream, to, versions};
use crate::{contract::run::together, fake};

async fn entombed(log: &Log, id: &str, events: usize) -> StreamId {
    let it = stream(id);
    log.have(&it, events).await;
    log.tombstone(&it, Expected::Any).await.expect("a tombstone");
    it
}

fn is_gone<T>(answer: Result<T, AppendError>, it: &StreamId) -> bool {
    matches!(answer, Err(AppendError::Gone { stream }) if stream == *it)
}

/// Whatever is expected, with an append id or without, also once it was opened
/// by others.
pub async fn nothing_is_appended_to_a_tombstoned_stream(log: &Log) {
    let it = entombed(log, "1", 2).await;
    let beyond = Expected::Exact(Version::new(u64::MAX >> 1));
    let expectations =
        [Expected::Any, Expected::NoStream, Expected::Exists, exact(0), exact(2), exact(3), beyond];
    for expected in expectations {
        let one = to(&it, 1).expect(expected);
        let correlated = fake::event("thing.told").correlated("c").tag("a", "1").build();
        for batch in [one.clone(), to(&it, 2).expect(expected), one.clone().event(correlated)] {
            assert!(is_gone(log.append(batch.clone()).await, &it), "{expected:?}");
            let batch = batch.append_id(fake::append_id());
            assert!(is_gone(log.append(batch).await, &it), "{expected:?}");
        }
    }
    let left = log.of(&it).await;
    assert_eq!((versions(&left), &left[0].event_type), (vec![3], &TOMBSTONED));
    assert_eq!(log.version(&it).await.expect("a version"), Version::new(3));
}

/// Nothing of it is there, and its ids are not used up.
pub async fn a_tombstoned_stream_spoils_its_batch(log: &Log) {
    let it = entombed(log, "1", 1).await;
    let write = |stream: &StreamId, count| Write::new(stream.clone()).events(fake::events(count));
    let other = stream("2");
    let before = log.everything().await;
    let id = fake::append_id();
    let guard = write(&it, 0).expect(Expected::Any);
    for spoilt in [write(&it, 1), write(&it, 1).expect(exact(2)), guard] {
        let batch = to(&other, 1).write(spoilt).append_id(id);
        assert!(is_gone(log.append(batch).await, &it));
    }
    assert_eq!(log.everything().await, before);
    assert!(!log.must(to(&other, 1).append_id(id)).await.repeated);
}

/// Those that are carried out together with one that cannot be.
pub async fn the_others_of_a_group_go_through(log: &Log) {
    let it = entombed(log, "gone", 1).await;
    let appends = (0..200).map(|at| {
        let (store, it) = (log.store(), it.clone());
        async move {
            let into = if at % 7 == 0 { it.clone() } else { stream(&(at % 50).to_string()) };
            let expected = if at % 2 == 0 { Expected::Any } else { Expected::Exists };
            let expected = if into == it { expected } else { Expected::Any };
            let outcome = store.append(to(&into, 1).expect(expected)).await;
            (into == it, is_gone(outcome.as_ref().map(|_| ()).map_err(again), &it), outcome.is_ok())
        }
    });
    for (is_late, is_gone, is_done) in together(appends).await {
        assert_eq!((is_gone, is_done), (is_late, !is_late));
    }
    assert_eq!(log.everything().await.len(), 1 + 200 - 29);
}

fn again(error: &AppendError) -> AppendError {
    match error {
        AppendError::Gone { stream } => AppendError::Gone { stream: stream.clone() },
        other => panic!("it is gone, not {other:?}"),
    }
}

/// What was written once was written.
pub async fn a_retry_to_a_tombstoned_stream_has_its_first_answer(log: &Log) {
    let it = stream("1");
    let (one, several) =
        (to(&it, 1).append_id(fake::append_id()), to(&it, 3).append_id(fake::append_id()));
    let first = [log.must(one.clone()).await, log.must(several.clone()).await];
    log.tombstone(&it, exact(4)).await.expect("a tombstone");
    for (batch, first) in [one, several].into_iter().zip(first) {
        let again = log.must(batch).await;
        assert!(again.repeated);
        assert_eq!((again.writes, again.position), (first.writes, first.position));
    }
}

/// At its next version.
pub async fn a_deleted_stream_can_be_tombstoned(log: &Log) {
    let it = stream("1");
    log.have(&it, 2).await;
    log.end(&it).await;
    let refusal = log.tombstone(&it, exact(2)).await.expect_err("a conflict");
    assert_eq!(conflict(refusal).actual, Version::new(3));
    let tombstoned = log.tombstone(&it, exact(3)).await.expect("a tombstone");
    assert_eq!((tombstoned.version(), tombstoned.repeated), (Version::new(4), false));
    assert_eq!(versions(&log.of(&it).await), [4]);
    assert!(is_gone(log.append(to(&it, 1)).await, &it));
}

/// Whoever ends the stream again, in whatever way, is told of it.
pub async fn a_tombstone_is_the_end(log: &Log) {
    let it = stream("1");
    log.have(&it, 2).await;
    let first = log.tombstone(&it, Expected::Exists).await.expect("a tombstone");
    assert_eq!(log.cut(&it, 9).await, 0);
    for again in [log.tombstone(&it, exact(2)).await, log.delete(&it, Expected::Any).await] {
        let again = again.expect("the first answer");
        assert!(again.repeated);
        assert_eq!((again.writes, again.position), (first.writes.clone(), first.position));
    }
    let never = log.tombstone(&stream("2"), Expected::Any).await.expect_err("a conflict");
    assert_eq!(conflict(never).actual, Version::NONE);
}

/// For those who open the store later.
pub async fn a_tombstone_is_there_after_a_reopening(log: &Log) {
    let it = entombed(log, "1", 2).await;
    log.have(&stream("2"), 1).await;
    let log = log.reopen().await;
    for expected in [Expected::Any, exact(3)] {
        assert!(is_gone(log.append(to(&it, 1).expect(expected)).await, &it));
    }
    assert_eq!(log.must(to(&stream("2"), 1)).await.version(), Version::new(2));
}
