use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    Address, AppendId, Batch, Codec, DecodeError, EventId, Message, Name, NewEvent, RecordedEvent,
    StreamId, Write, id::fingerprint,
};

/// The category of the streams that are the outbox of a log. Leave it to [`Outgoing`].
pub const OUTBOX: &str = "outbox";
/// The type of the events that hold a message each.
pub const OUTBOX_MESSAGE: Name = Name::from_static("outbox.message");

/// Where in the metadata of such an event all that an event has no place for stands.
const LABEL: &str = "outbox";
/// How many streams messages without a key are spread over.
const SPREAD: u128 = 1_024;

/// A message on its way through the log: appended, it is published once the append is
/// committed, by whoever relays the outbox.
///
/// It goes wherever a [`Write`] goes: beside the events of an aggregate, alone, or into a
/// transaction of your own. Its key is its stream, so that messages with one key keep their
/// order, and whoever appends one waits for the transaction that holds the one before. Messages
/// without a key are spread over many streams.
///
/// ```
/// use es_core::{Batch, ContentType, EventStore, EventStoreExt, Message, Name, OUTBOX, Outgoing};
/// use es_core::{Read, Topic, memory::MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kind = Name::new("order.placed")?;
/// let placed = Message::new("7", kind, ContentType::JSON, "{}").with_key("ada");
/// let outgoing = Outgoing::new(Topic::new("order.placed")?, placed);
///
/// let store = MemoryStore::new();
/// store.append(Batch::from(outgoing.clone())).await?;
/// let appended = store.events(Read::category(OUTBOX)?).await?;
/// assert_eq!(appended[0].stream.id(), "ada");
/// assert_eq!(Outgoing::try_from(&appended[0])?, outgoing);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing {
    /// Where it is to be published.
    pub to: Address,
    /// What.
    pub message: Message,
}

/// What an event has no place for.
#[derive(Serialize, Deserialize)]
struct Label {
    to: Address,
    id: String,
    kind: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<DateTime<Utc>>,
    /// What stood in the message's own metadata where the label stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
}

impl Outgoing {
    /// This message, for this address.
    pub fn new(to: impl Into<Address>, message: Message) -> Self {
        Self { to: to.into(), message }
    }

    fn stream(&self) -> StreamId {
        let Message { id, key, tenant, .. } = &self.message;
        let stream = match key {
            Some(key) => StreamId::new(OUTBOX, key).or_else(|_| StreamId::new(OUTBOX, short(key))),
            None => StreamId::new(OUTBOX, format_args!("~{}", fingerprint(id.as_bytes()) % SPREAD)),
        };
        stream.expect("a short text without control characters makes a stream").of(tenant.clone())
    }

    /// Of its own, as one message may go to several addresses.
    fn event_id(&self) -> EventId {
        let whole = format!("{}\n{}", self.to, self.message.id);
        EventId::new(AppendId::derive(&whole).uuid())
    }
}

/// Stands for a key that is no name.
fn short(key: &str) -> String {
    format!("~{:032x}", fingerprint(key.as_bytes()))
}

impl From<Outgoing> for Write {
    fn from(outgoing: Outgoing) -> Self {
        let (stream, id) = (outgoing.stream(), outgoing.event_id());
        let Outgoing { to, message } = outgoing;
        let Message { kind, key, time, expires, metadata, .. } = message;
        let replaced = metadata.get(LABEL).map(str::to_owned);
        let label = Label { to, id: message.id, kind, key, time, expires, replaced };
        let label = serde_json::to_string(&label).expect("texts and times make JSON");
        let event = NewEvent {
            id,
            event_type: OUTBOX_MESSAGE,
            schema_version: message.schema_version,
            content_type: message.content_type,
            tags: Vec::new(),
            metadata: metadata.with(LABEL, label),
            payload: message.payload,
        };
        Self::new(stream).events([event])
    }
}

impl From<Outgoing> for Batch {
    fn from(outgoing: Outgoing) -> Self {
        Self::new([outgoing.into()])
    }
}

/// The message as it was appended.
impl TryFrom<&RecordedEvent> for Outgoing {
    type Error = DecodeError;

    fn try_from(event: &RecordedEvent) -> Result<Self, DecodeError> {
        let unknown = || DecodeError::UnknownType { event_type: event.event_type.to_string() };
        let label = event.metadata.get(LABEL).filter(|_| event.event_type == OUTBOX_MESSAGE);
        let label = label.ok_or_else(unknown)?;
        let Label { to, id, kind, key, time, expires, replaced } =
            Codec::Json.decode_value(label.as_bytes())?;
        let metadata = event.metadata.clone().without(LABEL);
        let message = Message {
            id,
            kind,
            schema_version: event.schema_version,
            tenant: event.stream.tenant().clone(),
            key,
            time,
            expires,
            content_type: event.content_type.clone(),
            metadata: match replaced {
                Some(value) => metadata.with(LABEL, value),
                None => metadata,
            },
            payload: event.payload.clone(),
        };
        Ok(Self { to, message })
    }
}
