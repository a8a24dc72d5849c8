//! What goes in comes out, byte by byte (A32, S20).

use es_core::{Batch, ContentType, EventId, Metadata, NewEvent, Random, Read, RecordedEvent};
use uuid::Uuid;

use super::scene::{Log, name, stream};
use crate::{SeededRandom, fake};

async fn assert_kept(log: &Log, events: Vec<NewEvent>) {
    for part in events.chunks(50) {
        log.must(Batch::to(stream("a")).events(part.to_vec())).await;
    }
    let found: Vec<_> = log.of(&stream("a")).await.into_iter().map(given).collect();
    assert_eq!(found, events);
}

/// The part of a recorded event that was given by its writer.
fn given(event: RecordedEvent) -> NewEvent {
    NewEvent {
        id: event.id,
        event_type: event.event_type,
        schema_version: event.schema_version,
        content_type: event.content_type,
        tags: event.tags,
        metadata: event.metadata,
        payload: event.payload,
    }
}

fn json(payload: impl Into<bytes::Bytes>) -> NewEvent {
    fake::event("thing.happened").payload(payload).build()
}

fn raw(payload: impl Into<bytes::Bytes>) -> NewEvent {
    NewEvent { content_type: ContentType::BYTES, ..json(payload) }
}

/// No payload is a payload.
pub async fn an_empty_payload_round_trips(log: &Log) {
    assert_kept(log, vec![raw(""), json(""), raw(""), json("{}"), raw("")]).await;
}

/// Every value that a byte can have.
pub async fn every_byte_round_trips(log: &Log) {
    let all: Vec<u8> = (0..=255).collect();
    let single = (0..=255_u8).map(|byte| raw(vec![byte]));
    assert_kept(log, single.chain([raw(all.clone()), raw(all.repeat(16))]).collect()).await;
}

/// Zeroes at the start, in the middle and at the end.
pub async fn zero_bytes_round_trip(log: &Log) {
    let zeroes = ["\0", "\0\0\0", "a\0b", "\0a", "a\0"];
    assert_kept(log, zeroes.iter().map(|text| raw(*text)).collect()).await;
}

/// A payload that claims to be JSON and is not even text.
pub async fn bytes_that_are_no_text_round_trip(log: &Log) {
    let broken: [&[u8]; 5] =
        [b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"{\"a\":\"\xf0\x9f\"}", b"\xf4\x90\x80\x80"];
    let events = broken.iter().flat_map(|bytes| [raw(bytes.to_vec()), json(bytes.to_vec())]);
    assert_kept(log, events.collect()).await;
}

/// Numbers that no machine word holds are not touched.
pub async fn json_numbers_are_kept_as_written(log: &Log) {
    let numbers = [
        "1e131071",
        "1e-131071",
        "1.0",
        "1e2",
        "-0",
        "-0.0",
        "0.1",
        "100000000000000000000000000",
        "9007199254740993",
        "18446744073709551615",
        "-9223372036854775808",
        "1E+2",
        "1.50",
        "3.141592653589793238462643383279",
    ];
    let events = numbers.iter().map(|number| json(format!("{{\"n\":{number}}}")));
    assert_kept(log, events.collect()).await;
}

/// Keys keep their order and their doubles, and white space stays.
pub async fn json_is_kept_as_written(log: &Log) {
    let texts = [
        r#"{"b":1,"a":2}"#,
        r#"{"a":1,"a":2}"#,
        "{ \"a\" : 1 }\n",
        "[1, 2,3]",
        "null",
        "\"\"",
        r#"{"":0}"#,
        r#"{"a":"\u0000"}"#,
        r#""\ud83e\udd80""#,
        r#""\ud800""#,
        r#""\/""#,
        "{\"a\":\"\u{1f980}\"}",
        "not json",
        "{",
        "[1,]",
        "NaN",
        "{'a':1}",
    ];
    assert_kept(log, texts.iter().map(|text| json(*text)).collect()).await;
}

/// Random bytes of many sizes.
pub async fn random_payloads_round_trip(log: &Log) {
    let random = SeededRandom::new(32);
    let event = |n: usize| {
        let bytes: Vec<u8> = (0..n * n).map(|_| random.next_u64().to_le_bytes()[0]).collect();
        [raw(bytes.clone()), json(bytes)]
    };
    assert_kept(log, (0..60).flat_map(event).collect()).await;
}

/// A payload of a whole mebibyte.
pub async fn the_largest_payload_round_trips(log: &Log) {
    let random = SeededRandom::new(20);
    let words =
        (0..es_core::limits::PAYLOAD_BYTES / 8).flat_map(|_| random.next_u64().to_le_bytes());
    let bytes: Vec<u8> = words.collect();
    assert_kept(log, vec![raw(bytes)]).await;
}

/// Any form, known to Gesta or not.
pub async fn content_types_round_trip(log: &Log) {
    let forms = ["application/json", "application/msgpack", "text/plain; charset=utf-8", "x", "%"];
    let event = |form: &&str| {
        let form = ContentType::new(name(form));
        fake::event("x").content_type(form).payload("x").build()
    };
    assert_kept(log, forms.iter().map(event).collect()).await;
}

/// Schema versions up to the greatest.
pub async fn schema_versions_round_trip(log: &Log) {
    let versions = [0, 1, 2, 255, 65_536, i32::MAX.unsigned_abs() + 1, u32::MAX];
    let event = |version: &u32| fake::event("x").schema_version(*version).build();
    assert_kept(log, versions.iter().map(event).collect()).await;
}

/// One type in several forms and versions, one after the other.
pub async fn one_type_may_come_in_several_forms(log: &Log) {
    let event = |n: u32| {
        let form = [ContentType::JSON, ContentType::BYTES][n as usize % 2].clone();
        fake::event("x").schema_version(n % 3).content_type(form).payload("1").build()
    };
    assert_kept(log, (0..12).map(event).collect()).await;
    assert_eq!(log.find(Read::all().types([name("x")])).await.len(), 12);
}

/// Tags keep their order.
pub async fn tags_keep_their_order(log: &Log) {
    let tagged = |keys: &[&str]| {
        keys.iter().fold(fake::event("x"), |event, key| event.tag(key, "v")).build()
    };
    assert_kept(log, vec![tagged(&["b", "a", "c"]), tagged(&[]), tagged(&["a", "b"])]).await;
}

/// Every field of the metadata, and free ones.
pub async fn metadata_round_trips(log: &Log) {
    let full = Metadata::new()
        .correlation_id("order-7")
        .causation_id("request-1")
        .user_id("ada")
        .source("shop")
        .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .with("region", "eu");
    let events = [Metadata::new(), full, Metadata::new().user_id("")];
    let event = |metadata: Metadata| fake::event("x").metadata(metadata).build();
    assert_kept(log, events.into_iter().map(event).collect()).await;
}

/// Texts in the metadata that mean something to some database.
pub async fn hostile_metadata_round_trips(log: &Log) {
    let texts =
        ["", "\0", "a\0b", "'", "\"", "\\", "\n", "\u{1f980}", "\u{ffff}", "{\"a\":1}", "%s"];
    let event = |text: &&str| {
        let metadata = Metadata::new().correlation_id(*text).user_id(*text).with(*text, *text);
        fake::event("x").metadata(metadata).build()
    };
    assert_kept(log, texts.iter().map(event).collect()).await;
}

/// Free keys that are called as the known ones.
pub async fn free_metadata_is_apart_from_the_known(log: &Log) {
    let free = Metadata::new().with("correlation_id", "x").with("free", "y").with("user_id", "z");
    let both = free.clone().correlation_id("real");
    let event = |metadata: Metadata| fake::event("x").metadata(metadata).build();
    assert_kept(log, vec![event(free), event(both)]).await;
    assert!(log.find(Read::all().correlated("x")).await.is_empty());
}

/// Event ids of any kind, not only those that the world makes.
pub async fn event_ids_round_trip(log: &Log) {
    let ids = [1, u128::MAX, 0x1234_5678_9abc_4def_8123_4567_89ab_cdef];
    let event =
        |id: &u128| NewEvent { id: EventId::new(Uuid::from_u128(*id)), ..fake::event("x").build() };
    assert_kept(log, ids.iter().map(event).collect()).await;
}

/// When it was recorded is told the same each time.
pub async fn the_time_of_recording_does_not_change(log: &Log) {
    log.have(&stream("a"), 3).await;
    let first: Vec<_> = log.of(&stream("a")).await.iter().map(|one| one.recorded_at).collect();
    log.have(&stream("a"), 1).await;
    let again: Vec<_> = log.find(Read::all()).await.iter().map(|one| one.recorded_at).collect();
    assert_eq!(again[..3], first);
}
