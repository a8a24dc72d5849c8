//! Events that stand for real ones, with short builders.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use es_core::{
    AppendId, ContentType, EventId, Metadata, Name, NewEvent, Position, RecordedEvent, StreamId,
    Tag, Tenant, Version,
};
use serde::Serialize;
use uuid::Builder;

use crate::TestClock;

/// An event of this type, with an id of its own and the payload `{}`.
///
/// # Panics
///
/// If the type is no [`Name`].
///
/// ```
/// use es_core::{Position, StreamId, Version};
/// use es_testkit::fake;
///
/// let new = fake::event("account.deposited").json(&serde_json::json!({"amount": 5})).build();
/// assert_eq!(new.payload, r#"{"amount":5}"#);
///
/// let recorded = fake::event("account.deposited").tag("owner", "ada").recorded("account-1", 3, 40);
/// assert_eq!(recorded.position, Position::new(40));
/// ```
pub fn event(event_type: &str) -> FakeEvent {
    let name = Name::new(event_type).expect("a name for the type of a fake event");
    FakeEvent { event: NewEvent::raw(event_id(), name, ContentType::JSON, "{}") }
}

/// `count` events of the type `thing.happened`, each with another payload.
///
/// ```
/// assert_eq!(es_testkit::fake::events(3).len(), 3);
/// ```
pub fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|n| event("thing.happened").json(&n).build()).collect()
}

/// A stream of the default tenant.
///
/// # Panics
///
/// If the text is no full name of a stream.
///
/// ```
/// assert_eq!(es_testkit::fake::stream("account-1").category(), "account");
/// ```
pub fn stream(full_name: &str) -> StreamId {
    StreamId::parse(full_name).expect("a full name of a stream")
}

/// A tenant.
///
/// # Panics
///
/// If the text is no [`Name`].
///
/// ```
/// assert_eq!(es_testkit::fake::tenant("acme").as_str(), "acme");
/// ```
pub fn tenant(name: &str) -> Tenant {
    Tenant::new(name).expect("a name of a tenant")
}

/// A tag.
///
/// # Panics
///
/// If key and value make no tag.
///
/// ```
/// assert_eq!(es_testkit::fake::tag("course", "rust").as_str(), "course:rust");
/// ```
pub fn tag(key: &str, value: &str) -> Tag {
    Tag::new(key, value).expect("a key and a value of a tag")
}

/// An event id that no other call of this process returns.
///
/// ```
/// assert!(es_testkit::fake::event_id() < es_testkit::fake::event_id());
/// ```
pub fn event_id() -> EventId {
    EventId::new(next_uuid())
}

/// An append id that no other call of this process returns.
///
/// ```
/// assert_ne!(es_testkit::fake::append_id(), es_testkit::fake::append_id());
/// ```
pub fn append_id() -> AppendId {
    AppendId::new(next_uuid())
}

/// A UUID v7 of a fixed time, with a counter in the place of the random part.
fn next_uuid() -> uuid::Uuid {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut counter = [0; 10];
    counter[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let millis = u64::try_from(TestClock::START.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &counter).into_uuid()
}

/// An event under construction; see [`event`].
///
/// ```
/// let event: es_core::NewEvent = es_testkit::fake::event("bell.rung").build();
/// assert_eq!(event.event_type, "bell.rung");
/// ```
#[derive(Debug, Clone)]
pub struct FakeEvent {
    event: NewEvent,
}

impl FakeEvent {
    /// Sets the payload to this value as JSON.
    ///
    /// # Panics
    ///
    /// If the value cannot be written as JSON.
    #[must_use]
    pub fn json(mut self, value: &impl Serialize) -> Self {
        self.event.payload = serde_json::to_vec(value).expect("a value that JSON can hold").into();
        self
    }

    /// Sets the payload to these bytes.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.event.payload = payload.into();
        self
    }

    /// Sets the form of the payload.
    #[must_use]
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.event.content_type = content_type;
        self
    }

    /// Sets the version of the schema.
    #[must_use]
    pub fn schema_version(mut self, version: u32) -> Self {
        self.event.schema_version = version;
        self
    }

    /// Adds a tag.
    ///
    /// # Panics
    ///
    /// If key and value make no tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.event.tags.push(tag(key, value));
        self
    }

    /// Sets the metadata.
    #[must_use]
    pub fn metadata(mut self, metadata: Metadata) -> Self {
        self.event.metadata = metadata;
        self
    }

    /// Sets what it belongs to.
    #[must_use]
    pub fn correlated(mut self, correlation_id: &str) -> Self {
        self.event.metadata = self.event.metadata.correlation_id(correlation_id);
        self
    }

    /// The event, to be appended.
    pub fn build(self) -> NewEvent {
        self.event
    }

    /// The event as a log would hold it, at this version and position.
    ///
    /// # Panics
    ///
    /// If the text is no full name of a stream.
    pub fn recorded(self, stream_name: &str, version: u64, position: u64) -> RecordedEvent {
        let (version, position) = (Version::new(version), Position::new(position));
        let stream = stream(stream_name);
        RecordedEvent::new(
            self.event,
            stream,
            version,
            position,
            Some(append_id()),
            TestClock::START,
        )
    }
}

impl From<FakeEvent> for NewEvent {
    fn from(fake: FakeEvent) -> Self {
        fake.build()
    }
}
