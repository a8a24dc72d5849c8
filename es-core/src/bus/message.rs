use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{ContentType, Metadata, Name, RecordedEvent, Tenant};

/// The free metadata that marks a replay, in the message and on the wire.
const REPLAY: &str = "replay";

/// Something to be told to whoever listens.
///
/// ```
/// use es_core::{ContentType, Message, Name};
///
/// let kind = Name::new("order.placed")?;
/// let message = Message::new("7", kind, ContentType::JSON, "{}").with_key("customer-1");
/// assert_eq!(message.key.as_deref(), Some("customer-1"));
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its identity, by which receivers notice a repetition.
    pub id: String,
    /// The wire name of its type.
    pub kind: Name,
    /// The version of the schema of its payload, from 1.
    pub schema_version: u32,
    /// Whose it is.
    pub tenant: Tenant,
    /// Messages of one tenant with one key keep their order.
    pub key: Option<String>,
    /// When what it tells of happened.
    pub time: Option<DateTime<Utc>>,
    /// After this nobody wants to hear of it any more.
    pub expires: Option<DateTime<Utc>>,
    /// The form of the payload.
    pub content_type: ContentType,
    /// What is known beside its data.
    pub metadata: Metadata,
    /// Its data.
    pub payload: Bytes,
}

impl Message {
    /// A message of the default tenant and of schema version 1, without anything else.
    pub fn new(
        id: impl Into<String>,
        kind: Name,
        content_type: ContentType,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self {
            id: id.into(),
            kind,
            schema_version: 1,
            tenant: Tenant::default(),
            key: None,
            time: None,
            expires: None,
            content_type,
            metadata: Metadata::new(),
            payload: payload.into(),
        }
    }

    /// Sets the key within which order is kept.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets whose it is.
    #[must_use]
    pub fn of(mut self, tenant: Tenant) -> Self {
        self.tenant = tenant;
        self
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Sets after when nobody wants to hear of it any more.
    #[must_use]
    pub fn expiring(mut self, at: DateTime<Utc>) -> Self {
        self.expires = Some(at);
        self
    }

    /// Marks it as a replay: told once more because somebody wants it so. It stays the same
    /// message, with the same id. The mark is the free metadata `replay` and goes wherever
    /// the message goes.
    ///
    /// ```
    /// use es_core::{ContentType, Message, Name};
    ///
    /// let message = Message::new("7", Name::new("order.placed")?, ContentType::JSON, "{}");
    /// assert!(!message.is_replay());
    /// assert!(message.replayed().is_replay());
    /// # Ok::<(), es_core::NameError>(())
    /// ```
    #[must_use]
    pub fn replayed(mut self) -> Self {
        self.metadata = self.metadata.with(REPLAY, "true");
        self
    }

    /// Whether it is a [replay](Self::replayed).
    pub fn is_replay(&self) -> bool {
        self.metadata.get(REPLAY) == Some("true")
    }
}

/// What the log holds, told to others: the event's id is the message's, and the events of
/// a stream keep their order.
impl From<&RecordedEvent> for Message {
    fn from(event: &RecordedEvent) -> Self {
        Self {
            id: event.id.to_string(),
            kind: event.event_type.clone(),
            schema_version: event.schema_version,
            tenant: event.stream.tenant().clone(),
            key: Some(event.stream.to_string()),
            time: Some(event.recorded_at),
            expires: None,
            content_type: event.content_type.clone(),
            metadata: event.metadata.clone(),
            payload: event.payload.clone(),
        }
    }
}
