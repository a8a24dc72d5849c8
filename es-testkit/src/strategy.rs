//! Strategies for proptest: names, streams, events, batches.
//!
//! ```
//! use es_testkit::strategy;
//! use proptest::prelude::*;
//!
//! proptest!(|(batch in strategy::batch())| {
//!     prop_assert!(batch.check().is_ok());
//! });
//! ```

use chrono::{DateTime, Utc};
use es_core::{
    Address, Batch, ContentType, Expected, Group, Message, Metadata, Name, NewEvent, StreamId, Tag,
    Tenant, Topic, Version,
};
use proptest::{
    collection::{btree_map, vec},
    option::of,
    prelude::*,
    sample::select,
};

use crate::fake;

/// Any text that is a name, hostile ones among them.
pub fn name() -> impl Strategy<Value = Name> {
    "\\PC{1,40}".prop_filter_map("no name", |text| Name::new(text).ok())
}

/// One of two tenants.
pub fn tenant() -> impl Strategy<Value = Tenant> {
    select(vec![Tenant::default(), fake::tenant("acme")])
}

/// One of a few streams, so that they meet.
pub fn stream() -> impl Strategy<Value = StreamId> {
    select(vec!["account-a", "account-b", "order-a", "order-b"]).prop_map(fake::stream)
}

/// One of a few tags, so that they meet.
pub fn tag() -> impl Strategy<Value = Tag> {
    select(vec![("colour", "red"), ("colour", "green"), ("size", "s")])
        .prop_map(|(key, value)| fake::tag(key, value))
}

/// An event of one of a few types, with any bytes.
pub fn event() -> impl Strategy<Value = NewEvent> {
    let event_type = select(vec!["opened", "closed", "moved"]);
    (event_type, vec(any::<u8>(), 0..64), vec(tag(), 0..3)).prop_map(|(event_type, bytes, tags)| {
        let mut event = fake::event(event_type).payload(bytes).build();
        event.content_type = es_core::ContentType::BYTES;
        event.tags = tags;
        event
    })
}

/// What a stream may be expected to look like.
pub fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        3 => Just(Expected::Any),
        1 => Just(Expected::NoStream),
        1 => Just(Expected::Exists),
        2 => (0..8_u64).prop_map(|version| Expected::Exact(Version::new(version))),
    ]
}

/// A topic or a queue.
pub fn address() -> impl Strategy<Value = Address> {
    let word = "[a-z_-]{1,8}";
    prop_oneof![
        word.prop_filter_map("no topic", |text| Topic::new(text).ok().map(Address::from)),
        word.prop_filter_map("no group", |text| Group::new(text).ok().map(Address::from)),
    ]
}

/// A message with something or nothing in each of its fields.
pub fn message() -> impl Strategy<Value = Message> {
    let of_message = (text(), name(), 1..=u32::MAX, tenant(), of(text()));
    let around = (of(time()), of(time()), name(), metadata(), vec(any::<u8>(), 0..64));
    (of_message, around).prop_map(|((id, kind, schema_version, tenant, key), around)| {
        let (time, expires, content_type, metadata, payload) = around;
        let mut message = Message::new(id, kind, ContentType::new(content_type), payload);
        (message.schema_version, message.key) = (schema_version, key);
        (message.time, message.expires) = (time, expires);
        message.of(tenant).with_metadata(metadata)
    })
}

/// Metadata of any texts.
pub fn metadata() -> impl Strategy<Value = Metadata> {
    let free = btree_map("[a-z]{0,6}|outbox", text(), 0..4);
    (of(text()), of(text()), of(text()), free).prop_map(|(correlation, causation, user, free)| {
        let set = |metadata, value: Option<String>, set: fn(Metadata, String) -> Metadata| {
            value.into_iter().fold(metadata, set)
        };
        let metadata = set(Metadata::new(), correlation, Metadata::correlation_id);
        let metadata = set(metadata, causation, Metadata::causation_id);
        let metadata = set(metadata, user, Metadata::user_id);
        free.into_iter().fold(metadata, |metadata, (key, value)| metadata.with(key, value))
    })
}

/// Any text, with what other texts must not hold.
pub fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..24).prop_map(String::from_iter)
}

/// A time within some thousand years, to the nanosecond.
pub fn time() -> impl Strategy<Value = DateTime<Utc>> {
    let seconds = -100_000_000_000_i64..100_000_000_000;
    (seconds, 0..1_000_000_000_u32)
        .prop_filter_map("no time", |(seconds, nanos)| DateTime::from_timestamp(seconds, nanos))
}

/// A batch for one stream.
pub fn batch() -> impl Strategy<Value = Batch> {
    (stream(), expected(), vec(event(), 1..5))
        .prop_map(|(stream, expected, events)| Batch::to(stream).expect(expected).events(events))
}
