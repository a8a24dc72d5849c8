use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Upcast, Upcasters, Upcasting};
use crate::{
    Abilities, AppendError, Appended, Batch, ContentType, Criteria, Direction, Event, EventStore,
    EventStoreExt, EventType, Evolve, Expected, Loaded, Name, NewEvent, Page, Pages, Position,
    Read, RecordedEvent, StoreErrorKind, StreamId, Tag, Version, World, limits,
    memory::MemoryStore,
};

pub(super) const A: Name = Name::from_static("a");
pub(super) const B: Name = Name::from_static("b");
pub(super) const C: Name = Name::from_static("c");
pub(super) const D: Name = Name::from_static("d");
pub(super) const X: Name = Name::from_static("x");
pub(super) const Y: Name = Name::from_static("y");
const Z: Name = Name::from_static("z");

/// `a` is lifted to version 2, which makes a `c` together with a `b` behind it;
/// `x` is split into `y` and `z`, and `d` is dropped.
pub(super) fn upcasters() -> Upcasters {
    Upcasters::new()
        .one_to_one(A, 1, |data| Ok(json!([data])))
        .many_to_one([(A, 2), (B, 1)], (C, 1), |values| Ok(Upcast::new(C, 1, values.into())))
        .one_to_many(X, 1, [(Y, 1), (Z, 2)], |data| {
            Ok(vec![Upcast::new(Y, 1, data.clone()), Upcast::new(Z, 2, data)])
        })
        .dropping(D)
}

fn stream(id: u32) -> StreamId {
    StreamId::new("test", id).unwrap()
}

fn new(name: Name, data: &Value) -> NewEvent {
    NewEvent::raw(World::real().event_id(), name, ContentType::JSON, data.to_string())
}

/// A log with these events, whose data is their place.
async fn log(events: impl IntoIterator<Item = (u32, Name)>) -> MemoryStore {
    let store = MemoryStore::new();
    for (place, (id, name)) in events.into_iter().enumerate() {
        store.append(Batch::to(stream(id)).event(new(name, &json!(place + 1)))).await.unwrap();
    }
    store
}

async fn one_stream(names: impl IntoIterator<Item = Name>) -> Upcasting<MemoryStore> {
    let store = log(names.into_iter().map(|name| (1, name))).await;
    Upcasting::new(store, upcasters()).unwrap()
}

/// Each event as `position type/version data`.
fn lines(events: &[RecordedEvent]) -> Vec<String> {
    let line = |event: &RecordedEvent| {
        let RecordedEvent { position, event_type, schema_version, .. } = event;
        let data = String::from_utf8_lossy(&event.payload);
        format!("{position} {event_type}/{schema_version} {data}").trim_end().to_owned()
    };
    events.iter().map(line).collect()
}

async fn read<S: EventStore>(store: &S, read: Read) -> Vec<String> {
    lines(&store.events(read).await.unwrap())
}

#[tokio::test]
async fn an_old_event_is_lifted_until_no_rule_is_left() {
    let upcasters = Upcasters::new()
        .one_to_one(A, 1, |data| Ok(json!({ "one": data })))
        .one_to_one(A, 2, |data| Ok(json!({ "two": data })))
        .one_to_many(A, 3, [(B, 7)], |data| Ok(vec![Upcast::new(B, 7, data)]));
    let store = Upcasting::new(log([(1, A)]).await, upcasters).unwrap();
    assert_eq!(read(&store, Read::all()).await, [r#"1 b/7 {"two":{"one":1}}"#]);
}

#[tokio::test]
async fn an_event_without_rule_passes_as_it_is() {
    let store = log([]).await;
    let newer = NewEvent { schema_version: 9, ..new(A, &json!(1)) };
    let bytes = NewEvent { content_type: ContentType::BYTES, ..new(Y, &json!(2)) };
    store.append(Batch::to(stream(1)).events([newer, bytes, new(D, &json!(3))])).await.unwrap();
    let recorded = store.events(Read::all()).await.unwrap();
    let read = Upcasting::new(store, upcasters()).unwrap().events(Read::all()).await.unwrap();
    assert_eq!(read[..2], recorded[..2]);
    assert_eq!(read[0].payload.as_ptr(), recorded[0].payload.as_ptr(), "nothing is copied");
}

#[cfg(feature = "messagepack")]
#[tokio::test]
async fn a_rule_works_for_every_codec() {
    let store = log([]).await;
    let payload = crate::Codec::MessagePack.encode_value(&json!({ "k": 1 })).unwrap();
    let event = NewEvent { content_type: ContentType::MESSAGEPACK, payload, ..new(A, &json!(0)) };
    store.append(Batch::to(stream(1)).event(event)).await.unwrap();
    let store = Upcasting::new(store, upcasters()).unwrap();
    let events = store.events(Read::all()).await.unwrap();
    assert_eq!(lines(&events), [r#"1 a/2 [{"k":1}]"#]);
    assert_eq!(events[0].content_type, ContentType::JSON);
}

#[tokio::test]
async fn parts_of_one_event_share_its_place_and_its_envelope() {
    let store = log([]).await;
    let tagged = NewEvent { tags: vec![Tag::new("k", 1).unwrap()], ..new(X, &json!(1)) };
    store.append(Batch::to(stream(1)).event(tagged)).await.unwrap();
    let recorded = store.events(Read::all()).await.unwrap().remove(0);
    let parts = Upcasting::new(store, upcasters()).unwrap().events(Read::all()).await.unwrap();
    assert_eq!(lines(&parts), ["1 y/1 1", "1 z/2 1"]);
    for part in parts {
        let (event_type, schema_version) = (recorded.event_type.clone(), recorded.schema_version);
        assert_eq!(RecordedEvent { event_type, schema_version, ..part }, recorded);
    }
}

#[tokio::test]
async fn a_dropped_event_leaves_a_marker_at_its_place() {
    let store = log([]).await;
    let unreadable = NewEvent { content_type: ContentType::BYTES, ..new(D, &json!(1)) };
    store.append(Batch::to(stream(1)).event(unreadable)).await.unwrap();
    let recorded = store.events(Read::all()).await.unwrap().remove(0);
    let store = Upcasting::new(store, upcasters()).unwrap();
    let marker = store.events(Read::all()).await.unwrap().remove(0);
    assert!(marker.is_dropped() && marker.payload.is_empty());
    assert_eq!(
        (marker.position, marker.version, marker.id, marker.stream),
        (recorded.position, recorded.version, recorded.id, recorded.stream)
    );
}

#[tokio::test]
async fn an_event_that_is_split_into_nothing_is_dropped() {
    let nothing = Upcasters::new().one_to_many(A, 1, [], |_| Ok(vec![]));
    let store = Upcasting::new(log([(1, A)]).await, nothing).unwrap();
    assert_eq!(read(&store, Read::all()).await, ["1 $dropped/1"]);
}

#[tokio::test]
async fn a_run_becomes_one_event_at_the_place_of_its_last() {
    let store = one_stream([A, B]).await;
    assert_eq!(read(&store, Read::all()).await, ["1 $dropped/1", "2 c/1 [[1],2]"]);
}

#[tokio::test]
async fn what_is_no_complete_run_passes_unchanged() {
    let store = one_stream([B, A, A, D, B, A]).await;
    let unchanged = ["1 b/1 1", "2 a/2 [2]", "3 a/2 [3]", "4 $dropped/1", "5 b/1 5", "6 a/2 [6]"];
    assert_eq!(read(&store, Read::all()).await, unchanged);
}

#[tokio::test]
async fn a_run_does_not_reach_into_another_stream() {
    let store = Upcasting::new(log([(1, A), (2, B)]).await, upcasters()).unwrap();
    assert_eq!(read(&store, Read::all()).await, ["1 a/2 [1]", "2 b/1 2"]);
}

#[tokio::test]
async fn a_run_may_lie_across_two_pages() {
    let before = (1..limits::PAGE_EVENTS).map(|_| Y);
    let store = one_stream(before.chain([A, B])).await;
    let events = read(&store, Read::all()).await;
    let (last, next) = (limits::PAGE_EVENTS, limits::PAGE_EVENTS + 1);
    let seen = [format!("{last} $dropped/1"), format!("{next} c/1 [[{last}],{next}]")];
    assert_eq!(events[last - 1..], seen);
}

#[tokio::test]
async fn every_read_is_a_part_of_the_whole() {
    let log = log([
        (1, A),
        (2, A),
        (1, B),
        (2, X),
        (2, A),
        (1, D),
        (2, B),
        (1, A),
        (1, X),
        (2, D),
        (1, B),
        (1, A),
        (1, B),
        (1, A),
    ]);
    let store = Upcasting::new(log.await, upcasters()).unwrap();
    let whole = store.events(Read::all()).await.unwrap();
    let category = || Read::category("test").unwrap();
    for scope in [Read::all(), Read::stream(&stream(1)), Read::stream(&stream(2)), category()] {
        for types in [vec![], vec![A], vec![B], vec![C], vec![X], vec![Y], vec![Z, C], vec![D]] {
            for bounds in 0..9 * 15 {
                let (after, limit) = (bounds % 9, bounds / 9);
                let ask = scope.clone().types(types.clone()).after_version(Version::new(after));
                assert_part(&store, &whole, ask.clone().limit(limit)).await;
                assert_part(&store, &whole, ask.after(Position::new(limit))).await;
            }
        }
    }
}

async fn assert_part(store: &Upcasting<MemoryStore>, whole: &[RecordedEvent], ask: Read) {
    for ask in [ask.clone(), ask.backwards()] {
        let mut part: Vec<_> = whole.iter().filter(|event| ask.accepts(event)).cloned().collect();
        if ask.direction == Direction::Backwards {
            part.reverse();
        }
        let mut recorded = part.chunk_by(|one, next| one.position == next.position);
        let limit = ask.limit.map_or(usize::MAX, |limit| limit.try_into().unwrap());
        let part = recorded.by_ref().take(limit).flatten().cloned().collect::<Vec<_>>();
        assert_eq!(read(store, ask.clone()).await, lines(&part), "{ask:?}");
    }
}

#[tokio::test]
async fn a_follower_is_told_of_upcast_events_and_moves_past_dropped_ones() {
    let store = one_stream([X, D]).await;
    let mut pages = store.follow(Read::all().types([Y]));
    let Page { events, through } = pages.try_next().await.unwrap().unwrap();
    assert_eq!((lines(&events), through), (vec!["1 y/1 1".to_owned()], Position::new(2)));

    store.append(Batch::to(stream(1)).event(new(D, &json!(3)))).await.unwrap();
    let nothing = Page { events: vec![], through: Position::new(3) };
    assert_eq!(pages.try_next().await.unwrap().unwrap(), nothing);
}

#[tokio::test]
async fn a_follower_may_not_have_a_limit() {
    let store = one_stream([X]).await;
    let error = store.follow(Read::all().types([Y]).limit(1)).try_next().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
}

#[tokio::test]
async fn a_page_that_the_limit_cuts_goes_through_its_last_event() {
    let store = one_stream([X, D, X, Y]).await;
    let page = |read: Read| async { store.read(read).try_next().await.unwrap().unwrap() };
    assert_eq!(page(Read::all().types([Y]).limit(2)).await.through, Position::new(3));
    assert_eq!(page(Read::all().types([Y])).await.through, Position::new(4));
}

#[tokio::test]
async fn a_request_for_a_type_finds_what_becomes_it_through_several_rules() {
    let upcasters =
        upcasters().one_to_many(Z, 2, [(A, 9)], |data| Ok(vec![Upcast::new(A, 9, data)]));
    let store = Upcasting::new(log([(1, X), (1, Y)]).await, upcasters).unwrap();
    assert_eq!(read(&store, Read::all().types([A])).await, ["1 a/9 1"]);
}

#[tokio::test]
async fn criteria_find_what_becomes_a_wanted_type() {
    let store = one_stream([A, B, X, Y, D]).await;
    let wanted = Criteria::types([C]).or(Criteria::types([Y]));
    let found = ["2 c/1 [[1],2]", "3 y/1 3", "4 y/1 4"];
    assert_eq!(read(&store, Read::matching(wanted.clone())).await, found);
    assert_eq!(read(&store, Read::matching(wanted).backwards().limit(1)).await, ["4 y/1 4"]);
}

#[tokio::test]
async fn criteria_with_tags_keep_their_tags() {
    let (tag, other) = (Tag::new("k", 1).unwrap(), Tag::new("k", 2).unwrap());
    let store = log([]).await;
    let tagged = |tag: &Tag| NewEvent { tags: vec![tag.clone()], ..new(X, &json!(1)) };
    store.append(Batch::to(stream(1)).events([tagged(&tag), tagged(&other)])).await.unwrap();
    let store = Upcasting::new(store, upcasters()).unwrap();
    let wanted = Read::matching(Criteria::tag(tag).of_types([Y]));
    assert_eq!(read(&store, wanted).await, ["1 y/1 1"]);
}

#[tokio::test]
async fn an_old_event_overtakes_a_decision_about_what_it_becomes() {
    let store = one_stream([Y, X]).await;
    let unless = |after| {
        Batch::to(stream(9))
            .event(new(Y, &json!(0)))
            .unless(Criteria::types([Z]), Position::new(after))
    };
    let error = store.append(unless(1)).await.unwrap_err();
    assert!(matches!(error, AppendError::Overtaken { position } if position == Position::new(2)));
    store.append(unless(2)).await.unwrap();
}

#[tokio::test]
async fn the_unseen_events_of_a_conflict_are_upcast() {
    let store = one_stream([A, B, X, D]).await;
    let late = Batch::to(stream(1)).expect(Expected::Exact(Version::new(1)));
    let result = store.append(late.event(new(Y, &json!(0)))).await;
    let Err(AppendError::Conflict(conflict)) = result else { panic!("{result:?}") };
    let unseen = ["2 c/1 [[1],2]", "3 y/1 3", "3 z/2 3", "4 $dropped/1"];
    assert_eq!(lines(&conflict.unseen), unseen);
    assert!(conflict.is_complete_after(Version::new(1)));
}

#[derive(Serialize, Deserialize)]
struct Seen(Value);

impl Event for Seen {
    const TYPES: &'static [EventType] = &[EventType::new("y")];

    fn index(&self) -> usize {
        0
    }
}

#[derive(Default)]
struct Count(u32);

impl Evolve for Count {
    type Event = Seen;

    fn evolve(&mut self, _: &Seen) {
        self.0 += 1;
    }
}

#[tokio::test]
async fn a_fold_is_at_the_version_of_a_dropped_last_event() {
    let store = one_stream([Y, D]).await;
    let mut loaded = Loaded::<Count>::default();
    loaded.catch_up(&store, &stream(1)).await.unwrap();
    assert_eq!((loaded.state.0, loaded.version), (1, Version::new(2)));
    let next = Batch::to(stream(1)).expect(Expected::Exact(loaded.version));
    store.append(next.event(new(Y, &json!(3)))).await.unwrap();
}

#[tokio::test]
async fn a_rule_that_fails_fails_the_page_and_says_where() {
    let upcasters = Upcasters::new().one_to_one(B, 1, |_| Err("no currency".into()));
    let store = Upcasting::new(log([(1, A), (1, B)]).await, upcasters).unwrap();
    let error = store.events(Read::all()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Invalid);
    assert_eq!(
        error.to_string(),
        "b with schema version 1 cannot be upcast, fix its rule: event 2 of test-1, at position 2"
    );
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "no currency");
}

#[tokio::test]
async fn a_payload_that_cannot_be_decoded_fails_the_page() {
    let store = log([]).await;
    let bytes = NewEvent { content_type: ContentType::BYTES, ..new(A, &json!(1)) };
    let broken = NewEvent { payload: "{".into(), ..new(A, &json!(1)) };
    for (id, event) in [(1, bytes), (2, broken)] {
        store.append(Batch::to(stream(id)).event(event)).await.unwrap();
    }
    let store = Upcasting::new(store, upcasters()).unwrap();
    for id in [1, 2] {
        let error = store.events(Read::stream(&stream(id))).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_rule_may_not_make_what_it_did_not_declare() {
    let rules = Upcasters::new()
        .one_to_many(A, 1, [(Y, 1)], |data| Ok(vec![Upcast::new(Y, 2, data)]))
        .many_to_one([(B, 1), (D, 1)], (Y, 1), |_| Ok(Upcast::new(Z, 1, json!(0))));
    let store = Upcasting::new(log([(1, A), (2, B), (2, D)]).await, rules).unwrap();
    for id in [1, 2] {
        assert!(store.events(Read::stream(&stream(id))).await.is_err());
    }
}

#[derive(Debug)]
struct Counting(MemoryStore, Arc<AtomicUsize>);

#[async_trait::async_trait]
impl EventStore for Counting {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.0.append(batch).await
    }

    fn read(&self, read: Read) -> Pages {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read(read)
    }

    fn follow(&self, read: Read) -> Pages {
        self.0.follow(read)
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }
}

#[tokio::test]
async fn the_store_is_asked_only_about_runs_that_the_page_does_not_decide() {
    let reads = Arc::new(AtomicUsize::new(0));
    let log = log([A, B, A, Y, B, A, B].map(|name| (1, name))).await;
    let store = Upcasting::new(Counting(log, Arc::clone(&reads)), upcasters()).unwrap();
    store.events(Read::all()).await.unwrap();
    assert_eq!(reads.swap(0, Ordering::Relaxed), 1);
    store.events(Read::all().limit(6)).await.unwrap();
    assert_eq!(reads.load(Ordering::Relaxed), 2);
}
