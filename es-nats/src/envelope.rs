//! A message on the server: its payload as it is, and in headers all else.

use std::{fmt, sync::Arc};

use async_nats::HeaderMap;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use es_core::{Address, ContentType, Message, Metadata, Name, StoreError, StoreErrorKind, Tenant};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const ENVELOPE: &str = "Gesta-Envelope";
/// Where it was published to, if its subject does not say so.
const TO: &str = "Gesta-To";
/// The number of a dead letter that is given back.
const NUMBER: &str = "Gesta-Number";
/// No message, but something that a group is told between two of them.
const NOTICE: &str = "Gesta-Notice";

/// What is told to whoever reads for a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Notice {
    /// It listens to more than before: look at its charter.
    Listens,
    /// This dead letter is gone.
    Discarded(u64),
}

#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    kind: &'a Name,
    version: u32,
    tenant: &'a Tenant,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<DateTime<Utc>>,
    content: &'a str,
    metadata: &'a Metadata,
}

#[derive(Deserialize)]
struct Read {
    id: String,
    kind: Name,
    version: u32,
    tenant: Tenant,
    key: Option<String>,
    time: Option<DateTime<Utc>>,
    expires: Option<DateTime<Utc>>,
    content: Name,
    metadata: Metadata,
}

/// Why nobody can read a message.
#[derive(Debug, Clone)]
pub(crate) struct Unreadable(Arc<str>);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) fn headers(message: &Message) -> Result<HeaderMap, StoreError> {
    let written = Written {
        id: &message.id,
        kind: &message.kind,
        version: message.schema_version,
        tenant: &message.tenant,
        key: message.key.as_deref(),
        time: message.time,
        expires: message.expires,
        content: message.content_type.as_str(),
        metadata: &message.metadata,
    };
    let mut headers = HeaderMap::new();
    put(&mut headers, ENVELOPE, &written)?;
    Ok(headers)
}

pub(crate) fn message(headers: Option<&HeaderMap>, payload: Bytes) -> Result<Message, Unreadable> {
    let read: Option<Read> = get(headers, ENVELOPE)?;
    let missing = || Unreadable(format!("it has no header {ENVELOPE}").into());
    let read = read.ok_or_else(missing)?;
    let content_type = ContentType::new(read.content);
    let mut message = Message::new(read.id, read.kind, content_type, payload)
        .of(read.tenant)
        .with_metadata(read.metadata);
    (message.schema_version, message.key) = (read.version, read.key);
    (message.time, message.expires) = (read.time, read.expires);
    Ok(message)
}

/// The headers of what goes to one group alone, though it was published to this address.
pub(crate) fn redirect(
    headers: &mut HeaderMap,
    to: &Address,
    number: Option<u64>,
) -> Result<(), StoreError> {
    put(headers, TO, to)?;
    number.map_or(Ok(()), |number| put(headers, NUMBER, &number))
}

/// Where it was published to, and its number if it was given back.
pub(crate) fn redirected(
    headers: Option<&HeaderMap>,
) -> Result<(Option<Address>, Option<u64>), Unreadable> {
    Ok((get(headers, TO)?, get(headers, NUMBER)?))
}

pub(crate) fn notice(notice: Notice) -> Result<HeaderMap, StoreError> {
    let mut headers = HeaderMap::new();
    put(&mut headers, NOTICE, &notice)?;
    Ok(headers)
}

pub(crate) fn noticed(headers: Option<&HeaderMap>) -> Result<Option<Notice>, Unreadable> {
    get(headers, NOTICE)
}

/// JSON escapes what a header cannot have.
pub(crate) fn put(
    headers: &mut HeaderMap,
    name: &'static str,
    value: &impl Serialize,
) -> Result<(), StoreError> {
    let invalid = |why: serde_json::Error| {
        StoreError::new(StoreErrorKind::Invalid, format!("it cannot be written: {why}"))
    };
    headers.insert(name, serde_json::to_string(value).map_err(invalid)?);
    Ok(())
}

pub(crate) fn get<T: DeserializeOwned>(
    headers: Option<&HeaderMap>,
    name: &'static str,
) -> Result<Option<T>, Unreadable> {
    let Some(found) = headers.and_then(|headers| headers.get(name)) else { return Ok(None) };
    let unreadable = |why| Unreadable(format!("the header {name} is malformed: {why}").into());
    serde_json::from_str(found.as_str()).map(Some).map_err(unreadable)
}

/// How many bytes of a message the headers take, roughly.
pub(crate) fn size(headers: &HeaderMap) -> usize {
    let lines = headers.iter().flat_map(|(name, values)| {
        let name: &str = name.as_ref();
        values.iter().map(move |value| name.len() + value.as_str().len() + 4)
    });
    lines.sum::<usize>() + "NATS/1.0\r\n\r\n".len()
}
