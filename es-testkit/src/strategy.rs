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

use es_core::{Batch, Expected, Name, NewEvent, StreamId, Tag, Tenant, Version};
use proptest::{collection::vec, prelude::*, sample::select};

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

/// A batch for one stream.
pub fn batch() -> impl Strategy<Value = Batch> {
    (stream(), expected(), vec(event(), 1..5))
        .prop_map(|(stream, expected, events)| Batch::to(stream).expect(expected).events(events))
}
