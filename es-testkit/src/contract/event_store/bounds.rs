//! The limits that every store shares: at the bound, and one above it.

use es_core::{
    AppendError, Batch, ContentType, InvalidBatch, Metadata, Name, NewEvent, StreamId, Tag, Tenant,
    Write, limits,
};

use super::scene::{Log, stream, to};
use crate::fake::{self, FakeEvent};

async fn assert_takes(log: &Log, events: Vec<NewEvent>) {
    let before = log.everything().await.len();
    let count = events.len();
    let payloads: Vec<_> = events.iter().map(|event| event.payload.clone()).collect();
    log.must(Batch::to(stream("a")).events(events)).await;
    let found = log.of(&stream("a")).await;
    assert_eq!(found.len(), before + count);
    assert!(found[before..].iter().map(|event| &event.payload).eq(&payloads));
}

async fn refusal(log: &Log, events: Vec<NewEvent>) -> InvalidBatch {
    let before = log.everything().await.len();
    let refusal = log.refused(Batch::to(stream("a")).events(events)).await;
    log.assert_holds(before).await;
    match refusal {
        AppendError::Invalid(invalid) => invalid,
        other => panic!("the batch is invalid, and not {other:?}"),
    }
}

fn bytes(count: usize) -> FakeEvent {
    fake::event("film").content_type(ContentType::BYTES).payload(vec![7; count])
}

/// A batch of [`limits::BATCH_EVENTS`] events, and no more.
pub async fn a_batch_has_at_most_so_many_events(log: &Log) {
    assert_takes(log, fake::events(limits::BATCH_EVENTS)).await;
    let invalid = refusal(log, fake::events(limits::BATCH_EVENTS + 1)).await;
    assert!(matches!(invalid, InvalidBatch::TooManyEvents { .. }), "{invalid:?}");
}

/// The events of a batch are counted over all its writes.
pub async fn the_events_of_all_writes_count(log: &Log) {
    let rest = Write::new(stream("a")).events(fake::events(limits::BATCH_EVENTS));
    let refusal = log.refused(to(&stream("a"), 1).write(rest)).await;
    let invalid = matches!(refusal, AppendError::Invalid(InvalidBatch::TooManyEvents { .. }));
    assert!(invalid, "{refusal:?}");
}

/// A payload of [`limits::PAYLOAD_BYTES`], and no more.
pub async fn a_payload_has_at_most_so_many_bytes(log: &Log) {
    assert_takes(log, vec![bytes(limits::PAYLOAD_BYTES).build()]).await;
    let invalid = refusal(log, vec![bytes(limits::PAYLOAD_BYTES + 1).build()]).await;
    assert!(matches!(invalid, InvalidBatch::PayloadTooLarge { .. }), "{invalid:?}");
}

/// Payloads of [`limits::BATCH_BYTES`] together, and no more.
pub async fn a_batch_has_at_most_so_many_bytes(log: &Log) {
    let quarter = || bytes(limits::BATCH_BYTES / 4).build();
    assert_takes(log, vec![quarter(), quarter(), quarter(), quarter()]).await;
    let over = vec![quarter(), quarter(), quarter(), quarter(), bytes(1).build()];
    let invalid = refusal(log, over).await;
    assert!(matches!(invalid, InvalidBatch::TooManyBytes { .. }), "{invalid:?}");
}

fn tagged(count: usize) -> NewEvent {
    let event = fake::event("tagged");
    (0..count).fold(event, |event, n| event.tag("n", &n.to_string())).build()
}

/// [`limits::TAGS`] tags on an event, and no more.
pub async fn an_event_has_at_most_so_many_tags(log: &Log) {
    assert_takes(log, vec![tagged(limits::TAGS)]).await;
    assert_eq!(log.of(&stream("a")).await[0].tags.len(), limits::TAGS);
    let invalid = refusal(log, vec![tagged(limits::TAGS + 1)]).await;
    assert!(matches!(invalid, InvalidBatch::TooManyTags { .. }), "{invalid:?}");
}

fn described(count: usize) -> NewEvent {
    let metadata = Metadata::new().with("k", "m".repeat(count - 1));
    fake::event("described").metadata(metadata).build()
}

/// Metadata of [`limits::METADATA_BYTES`], and no more.
pub async fn metadata_has_at_most_so_many_bytes(log: &Log) {
    assert_takes(log, vec![described(limits::METADATA_BYTES)]).await;
    let invalid = refusal(log, vec![described(limits::METADATA_BYTES + 1)]).await;
    assert!(matches!(invalid, InvalidBatch::MetadataTooLarge { .. }), "{invalid:?}");
}

fn nested(depth: usize) -> NewEvent {
    fake::event("nested").payload("[".repeat(depth) + &"]".repeat(depth)).build()
}

/// JSON of [`limits::JSON_DEPTH`] levels, and no deeper.
pub async fn json_is_at_most_so_deep(log: &Log) {
    assert_takes(log, vec![nested(limits::JSON_DEPTH)]).await;
    let invalid = refusal(log, vec![nested(limits::JSON_DEPTH + 1)]).await;
    assert!(matches!(invalid, InvalidBatch::TooDeep { .. }), "{invalid:?}");
}

/// Brackets in a text are no nesting, and bytes are no JSON.
pub async fn depth_is_for_json_alone(log: &Log) {
    let text = serde_json::to_vec(&"[{".repeat(500)).expect("a text");
    let bytes = fake::event("x").content_type(ContentType::BYTES).payload("[".repeat(500));
    assert_takes(log, vec![fake::event("x").payload(text).build(), bytes.build()]).await;
}

/// Types that begin with `$` are the framework's.
pub async fn a_reserved_type_is_invalid(log: &Log) {
    let invalid = refusal(log, vec![fake::event("$dropped").build()]).await;
    assert!(matches!(invalid, InvalidBatch::ReservedType { .. }), "{invalid:?}");
    assert_takes(log, vec![fake::event("a$").build()]).await;
}

/// One bad event spoils the batch.
pub async fn one_event_above_a_bound_spoils_its_batch(log: &Log) {
    let mut events = fake::events(20);
    events.push(bytes(limits::PAYLOAD_BYTES + 1).build());
    refusal(log, events).await;
}

/// Names of [`limits::NAME_BYTES`] bytes everywhere, and no longer.
pub async fn names_have_at_most_so_many_bytes(log: &Log) {
    let long = |bytes: usize| "n".repeat(bytes);
    let most = limits::NAME_BYTES;
    let whole = StreamId::new("thing", long(most - "thing-".len())).expect("255 bytes");
    let whole = whole.of(Tenant::new(long(most)).expect("255 bytes"));
    let event = fake::event(&long(most)).tag("k", &long(most - 2));
    log.must(Batch::to(whole.clone()).event(event.build())).await;
    let found = log.of(&whole).await;
    assert_eq!((found[0].event_type.len(), found[0].tags[0].as_str().len()), (most, most));
    assert_eq!((&found[0].stream, found[0].stream.name().len()), (&whole, most));
    assert!(Name::new(long(most + 1)).is_err());
    assert!(Tenant::new(long(most + 1)).is_err());
    assert!(Tag::new("k", long(most - 1)).is_err());
    assert!(StreamId::new("thing", long(most - "thing-".len() + 1)).is_err());
}
