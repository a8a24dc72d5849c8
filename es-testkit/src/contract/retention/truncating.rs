//! The beginning of a stream is removed.

use es_core::{
    AppendError, Criteria, EventStoreExt, Metadata, Position, Read, StreamId, TRUNCATED, Version,
    Write,
};
use futures_util::TryStreamExt;

use super::scene::{Log, exact, next, stream, to, versions};
use crate::fake;

/// It has the version, the position and the time of the event, and nothing else
/// of it.
pub async fn a_marker_stands_where_the_last_removed_event_stood(log: &Log) {
    let it = stream("1");
    let event = || fake::event("thing.told").tag("secret", "1").correlated("c").payload("[1]");
    for _ in 0..6 {
        let batch = to(&it, 0).event(event().build()).append_id(fake::append_id());
        log.must(batch).await;
    }
    let before = log.of(&it).await;
    assert_eq!(log.cut(&it, 4).await, 3);
    let after = log.of(&it).await;
    let (marker, old) = (&after[0], &before[2]);
    assert_eq!(after[1..], before[3..]);
    assert_eq!((marker.version, marker.position), (old.version, old.position));
    assert_eq!((&marker.stream, marker.recorded_at), (&it, old.recorded_at));
    assert_eq!((&marker.event_type, &marker.payload[..]), (&TRUNCATED, b"{}".as_slice()));
    assert_eq!((&marker.metadata, marker.append_id), (&Metadata::new(), None));
    assert!(marker.tags.is_empty() && marker.id != old.id);
}

/// However far a truncation goes.
pub async fn the_last_event_always_remains(log: &Log) {
    let it = stream("1");
    log.have(&it, 1).await;
    assert_eq!(log.cut(&it, u64::MAX).await, 0);
    log.have(&it, 2).await;
    assert_eq!(log.cut(&it, 4).await, 2);
    assert_eq!(versions(&log.of(&it).await), [2, 3]);
    assert_eq!(log.cut(&it, u64::MAX).await, 0);
    assert_eq!(log.cut(&it, 0).await, 0);
}

/// There is one marker, and the one before it does not count as removed.
pub async fn a_truncation_further_on_moves_the_marker(log: &Log) {
    let it = stream("1");
    log.have(&it, 9).await;
    assert_eq!(log.cut(&it, 3).await, 2);
    assert_eq!(log.cut(&it, 8).await, 5);
    let left = log.of(&it).await;
    assert_eq!(versions(&left), [7, 8, 9]);
    assert_eq!(left.iter().filter(|event| event.is_truncated()).count(), 1);
}

/// Not even the marker's id.
pub async fn a_truncation_to_where_it_is_changes_nothing(log: &Log) {
    let it = stream("1");
    log.have(&it, 9).await;
    log.cut(&it, 5).await;
    let before = log.of(&it).await;
    for version in 0..6 {
        assert_eq!(log.cut(&it, version).await, 0);
    }
    assert_eq!(log.of(&it).await, before);
}

/// And does not begin to be.
pub async fn a_stream_that_never_was_has_nothing_to_remove(log: &Log) {
    assert_eq!(log.cut(&stream("1"), 5).await, 0);
    assert!(log.everything().await.is_empty());
    log.must(to(&stream("1"), 1).expect(es_core::Expected::NoStream)).await;
}

/// The end of the stream and of the log are where they were.
pub async fn versions_go_on_after_a_truncation(log: &Log) {
    let it = stream("1");
    log.have(&it, 5).await;
    let head = log.head().await.expect("an end");
    log.cut(&it, 5).await;
    assert_eq!(log.head().await.expect("an end"), head);
    assert_eq!(log.version(&it).await.expect("a version"), Version::new(5));
    let refusal = log.append(to(&it, 1).expect(exact(1))).await.expect_err("a conflict");
    assert!(
        matches!(refusal, AppendError::Conflict(conflict) if versions(&conflict.unseen) == [4, 5])
    );
    let appended = log.must(to(&it, 1).expect(exact(5))).await;
    assert_eq!(
        (appended.version(), appended.position),
        (Version::new(6), Position::new(head.get() + 1))
    );
    assert_eq!(versions(&log.find(Read::stream(&it).after_version(Version::new(4))).await), [5, 6]);
    assert_eq!(versions(&log.find(Read::stream(&it).backwards().limit(3)).await), [6, 5, 4]);
}

/// By no tag, no correlation, no type, and not as part of their append.
pub async fn what_is_removed_is_found_by_nothing(log: &Log) {
    let it = stream("1");
    let correlations = ["c", "caf\u{e9} \"1\"", "nul \0 \\u0000"];
    let appends: Vec<_> = correlations.iter().map(|_| fake::append_id()).collect();
    for (correlation, append) in correlations.iter().zip(&appends) {
        let event = fake::event("thing.told").tag("a", "1").tag("b", "2").correlated(correlation);
        log.must(to(&it, 0).event(event.build()).append_id(*append)).await;
    }
    log.have(&it, 1).await;
    assert_eq!(log.cut(&it, 4).await, 3);
    for read in correlations.map(|id| Read::all().correlated(id)) {
        assert_eq!(log.find(read).await, []);
    }
    for read in appends.into_iter().map(Read::append) {
        assert_eq!(log.find(read).await, []);
    }
    assert_eq!(log.find(Read::all().tag(fake::tag("b", "2"))).await, []);
    let told = fake::event("thing.told").build().event_type;
    assert_eq!(log.find(Read::all().types([told])).await, []);
}

/// And by nothing that names other types.
pub async fn a_marker_is_found_by_its_type(log: &Log) {
    let (it, other) = (stream("1"), stream("2"));
    log.must(to(&it, 600)).await;
    log.must(to(&other, 600)).await;
    log.cut(&it, 300).await;
    let of_type = Read::all().types([TRUNCATED]);
    for read in [
        of_type.clone(),
        of_type.clone().backwards(),
        Read::category("thing").expect("a category").types([TRUNCATED]),
    ] {
        let found = log.find(read).await;
        assert_eq!((versions(&found), &found[0].stream), (vec![299], &it));
    }
    assert_eq!(log.find(Read::category("thing").expect("a category")).await.len(), 902);
    let happened = fake::event("thing.happened").build().event_type;
    assert_eq!(log.find(Read::all().types([happened])).await.len(), 901);
}

/// The decision that it protects sees it neither.
pub async fn a_condition_does_not_see_what_is_removed(log: &Log) {
    let it = stream("1");
    log.must(to(&it, 0).event(fake::event("thing.told").tag("a", "1").build())).await;
    log.have(&it, 1).await;
    let told = fake::event("thing.told").build().event_type;
    let conditions = [Criteria::tag(fake::tag("a", "1")), Criteria::types([told])];
    for condition in conditions.clone() {
        let batch = to(&stream("2"), 1).unless(condition, Position::START);
        assert!(matches!(log.append(batch).await, Err(AppendError::Overtaken { .. })));
    }
    log.cut(&it, 2).await;
    for condition in conditions {
        log.must(to(&stream("2"), 1).unless(condition, Position::START)).await;
    }
}

/// At each of its events.
pub async fn a_batch_may_be_cut_anywhere(log: &Log) {
    for before in 1..=10 {
        let it = stream(&before.to_string());
        log.must(to(&it, 4)).await;
        log.must(to(&it, 6)).await;
        let all = log.of(&it).await;
        log.cut(&it, before).await;
        let kept = usize::try_from(before).expect("a small number") - 1;
        let left = log.find(Read::stream(&it).after_version(Version::new(before - 1))).await;
        assert_eq!(left, all[kept..]);
        log.must(to(&it, 2).expect(exact(10))).await;
        assert_eq!(log.of(&it).await.len(), 12 - kept.saturating_sub(1));
    }
}

/// Page by page, if need be.
pub async fn a_long_stream_of_many_writes_is_cut(log: &Log) {
    let it = stream("1");
    for _ in 0..3 {
        let writes = (0..500).map(|_| Write::new(it.clone()).events(fake::events(2)));
        log.must(es_core::Batch::new(writes)).await;
        log.must(to(&stream("2"), 100)).await;
    }
    assert_eq!(log.cut(&it, 2_900).await, 2_899);
    assert_eq!(versions(&log.of(&it).await), (2_899..=3_000).collect::<Vec<_>>());
    assert_eq!(log.of(&stream("2")).await.len(), 300);
}

/// Also once the marker has gone on, and of whole writes of several events.
pub async fn a_retry_of_what_is_removed_has_its_first_answer(log: &Log) {
    let it = stream("1");
    let batches: Vec<_> =
        [1, 3, 1, 2].map(|count| to(&it, count).append_id(fake::append_id())).into();
    let mut first = Vec::new();
    for batch in &batches {
        first.push(log.must(batch.clone()).await);
    }
    log.have(&it, 1).await;
    for before in 2..=8 {
        log.cut(&it, before).await;
        for (batch, first) in batches.iter().zip(&first) {
            let again = log.must(batch.clone()).await;
            assert!(again.repeated, "cut before {before}");
            assert_eq!((&again.writes, again.position), (&first.writes, first.position));
        }
    }
    assert_eq!(versions(&log.of(&it).await), [7, 8]);
}

/// For each of its writes.
pub async fn a_retry_over_streams_of_what_is_removed_has_its_first_answer(log: &Log) {
    let (one, two) = (stream("1"), stream("2"));
    let batch = to(&one, 2).write(Write::new(two.clone()).events(fake::events(2)));
    let batch = batch.append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    log.have(&one, 1).await;
    log.cut(&one, 3).await;
    log.have(&two, 3).await;
    log.cut(&two, 5).await;
    assert_eq!(log.must(batch).await.writes, first.writes);
    assert_eq!(versions(&log.of(&one).await), [2, 3]);
}

/// Those of the same name too.
pub async fn other_streams_and_tenants_keep_what_they_have(log: &Log) {
    let it = stream("1");
    let theirs = it.clone().of(fake::tenant("acme"));
    let others = [stream("10"), stream("1 "), theirs];
    for stream in others.iter().chain([&it]) {
        let tagged = fake::event("thing.told").tag("a", "1").correlated("c").build();
        log.must(to(stream, 3).event(tagged)).await;
    }
    let all = log.everything().await;
    log.cut(&it, 4).await;
    let kept: Vec<_> = all.into_iter().filter(|event| event.stream != it).collect();
    let left: Vec<_> = log.everything().await.into_iter().filter(|one| one.stream != it).collect();
    assert_eq!(left, kept);
    let theirs = Read::all().every_tenant();
    assert_eq!(log.find(theirs.clone().tag(fake::tag("a", "1"))).await.len(), 4);
    assert_eq!(log.find(theirs.correlated("c")).await.len(), 4);
}

/// It comes to the marker, and to all behind it.
pub async fn a_read_under_way_skips_nothing_that_remains(log: &Log) {
    let it = stream("1");
    for _ in 0..4 {
        log.must(to(&it, 1_000)).await;
    }
    for read in [Read::stream(&it), Read::all(), Read::category("thing").expect("a category")] {
        let mut pages = log.read(read);
        let first = pages.try_next().await.expect("a page").expect("the first");
        log.cut(&it, 3_500).await;
        let mut seen = versions(&first.events);
        while let Some(page) = pages.try_next().await.expect("a read does not fail") {
            seen.extend(versions(&page.events));
        }
        assert!(seen.is_sorted_by(|one, next| one < next));
        assert!(seen.ends_with(&(3_499..=4_000).collect::<Vec<_>>()));
    }
}

/// Whether it is behind the truncation or ahead of it.
pub async fn a_follower_sees_what_remains_and_nothing_twice(log: &Log) {
    let it = stream("1");
    log.have(&it, 5).await;
    let mut ahead = log.follow(Read::all());
    assert_eq!(next(&mut ahead, 5).await.len(), 5);
    let mut behind = log.follow(Read::all());
    log.cut(&it, 4).await;
    log.have(&it, 1).await;
    assert_eq!(versions(&next(&mut ahead, 1).await), [6]);
    assert_eq!(versions(&next(&mut behind, 4).await), [3, 4, 5, 6]);
}

/// Its answers too.
pub async fn a_cut_stream_is_the_same_after_a_reopening(log: &Log) {
    let it = stream("1");
    let batch = to(&it, 1).append_id(fake::append_id());
    let first = log.must(batch.clone()).await;
    log.have(&it, 5).await;
    log.cut(&it, 4).await;
    let left = log.of(&it).await;
    let log = log.reopen().await;
    assert_eq!(log.of(&it).await, left);
    assert_eq!(log.must(batch).await.writes, first.writes);
    assert_eq!(log.must(to(&it, 1).expect(exact(6))).await.version(), Version::new(7));
}

/// Names that a database has other plans with.
pub async fn streams_of_any_name_are_cut(log: &Log) {
    const NAMES: [&str; 8] =
        ["thing-'; DROP", "a\"b-1", "c\\d-e", "%-_", "{schema}-$$", "\u{e9}-\u{1f600}", "-", "a--"];
    let streams = NAMES.iter().filter_map(|name| StreamId::parse(name).ok());
    let streams: Vec<_> = streams.collect();
    assert!(streams.len() >= 6);
    for one in &streams {
        log.have(one, 3).await;
    }
    for one in &streams {
        assert_eq!(log.cut(one, 3).await, 2);
        log.end(one).await;
    }
    assert_eq!(log.everything().await.len(), streams.len());
}
