//! Single rows that are not what this program writes.

use es_core::{
    Aggregate, AggregateStoreExt, Batch, ContentType, DecodeError, Event, EventStore,
    EventStoreExt, Evolve, LoadError, Name, NewEvent, Position, Read, StoreErrorKind, StreamId,
    Tenant, Version, World,
};
use es_sqlite::SqliteStore;
use serde::{Deserialize, Serialize};
use tests::{batch, event};

use crate::{Folder, count, payloads, stream};

#[derive(Debug, Serialize, Deserialize, Event)]
#[event(prefix = "bell")]
enum BellEvent {
    Rung { n: u64 },
}

#[derive(Debug, Default, Aggregate)]
struct Bell {
    sum: u64,
}

impl Evolve for Bell {
    type Event = BellEvent;

    fn evolve(&mut self, BellEvent::Rung { n }: &BellEvent) {
        self.sum += n;
    }
}

/// Three good events, and between them what the SQL makes of the second.
async fn load_after(sql: &str) -> (SqliteStore, Result<u64, LoadError>, Folder) {
    let folder = Folder::with_events(3).await;
    folder.raw().execute_batch(sql).unwrap();
    let store = folder.open().await;
    let loaded = store.load::<Bell>(&"a".to_owned()).await.map(|bell| bell.state.sum);
    (store, loaded, folder)
}

async fn assert_named(sql: &str, cause: impl Fn(&DecodeError) -> bool) {
    let (store, loaded, _folder) = load_after(sql).await;
    match loaded {
        Err(LoadError::Event { stream: of, version, position, source }) => {
            assert_eq!((of, version, position), (stream("a"), Version::new(2), Position::new(4)));
            assert!(cause(&source), "{source}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(count(&store, "a").await, 3, "the log can be read raw");
    assert_eq!(store.load::<Bell>(&"b".to_owned()).await.unwrap().state.sum, 3);
    store.append(batch(&stream("a"), "{}")).await.unwrap();
}

#[tokio::test]
async fn an_unknown_event_type_is_named_with_stream_version_and_position() {
    let sql = "INSERT INTO kinds VALUES (99, 'bell.melted', 1, 'application/json');
        UPDATE events SET kind = 99 WHERE position = 4";
    assert_named(sql, |cause| {
        matches!(cause, DecodeError::UnknownType { event_type } if event_type == "bell.melted")
    })
    .await;
}

#[tokio::test]
async fn a_newer_schema_version_is_named_with_stream_version_and_position() {
    let sql = "INSERT INTO kinds VALUES (99, 'bell.rung', 7, 'application/json');
        UPDATE events SET kind = 99 WHERE position = 4";
    assert_named(sql, |cause| matches!(cause, DecodeError::Newer { written: 7, known: 1, .. }))
        .await;
}

#[tokio::test]
async fn an_unknown_content_type_is_named_with_stream_version_and_position() {
    let sql = "INSERT INTO kinds VALUES (99, 'bell.rung', 1, 'text/plain');
        UPDATE events SET kind = 99 WHERE position = 4";
    assert_named(sql, |cause| matches!(cause, DecodeError::ContentType(_))).await;
}

#[tokio::test]
async fn a_garbage_payload_is_named_with_stream_version_and_position() {
    for payload in ["7b", "", "00ff00ff", "7b226e223a2d317d", "7b226e223a317d20787878", "6e756c6c"]
    {
        let sql = format!("UPDATE events SET payload = x'{payload}' WHERE position = 4");
        assert_named(&sql, |cause| matches!(cause, DecodeError::Payload { .. })).await;
    }
}

#[tokio::test]
async fn a_missing_event_is_a_hole() {
    let (_store, loaded, _folder) = load_after("DELETE FROM events WHERE position = 4").await;
    match loaded {
        Err(LoadError::Hole { after, found, .. }) => {
            assert_eq!((after, found), (Version::new(1), Version::new(3)));
        }
        other => panic!("{other:?}"),
    }
}

/// Rows that no decoder gets to see, because the store cannot read them.
#[tokio::test]
async fn a_row_that_the_store_cannot_read_is_corrupt() {
    for damage in [
        "payload = 'text'",
        "ids = x'00'",
        "ids = zeroblob(17)",
        "ids = 7",
        "metadata = 'no json'",
        "metadata = x'ff'",
        "tags = ''",
        "tags = char(7)",
        "version = -1",
        "version = 'two'",
        "recorded_at = 9223372036854775807",
        "recorded_at = 'noon'",
        "kind = 77",
        "kind = 'bell'",
    ] {
        let sql =
            format!("PRAGMA foreign_keys = OFF; UPDATE events SET {damage} WHERE position = 4");
        let (store, loaded, _folder) = load_after(&sql).await;
        let hole = matches!(loaded, Err(LoadError::Hole { .. }));
        if !hole {
            let Err(LoadError::Store(error)) = loaded else { panic!("{damage}: {loaded:?}") };
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{damage}: {error}");
        }
        assert_eq!(count(&store, "b").await, 3, "{damage}");
    }
}

/// Of appends that are committed together only those that come upon a damaged row
/// fail.
#[tokio::test]
async fn a_damaged_row_fails_those_alone_that_look_at_it() {
    let folder = Folder::with_events(3).await;
    folder.raw().execute_batch("UPDATE events SET payload = 7 WHERE position = 4").unwrap();
    let store = folder.open().await;
    let append = |number: u64| match number % 3 {
        0 => store.append(tests::batch_at(&stream("a"), 0, "{}")),
        _ => store.append(batch(&stream(&format!("new-{number}")), "{}")),
    };
    let answers = futures_util::future::join_all((0..60).map(append)).await;
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(_) => assert_ne!(number % 3, 0),
            Err(es_core::AppendError::Store(error)) => {
                assert_eq!((number % 3, error.kind()), (0, StoreErrorKind::Corrupt));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The index of a stream says where its events stand.
#[tokio::test]
async fn an_index_that_does_not_fit_the_log_is_told() {
    for damage in [
        "UPDATE stream_runs SET position = position + 1 WHERE version = 2",
        "UPDATE stream_runs SET events = 2 WHERE version = 1",
        "UPDATE stream_runs SET version = -1 WHERE version = 2",
        "DELETE FROM stream_runs WHERE version = 2",
    ] {
        let (_store, loaded, _folder) = load_after(damage).await;
        match loaded {
            Err(LoadError::Hole { .. }) => {}
            Err(LoadError::Store(error)) => {
                assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{damage}: {error}");
            }
            other => panic!("{damage}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_row_of_a_stream_that_does_not_exist_is_corrupt() {
    for sql in [
        "PRAGMA foreign_keys = OFF; UPDATE events SET stream = 77 WHERE position = 4",
        "UPDATE streams SET name = 'nohyphen' WHERE name = 'bell-a'",
        "UPDATE kinds SET event_type = char(7)",
        "UPDATE kinds SET schema_version = -1",
        "UPDATE kinds SET schema_version = 'one'",
        "UPDATE tenants SET name = ''",
    ] {
        let folder = Folder::with_events(3).await;
        folder.raw().execute_batch(sql).unwrap();
        let store = folder.open().await;
        let error = store.events(Read::all().every_tenant()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_payload_comes_back_byte_by_byte() {
    let folder = Folder::new();
    let store = folder.open().await;
    let all: Vec<u8> = (0..=255).cycle().take(es_core::limits::PAYLOAD_BYTES).collect();
    let bytes = [
        all,
        b"{\"b\":1,\"a\":2,\"a\":3}".to_vec(),
        b"1e2".to_vec(),
        b"-0".to_vec(),
        b"\"\\u0000\"".to_vec(),
        Vec::new(),
    ];
    for payload in &bytes {
        let id = World::real().event_id();
        let name = Name::from_static("bell.rung");
        let event = NewEvent::raw(id, name, ContentType::BYTES, payload.clone());
        store.append(Batch::to(stream("a")).event(event)).await.unwrap();
    }
    store.close().await;
    let store = folder.open().await;
    let events = store.events(Read::stream(&stream("a"))).await.unwrap();
    let found: Vec<_> = events.iter().map(|event| event.payload.to_vec()).collect();
    assert!(found == bytes, "a payload was changed");
}

#[tokio::test]
async fn a_payload_beyond_the_limit_is_refused_and_leaves_no_trace() {
    let folder = Folder::new();
    let store = folder.open().await;
    let huge = format!("\"{}\"", "x".repeat(2 * 1024 * 1024));
    let error = store.append(batch(&stream("a"), &huge)).await.unwrap_err();
    assert!(matches!(error, es_core::AppendError::Invalid(_)), "{error}");
    store.append(batch(&stream("a"), "{}")).await.unwrap();
    assert_eq!(payloads(&store, "a").await, ["{}"]);
    assert_eq!(store.head().await.unwrap(), Position::new(1));
}

#[tokio::test]
async fn names_that_look_like_sql_or_patterns_are_only_names() {
    let folder = Folder::new();
    let store = folder.open().await;
    let ids =
        ["'; DROP TABLE events; --", "%", "_", "a\"b", "*", "ä", "A", "a", "\u{202e}x", "-", "a-b"];
    for id in ids {
        let ours = StreamId::new("bell", id).unwrap();
        let theirs = ours.clone().of(Tenant::new(id).unwrap());
        store.append(batch(&ours, "{}")).await.unwrap();
        store.append(batch(&theirs, "{}")).await.unwrap();
    }
    for id in ids {
        assert_eq!(count(&store, id).await, 1, "{id}");
        let theirs = Read::all().of(Tenant::new(id).unwrap());
        assert_eq!(store.events(theirs).await.unwrap().len(), 1, "{id}");
    }
    let all = store.events(Read::all().every_tenant()).await.unwrap();
    assert_eq!(all.len(), 2 * ids.len());
}

#[test]
fn names_with_control_characters_never_reach_the_store() {
    for text in ["a\u{0}", "a\n", "\u{7f}", "a\u{85}", "", &"x".repeat(256)] {
        assert!(StreamId::new("bell", text).is_err() || text.is_empty(), "{text:?}");
        assert!(Tenant::new(text).is_err(), "{text:?}");
        assert!(Name::new(text).is_err(), "{text:?}");
        assert!(es_core::Tag::new("key", text).is_err() || text.is_empty(), "{text:?}");
    }
}

#[tokio::test]
async fn numbers_beyond_what_sqlite_counts_are_refused_or_find_nothing() {
    let folder = Folder::with_events(3).await;
    let store = folder.open().await;
    let (far, version) = (Position::new(u64::MAX), Version::new(u64::MAX));
    let a = stream("a");
    assert!(store.events(Read::all().after(far)).await.unwrap().is_empty());
    assert_eq!(store.events(Read::all().up_to(far)).await.unwrap().len(), 9);
    assert!(store.events(Read::stream(&a).after_version(version)).await.unwrap().is_empty());
    assert_eq!(store.events(Read::all().limit(u64::MAX)).await.unwrap().len(), 9);
    assert!(store.events(Read::all().limit(0)).await.unwrap().is_empty());
    let at = tests::batch_at(&a, u64::MAX, "{}");
    assert!(matches!(store.append(at).await, Err(es_core::AppendError::Conflict(_))));
    store.append(Batch::to(a).event(event("bell.rung", "{}"))).await.unwrap();
}

#[tokio::test]
async fn a_log_that_has_come_to_the_last_position_takes_no_more_and_stays_readable() {
    let folder = Folder::with_events(1).await;
    let last = i64::MAX;
    folder
        .raw()
        .execute(&format!("UPDATE events SET position = {last} WHERE position = 3"), [])
        .unwrap();
    let store = folder.open().await;
    let error = store.append(batch(&stream("a"), "{}")).await.unwrap_err();
    assert!(matches!(error, es_core::AppendError::Store(_)), "{error}");
    assert_eq!(store.events(Read::all()).await.unwrap().len(), 3);
}
