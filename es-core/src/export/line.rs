//! What stands in one line.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    AppendId, ContentType, EventId, Metadata, Name, NewEvent, Position, RecordedEvent, StreamId,
    Tag, Tenant, Version,
};

/// The format that this program writes; it reads no other.
pub(super) const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) gesta_export: u32,
}

/// The last line.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trailer {
    /// How many events there are.
    pub(super) events: u64,
    /// The SHA-256 of all lines before this one, line feeds included.
    pub(super) sha256: String,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line<'l> {
    position: Position,
    tenant: Cow<'l, str>,
    stream: Cow<'l, str>,
    version: Version,
    id: EventId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    append_id: Option<AppendId>,
    recorded_at: DateTime<Utc>,
    #[serde(rename = "type")]
    event_type: Cow<'l, str>,
    schema_version: u32,
    content_type: Cow<'l, str>,
    #[serde(default, skip_serializing_if = "<[Tag]>::is_empty")]
    tags: Cow<'l, [Tag]>,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    metadata: Cow<'l, Metadata>,
    /// The payload, if it is JSON in one line; its very bytes.
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    json: Option<&'l RawValue>,
    /// Any other payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<Cow<'l, str>>,
}

impl<'l> Line<'l> {
    pub(super) fn of(event: &'l RecordedEvent) -> Self {
        let json = json(event);
        let base64 = || Cow::Owned(STANDARD.encode(&event.payload));
        Self {
            position: event.position,
            tenant: event.stream.tenant().as_str().into(),
            stream: event.stream.name().into(),
            version: event.version,
            id: event.id,
            append_id: event.append_id,
            recorded_at: event.recorded_at,
            event_type: event.event_type.as_str().into(),
            schema_version: event.schema_version,
            content_type: event.content_type.as_str().into(),
            tags: event.tags.as_slice().into(),
            metadata: Cow::Borrowed(&event.metadata),
            json,
            base64: json.is_none().then(base64),
        }
    }

    pub(super) fn event(self) -> Result<RecordedEvent, String> {
        let payload = match (self.json, self.base64) {
            (Some(json), None) => Bytes::copy_from_slice(json.get().as_bytes()),
            (None, Some(text)) => STANDARD.decode(text.as_bytes()).map_err(why)?.into(),
            _ => return Err("it has one of `json` and `base64`".into()),
        };
        let event = NewEvent {
            id: self.id,
            event_type: Name::new(self.event_type).map_err(why)?,
            schema_version: self.schema_version,
            content_type: ContentType::new(Name::new(self.content_type).map_err(why)?),
            tags: self.tags.into_owned(),
            metadata: self.metadata.into_owned(),
            payload,
        };
        let tenant = Tenant::new(self.tenant).map_err(why)?;
        let stream = StreamId::parse(self.stream).map_err(why)?.of(tenant);
        let Self { version, position, append_id, recorded_at, .. } = self;
        Ok(RecordedEvent::new(event, stream, version, position, append_id, recorded_at))
    }
}

/// The payload as it is, if a line gives back its very bytes.
fn json(event: &RecordedEvent) -> Option<&RawValue> {
    let payload = &event.payload[..];
    if event.content_type != ContentType::JSON || payload == b"null" {
        return None;
    }
    let json: &RawValue = serde_json::from_slice(payload).ok()?;
    // Spaces around it are cut off, and a line ends at a line feed.
    let is_whole = json.get().len() == payload.len();
    (is_whole && !payload.iter().any(|byte| matches!(byte, b'\n' | b'\r'))).then_some(json)
}

fn why(error: impl ToString) -> String {
    error.to_string()
}
