//! What a read finds, in which order.

use chrono::TimeDelta;
use es_core::{AppendId, EventStoreExt, Metadata, Position, Read, RecordedEvent, Version};

use super::scene::{Log, category, name, positions, reversed, stream, to, versions, with};
use crate::{SeededRandom, fake};

/// Writes events of several streams, types, tags and correlations.
async fn assorted(log: &Log, count: usize) -> Vec<RecordedEvent> {
    for n in 0..count {
        let category = ["account", "accounting", "order"][n % 3];
        let event = fake::event(["opened", "closed", "moved", "opened.late"][n % 4])
            .tag("colour", ["red", "green"][n % 2])
            .tag("size", ["s", "m", "l"][n % 3])
            .correlated(["one", "two", "one-two"][n % 3]);
        log.must(with(&fake::stream(&format!("{category}-{}", n % 4)), event)).await;
    }
    log.everything().await
}

async fn assert_finds(log: &Log, read: Read, wanted: impl Fn(&RecordedEvent) -> bool) {
    let all = log.everything().await;
    let due: Vec<_> = all.into_iter().filter(|event| wanted(event)).collect();
    assert!(!due.is_empty(), "a read that would find nothing proves nothing");
    assert_eq!(log.find(read.clone()).await, due);
    assert_eq!(log.find(read.backwards()).await, reversed(due), "the same backwards");
}

/// An empty log has nothing to read.
pub async fn an_empty_log_has_no_events(log: &Log) {
    assert!(log.find(Read::all()).await.is_empty());
    assert!(log.find(Read::all().backwards()).await.is_empty());
    assert_eq!(log.head().await.expect("a head"), Position::START);
}

/// A stream that was never written is empty, and no failure.
pub async fn a_stream_that_does_not_exist_is_empty(log: &Log) {
    log.have(&stream("a"), 1).await;
    assert!(log.of(&stream("b")).await.is_empty());
    assert_eq!(log.version(&stream("b")).await.expect("a version"), Version::NONE);
}

/// The whole log, in its order.
pub async fn the_whole_log_can_be_read(log: &Log) {
    assert_eq!(assorted(log, 24).await.len(), 24);
    assert_finds(log, Read::all(), |_| true).await;
}

/// One stream, and no other of its category.
pub async fn one_stream_can_be_read(log: &Log) {
    assorted(log, 24).await;
    let one = fake::stream("account-0");
    assert_finds(log, Read::stream(&one), |event| event.stream == one).await;
}

/// One category, and none that begins with the same letters.
pub async fn one_category_can_be_read(log: &Log) {
    assorted(log, 24).await;
    assert_finds(log, category("account"), |event| event.stream.category() == "account").await;
}

/// A category that was never written is empty, and no failure.
pub async fn a_category_that_does_not_exist_is_empty(log: &Log) {
    assorted(log, 6).await;
    assert!(log.find(category("acc")).await.is_empty());
    assert!(log.find(category("0")).await.is_empty());
}

/// One type, and none that begins with the same letters.
pub async fn one_type_can_be_read(log: &Log) {
    assorted(log, 24).await;
    let read = Read::all().types([name("opened")]);
    assert_finds(log, read, |event| event.event_type == "opened").await;
}

/// Any of several types.
pub async fn several_types_can_be_read(log: &Log) {
    assorted(log, 24).await;
    let read = Read::all().types([name("opened"), name("moved"), name("never")]);
    assert_finds(log, read, |event| event.event_type.len() < 7 && event.event_type != "closed")
        .await;
}

/// A type that was never written is empty, and no failure.
pub async fn a_type_that_does_not_exist_is_empty(log: &Log) {
    assorted(log, 6).await;
    assert!(log.find(Read::all().types([name("open")])).await.is_empty());
}

/// The events that bear a tag.
pub async fn one_tag_can_be_read(log: &Log) {
    assorted(log, 24).await;
    let red = fake::tag("colour", "red");
    let read = Read::all().tag(red.clone());
    assert_finds(log, read, |event| event.tags.contains(&red)).await;
}

/// The events that bear all of several tags.
pub async fn all_of_several_tags_can_be_read(log: &Log) {
    assorted(log, 24).await;
    let both = [fake::tag("colour", "red"), fake::tag("size", "m")];
    let read = both.iter().cloned().fold(Read::all(), Read::tag);
    assert_finds(log, read, |event| both.iter().all(|tag| event.tags.contains(tag))).await;
}

/// A tag that was never written is empty, and no failure.
pub async fn a_tag_that_does_not_exist_is_empty(log: &Log) {
    assorted(log, 6).await;
    assert!(log.find(Read::all().tag(fake::tag("colour", "re"))).await.is_empty());
}

/// What belongs to one correlation id.
pub async fn one_correlation_can_be_read(log: &Log) {
    assorted(log, 24).await;
    let of_one =
        |event: &RecordedEvent| event.metadata.fields().correlation_id.as_deref() == Some("one");
    assert_finds(log, Read::all().correlated("one"), of_one).await;
}

/// A correlation id of nobody is empty, and no failure.
pub async fn a_correlation_that_does_not_exist_is_empty(log: &Log) {
    assorted(log, 6).await;
    log.must(with(&stream("a"), fake::event("x").metadata(Metadata::new()))).await;
    assert!(log.find(Read::all().correlated("on")).await.is_empty());
    assert!(log.find(Read::all().correlated("")).await.is_empty());
}

/// A filter narrows a stream.
pub async fn a_filter_narrows_a_stream(log: &Log) {
    assorted(log, 48).await;
    let one = fake::stream("account-0");
    let read = Read::stream(&one).types([name("opened")]).tag(fake::tag("colour", "red"));
    assert_finds(log, read, |event| event.stream == one && event.event_type == "opened").await;
}

/// Filters of every kind narrow a category together.
pub async fn filters_narrow_a_category_together(log: &Log) {
    assorted(log, 48).await;
    let red = fake::tag("colour", "red");
    let read = category("account").types([name("opened")]).tag(red).correlated("one");
    let wanted = |event: &RecordedEvent| {
        event.stream.category() == "account" && event.event_type == "opened"
    };
    assert_finds(log, read, wanted).await;
}

/// What was recorded in a span of time: from its start, before its end.
pub async fn a_span_of_time_can_be_read(log: &Log) {
    for _ in 0..9 {
        log.have(&stream("a"), 1).await;
        log.move_clock(TimeDelta::seconds(1));
    }
    let all = log.everything().await;
    let (since, until) = (all[3].recorded_at, all[6].recorded_at);
    assert!(since < until, "time passes from one append to the next");
    assert_finds(log, Read::all().since(since), |event| event.recorded_at >= since).await;
    assert_finds(log, Read::all().until(until), |event| event.recorded_at < until).await;
    let span = Read::all().since(since).until(until);
    assert_finds(log, span, |one| one.recorded_at >= since && one.recorded_at < until).await;
}

/// Order is by position, whatever the clock does (B22).
pub async fn a_clock_that_goes_back_does_not_change_the_order(log: &Log) {
    for hours in [0, -1, 30 * 24, -60 * 24] {
        log.move_clock(TimeDelta::hours(hours));
        log.have(&stream("a"), 1).await;
    }
    assert_eq!(versions(&log.everything().await), [1, 2, 3, 4]);
}

/// What one append wrote, over all its streams.
pub async fn what_one_append_wrote_can_be_read(log: &Log) {
    let (one, two) = (fake::append_id(), fake::append_id());
    log.must(to(&stream("a"), 2).append_id(one)).await;
    log.must(to(&stream("a"), 3).append_id(two)).await;
    log.have(&stream("b"), 2).await;
    assert_finds(log, Read::append(two), |event| event.append_id == Some(two)).await;
}

/// An append id that was never used wrote nothing.
pub async fn an_append_that_never_happened_wrote_nothing(log: &Log) {
    log.must(to(&stream("a"), 2).append_id(fake::append_id())).await;
    assert!(log.find(Read::append(fake::append_id())).await.is_empty());
}

/// An event that was appended without an id belongs to no append.
pub async fn events_without_an_append_id_belong_to_no_append(log: &Log) {
    log.have(&stream("a"), 2).await;
    assert!(log.find(Read::append(AppendId::default())).await.is_empty());
}

/// What stands after a position: the position itself is left out.
pub async fn a_read_begins_after_its_position(log: &Log) {
    let all = assorted(log, 12).await;
    let after = all[4].position;
    assert_finds(log, Read::all().after(after), |event| event.position > after).await;
}

/// What stands up to a position: the position itself is there.
pub async fn a_read_ends_at_its_upper_bound(log: &Log) {
    let all = assorted(log, 12).await;
    let end = all[4].position;
    assert_finds(log, Read::all().up_to(end), |event| event.position <= end).await;
}

/// A window of positions, in every scope.
pub async fn a_window_narrows_every_scope(log: &Log) {
    let all = assorted(log, 48).await;
    let (after, end) = (all[9].position, all[40].position);
    let inside = |event: &RecordedEvent| event.position > after && event.position <= end;
    let one = fake::stream("account-0");
    let scopes = [Read::all(), category("account"), Read::stream(&one)];
    for read in scopes {
        let window = read.clone().after(after).up_to(end);
        assert_finds(log, window, |event| inside(event) && read.accepts(event)).await;
    }
}

/// Beyond the end, and above the greatest position, there is nothing (A29).
pub async fn after_the_end_there_is_nothing(log: &Log) {
    let head = log.have(&stream("a"), 3).await.position;
    for after in [head.get(), head.get() + 1, i64::MAX as u64, u64::MAX] {
        let after = Position::new(after);
        assert!(log.find(Read::all().after(after)).await.is_empty());
        assert!(log.find(Read::stream(&stream("a")).after(after)).await.is_empty());
        assert!(log.find(Read::all().after(after).backwards()).await.is_empty());
    }
    let whole = Read::all().up_to(Position::new(u64::MAX));
    assert_eq!(log.find(whole).await.len(), 3);
}

/// The end of a stream, by version: the version itself is left out.
pub async fn a_stream_can_be_read_after_a_version(log: &Log) {
    for _ in 0..6 {
        log.have(&stream("a"), 1).await;
        log.have(&stream("b"), 2).await;
    }
    let read = Read::stream(&stream("a")).after_version(Version::new(2));
    assert_eq!(versions(&log.find(read.clone()).await), [3, 4, 5, 6]);
    assert_eq!(versions(&log.find(read.backwards().limit(2)).await), [6, 5]);
    let end = Read::stream(&stream("a")).after_version(Version::new(u64::MAX));
    assert!(log.find(end).await.is_empty());
}

/// Backwards is the same, newest first.
pub async fn backwards_is_the_reverse_of_forwards(log: &Log) {
    assorted(log, 24).await;
    let scopes = [Read::all(), category("order"), Read::stream(&fake::stream("account-0"))];
    for read in scopes {
        let forwards = log.find(read.clone()).await;
        assert_eq!(log.find(read.backwards()).await, reversed(forwards));
    }
}

/// A limit is the number of events that match, not of those looked at.
pub async fn a_limit_counts_the_events_that_match(log: &Log) {
    assorted(log, 48).await;
    let read = category("order").types([name("moved")]);
    let all = log.find(read.clone()).await;
    assert_eq!(log.find(read.clone().limit(2)).await, all[..2]);
    assert_eq!(log.find(read.limit(1_000)).await, all);
}

/// A limit backwards gives the newest events.
pub async fn a_limit_backwards_gives_the_newest(log: &Log) {
    log.have(&stream("a"), 9).await;
    log.have(&stream("b"), 9).await;
    let last = log.find(Read::stream(&stream("a")).backwards().limit(3)).await;
    assert_eq!(versions(&last), [9, 8, 7]);
    let last = log.find(Read::all().backwards().limit(3)).await;
    let all = reversed(log.everything().await);
    assert_eq!(last, all[..3]);
}

/// Who asks for nothing gets nothing.
pub async fn a_limit_of_none_finds_nothing(log: &Log) {
    log.have(&stream("a"), 3).await;
    for read in [Read::all(), Read::stream(&stream("a")), category("thing")] {
        assert!(log.find(read.clone().limit(0)).await.is_empty());
        assert!(log.find(read.limit(0).backwards()).await.is_empty());
    }
}

/// Two reads of the same are the same, to the byte.
pub async fn a_read_again_is_the_same(log: &Log) {
    let first = assorted(log, 24).await;
    assert_eq!(log.everything().await, first);
    log.have(&stream("a"), 3).await;
    assert_eq!(log.everything().await[..24], first);
}

/// Whatever one asks for, a read is a filter of the log: random requests
/// against [`Read::accepts`].
pub async fn every_read_is_a_filter_of_the_log(log: &Log) {
    let all = assorted(log, 120).await;
    let random = SeededRandom::new(0x5eed);
    for round in 0..300 {
        let read = random_read(&random, &all);
        let mut due: Vec<_> = all.iter().filter(|event| read.accepts(event)).cloned().collect();
        if read.direction == es_core::Direction::Backwards {
            due.reverse();
        }
        let limit = read.limit.and_then(|limit| usize::try_from(limit).ok());
        due.truncate(limit.unwrap_or(usize::MAX));
        let found = log.find(read.clone()).await;
        assert_eq!(positions(&found), positions(&due), "round {round}: {read:?}");
        assert_eq!(found, due);
    }
}

fn random_read(random: &SeededRandom, all: &[RecordedEvent]) -> Read {
    let some = random.one_of(all);
    let mut read = match random.below(4) {
        0 => Read::stream(&some.stream),
        1 => category(some.stream.category()),
        _ => Read::all(),
    };
    let asks: Vec<bool> = (0..8).map(|_| random.below(3) == 0).collect();
    if asks[0] {
        read = read.types([some.event_type.clone(), random.one_of(all).event_type.clone()]);
    }
    if asks[1] {
        read = read.tag(random.one_of(all).tags[0].clone());
    }
    if asks[2] {
        read = read.correlated(*random.one_of(&["one", "two", "one-two", "three"]));
    }
    if asks[3] {
        read = read.after(random.one_of(all).position);
    }
    if asks[4] {
        read = read.up_to(random.one_of(all).position);
    }
    if asks[5] {
        read = read.limit(random.below(20) as u64);
    }
    if asks[6] {
        read = read.backwards();
    }
    if asks[7] && matches!(read.scope, es_core::Scope::Stream(_)) {
        read = read.after_version(Version::new(random.below(9) as u64));
    }
    read
}
