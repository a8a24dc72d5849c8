//! What is imported is what was recorded.

use es_core::{
    AppendError, Batch, Criteria, EventStore, EventStoreExt, Expected, Import, Position, Read,
    RecordedEvent, Retention, StreamId, Version, Write, limits, memory::MemoryStore,
};
use futures_util::TryStreamExt;

use super::scene::{
    Alive, Store, at, contents, copying, everything, filled, find, log_of, must, name, pages,
    payloads,
};
use crate::fake;

/// Imports the whole log of `source`.
async fn import(store: &Store, source: &MemoryStore) {
    let imported = store.import(source.read(everything())).await.expect("an import");
    let log = log_of(source).await;
    assert_eq!(imported.events, log.len() as u64);
    assert_eq!(imported.position, log.last().map_or(Position::START, |event| event.position));
}

/// Position by position.
pub async fn an_import_keeps_everything_as_it_was(store: &Store) {
    let source = filled().await;
    import(store, &source).await;
    assert_eq!(log_of(&**store).await, log_of(&source).await);
    let target = MemoryStore::new();
    target.import(store.read(everything())).await.expect("an import");
    assert_eq!(log_of(&target).await, log_of(&**store).await);
}

/// It can be imported into afterwards.
pub async fn an_import_of_nothing_leaves_an_empty_store(store: &Store) {
    import(store, &MemoryStore::new()).await;
    import(store, &filled().await).await;
}

/// Along every index.
pub async fn reads_of_an_import_find_what_the_source_finds(store: &Store) {
    let source = filled().await;
    import(store, &source).await;
    let log = log_of(&source).await;
    let ids = log.iter().filter_map(|event| event.append_id).map(Read::append);
    let streams = log.iter().map(|event| Read::stream(&event.stream));
    let red = fake::tag("colour", "red");
    let others = [
        Read::all(),
        Read::all().tag(red.clone()).every_tenant(),
        Read::matching(Criteria::tag(red.clone()).and(fake::tag("size", "s"))),
        Read::all().of(fake::tenant("acme")).tag(red),
        Read::all().correlated("order\u{0}-7").every_tenant(),
        everything().types([name("thing.described"), name("thing.repeated")]),
        Read::category("thing").expect("a category"),
        everything().since(log[3].recorded_at),
    ];
    for read in ids.chain(streams).chain(others) {
        let half = read.clone().after(log[4].position).up_to(log[log.len() - 3].position);
        let last = read.clone().backwards().limit(2);
        for read in [read, half, last] {
            let wanted = find(&source, read.clone()).await;
            assert_eq!(find(&**store, read.clone()).await, wanted, "{read:?}");
        }
    }
}

/// With the next position, and the next version of each stream.
pub async fn appends_go_on_behind_an_import(store: &Store) {
    let source = filled().await;
    import(store, &source).await;
    let head = log_of(&source).await.last().expect("an event").position;
    let stream = fake::stream("thing-a");
    let version = source.version(&stream).await.expect("a read");
    let batch = || Batch::to(stream.clone()).events(fake::events(2));
    store.append(batch().expect(Expected::NoStream)).await.expect_err("a conflict");
    let appended = must(&**store, batch().expect(Expected::Exact(version))).await;
    assert!(appended.position > head, "behind what was imported");
    assert_eq!(appended.version(), version.plus(2));
    assert_eq!(store.version(&stream).await.expect("a read"), version.plus(2));
    must(&**store, Batch::to(fake::stream("new-1")).events(fake::events(40))).await;
    let all = log_of(&**store).await;
    assert!(all.is_sorted_by(|one, next| one.position < next.position));
}

/// What is truncated begins late, what is deleted may go on, what is tombstoned not.
pub async fn removals_of_the_source_hold_behind_an_import(store: &Store) {
    let source = filled().await;
    let [short, deleted, gone] = ["short-1", "deleted-1", "gone-1"].map(fake::stream);
    for stream in [&short, &deleted, &gone] {
        must(&source, Batch::to(stream.clone()).events(fake::events(4))).await;
    }
    source.truncate(&short, Version::new(4)).await.expect("a truncation");
    source.delete(&deleted, Expected::Any).await.expect("a deletion");
    source.tombstone(&gone, Expected::Any).await.expect("a tombstone");
    import(store, &source).await;
    assert_eq!(log_of(&**store).await, log_of(&source).await);
    for (stream, version) in [(short, 5), (deleted, 6)] {
        let expected = Expected::Exact(Version::new(version - 1));
        let one = Batch::to(stream).expect(expected).events(fake::events(1));
        assert_eq!(must(&**store, one).await.version(), Version::new(version));
    }
    // Alone, and with others.
    for events in [1, 2] {
        let late = store.append(Batch::to(gone.clone()).events(fake::events(events))).await;
        assert!(matches!(late, Err(AppendError::Gone { .. })), "{late:?}");
    }
}

/// Whoever did not hear the answer of the source asks the target.
pub async fn an_imported_append_is_repeated_and_not_doubled(store: &Store) {
    let source = MemoryStore::new();
    let one = Batch::to(fake::stream("thing-a")).events(fake::events(2));
    let one = one.append_id(fake::append_id());
    let several = Batch::to(fake::stream("thing-b"))
        .events(fake::events(2))
        .write(Write::new(fake::stream("thing-c")).events(fake::events(1)))
        .write(Write::new(fake::stream("thing-b")).events(fake::events(3)))
        .append_id(fake::append_id());
    for batch in [&one, &several] {
        must(&source, batch.clone()).await;
    }
    import(store, &source).await;
    for batch in [one, several] {
        let first = must(&source, batch.clone()).await;
        assert!(first.repeated);
        assert_eq!(must(&**store, batch).await, first);
    }
    assert_eq!(log_of(&**store).await.len(), 8);
}

/// Where many write at once, what they append stands mixed.
pub async fn an_imported_append_among_others_is_known(store: &Store) {
    let (one, other) = (fake::append_id(), fake::append_id());
    let of = |stream, version, position, id| {
        let mut event = at(stream, version, position);
        event.append_id = Some(id);
        event
    };
    let log = vec![
        of("thing-a", 1, 1, one),
        of("thing-x", 1, 2, other),
        of("thing-a", 2, 3, one),
        of("thing-y", 1, 4, other),
        of("thing-b", 1, 5, one),
    ];
    store.import(pages(log.clone())).await.expect("an import");
    for (id, first, writes) in [(one, 0, [2, 1]), (other, 1, [1, 1])] {
        let mine = |event: &RecordedEvent| event.append_id == Some(id);
        let wanted: Vec<_> = log.iter().filter(|event| mine(event)).cloned().collect();
        assert_eq!(find(&**store, Read::append(id)).await, wanted);
        let again = Batch::to(log[first].stream.clone()).events(fake::events(1)).append_id(id);
        let answer = must(&**store, again).await;
        assert!(answer.repeated);
        assert_eq!(answer.position, wanted.last().expect("an event").position);
        assert_eq!(answer.writes.iter().map(|one| one.version.get()).collect::<Vec<_>>(), writes);
    }
}

/// Nothing is handled twice and nothing is passed over.
pub async fn a_checkpoint_of_the_source_holds_behind_an_import(store: &Store) {
    let source = filled().await;
    import(store, &source).await;
    let log = log_of(&source).await;
    for checkpoint in [0, log.len() / 2, log.len() - 1].map(|at| log[at].position) {
        let written =
            must(&**store, Batch::to(fake::stream("new-1")).events(fake::events(1))).await;
        let mut followed = Vec::new();
        let mut pages = store.follow(everything().after(checkpoint));
        while followed.last().is_none_or(|last: &RecordedEvent| last.position < written.position) {
            followed.extend(pages.try_next().await.expect("a page").expect("a page").events);
        }
        let wanted = log_of(&**store).await;
        let wanted: Vec<_> = wanted.into_iter().filter(|one| one.position > checkpoint).collect();
        assert_eq!(contents(&followed), contents(&wanted));
    }
}

/// They need not be told.
pub async fn an_import_wakes_followers(store: &Store) {
    let source = filled().await;
    let last = log_of(&source).await.last().expect("an event").position;
    let mut pages = store.follow(everything());
    let following = async {
        let mut through = Position::START;
        while through < last {
            tokio::task::yield_now().await;
            through = pages.try_next().await.expect("a page").expect("a page").through;
        }
    };
    tokio::join!(following, import(store, &source));
}

/// In the log and between the events of a stream.
pub async fn gaps_between_positions_are_kept(store: &Store) {
    const FAR: u64 = 1 << 40;
    let positions =
        || (1..=15).chain(20..60).chain(500..540).chain([4_000, FAR]).chain(FAR + 2..FAR + 60);
    let count = positions().count();
    let log = positions().enumerate().map(|(at, position)| {
        let (stream, version) =
            if at % 3 == 0 { ("thing-a", at / 3) } else { ("thing-b", at - at / 3 - 1) };
        super::scene::at(stream, version as u64 + 1, position)
    });
    let log: Vec<_> = log.collect();
    assert_eq!(log.len(), count);
    store.import(pages(log.clone())).await.expect("an import");
    assert_eq!(log_of(&**store).await, log);
    for stream in ["thing-a", "thing-b"] {
        let wanted: Vec<_> =
            log.iter().filter(|one| one.stream.name() == stream).cloned().collect();
        let read = Read::stream(&fake::stream(stream));
        assert_eq!(find(&**store, read.clone()).await, wanted);
        let part = read.after_version(Version::new(5)).limit(20);
        assert_eq!(find(&**store, part).await, wanted[5..25]);
    }
    let appended = must(&**store, Batch::to(fake::stream("thing-a")).events(fake::events(1))).await;
    assert!(appended.position > Position::new(FAR + 59));
}

/// What was before was deleted, and a marker may say so.
pub async fn a_stream_may_begin_above_version_1(store: &Store) {
    let mut marker = at("thing-b", 4, 11);
    marker.event_type = name("gesta.deleted");
    let log = vec![at("thing-a", 8, 10), marker, at("thing-a", 9, 12)];
    store.import(pages(log.clone())).await.expect("an import");
    assert_eq!(log_of(&**store).await, log);
    let stream = fake::stream("thing-a");
    let read = Read::stream(&stream).after_version(Version::new(8));
    assert_eq!(find(&**store, read).await, log[2..]);
    let batch = || Batch::to(stream.clone()).events(fake::events(1));
    store.append(batch().expect(Expected::Exact(Version::new(2)))).await.expect_err("a conflict");
    let appended = must(&**store, batch().expect(Expected::Exact(Version::new(9)))).await;
    assert_eq!(appended.version(), Version::new(10));
}

/// Byte by byte.
pub async fn names_and_payloads_of_any_kind_are_imported(store: &Store) {
    let longest = |text: &str| text.repeat(limits::NAME_BYTES / text.len());
    let names =
        [longest("\\"), longest("ü"), "\"'\t".replace('\t', "\u{2028}"), "a-\u{10ffff}%_".into()];
    let source = MemoryStore::new();
    for (at, text) in names.iter().enumerate() {
        let stream = StreamId::new("c", text.chars().take(60).collect::<String>()).expect("a name");
        let mut event = fake::event(text).build();
        event.tags = vec![es_core::Tag::parse(text).expect("a tag")];
        let batch = Batch::to(stream.of(fake::tenant(text))).event(event).events(payloads());
        must(&source, batch.append_id(fake::append_id())).await;
        let read =
            Read::all().of(fake::tenant(text)).tag(es_core::Tag::parse(text).expect("a tag"));
        assert_eq!(find(&source, read).await.len(), 1, "{at}");
    }
    import(store, &source).await;
    assert_eq!(log_of(&**store).await, log_of(&source).await);
    for text in &names {
        let read =
            Read::all().of(fake::tenant(text)).tag(es_core::Tag::parse(text).expect("a tag"));
        assert_eq!(find(&**store, read).await.len(), 1);
    }
}

/// With `Ok` it is as durable as an append.
pub async fn an_import_is_there_after_a_reopening(store: &Store) {
    let source = filled().await;
    import(store, &source).await;
    let store = store.reopen().await;
    let log = log_of(&source).await;
    assert_eq!(log_of(&*store).await, log);
    let appended = must(&*store, Batch::to(fake::stream("thing-a")).events(fake::events(1))).await;
    assert!(Some(appended.position) > log.last().map(|event| event.position));
}

/// 100,000 events go through.
const MANY: u64 = 100_000;
/// So many of them at most are in memory at once.
const FEW: usize = 25_000;

/// However long the log is.
pub async fn an_import_holds_few_events_in_memory(store: &Store) {
    let alive = Alive::default();
    let imported = store.import(alive.pages(MANY)).await.expect("an import");
    assert_eq!(imported.events, MANY);
    assert!(alive.most() < FEW, "{} of {MANY} events at once", alive.most());
    let last = find(&**store, everything().backwards().limit(1)).await;
    assert_eq!(last[0].version, Version::new(MANY));
}

/// However long the log is.
pub async fn a_copy_holds_few_events_in_memory(store: &Store) {
    let alive = Alive::default();
    let copied = es_core::copy_pages(alive.pages(MANY), &**store, copying()).await.expect("a copy");
    assert_eq!(copied.appended, MANY);
    assert!(alive.most() < FEW, "{} of {MANY} events at once", alive.most());
}
