//! A message on the server: its payload as it is, and in headers all else.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use es_core::{ContentType, Message, Metadata, Name, StoreError, StoreErrorKind, Tenant, World};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const ENVELOPE: &str = "gesta-envelope";
/// What tells this message of a queue, or this record of a log, from every other one.
const UID: &str = "gesta-uid";
/// The delivery mode of what is written to a disk.
const PERSISTENT: u8 = 2;

/// What tells one thing that was written from every other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Uid(u128);

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

impl Uid {
    pub(crate) fn new(world: &World) -> Self {
        Self(u128::from(world.random_u64()) << 64 | u128::from(world.random_u64()))
    }
}

impl From<Uid> for String {
    fn from(uid: Uid) -> Self {
        format!("{:032x}", uid.0)
    }
}

impl TryFrom<String> for Uid {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

impl Unreadable {
    pub(crate) fn missing(name: &str) -> Self {
        Self(format!("it has no header {name}").into())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Headers of something with this number of its own.
pub(crate) fn headers(uid: Uid) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(UID.into(), AMQPValue::LongString(String::from(uid).into()));
    headers
}

/// Adds all of the message but its payload.
pub(crate) fn put_message(headers: &mut FieldTable, message: &Message) -> Result<(), StoreError> {
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
    put(headers, ENVELOPE, &written)
}

pub(crate) fn message(properties: &BasicProperties, payload: Bytes) -> Result<Message, Unreadable> {
    let read: Option<Read> = get(properties, ENVELOPE)?;
    let read = read.ok_or_else(|| Unreadable::missing(ENVELOPE))?;
    let content_type = ContentType::new(read.content);
    let mut message = Message::new(read.id, read.kind, content_type, payload)
        .of(read.tenant)
        .with_metadata(read.metadata);
    (message.schema_version, message.key) = (read.version, read.key);
    (message.time, message.expires) = (read.time, read.expires);
    Ok(message)
}

/// What stands for a message that nobody can read.
pub(crate) fn unreadable(properties: &BasicProperties, payload: Bytes) -> Message {
    let id = properties.message_id().as_ref().map_or("", ShortString::as_str);
    Message::new(id, Name::from_static("unreadable"), ContentType::BYTES, payload)
}

/// What is on a disk before it is confirmed.
pub(crate) fn lasting() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(PERSISTENT)
}

/// What others than this program can read of a message too, if it fits.
pub(crate) fn described(mut properties: BasicProperties, message: &Message) -> BasicProperties {
    let short = |text: &str| ShortString::try_new(text).ok();
    if let Some(id) = short(&message.id) {
        properties = properties.with_message_id(id);
    }
    if let Some(kind) = short(&message.kind) {
        properties = properties.with_type(kind);
    }
    if let Some(content) = short(message.content_type.as_str()) {
        properties = properties.with_content_type(content);
    }
    properties
}

pub(crate) fn uid(properties: &BasicProperties) -> Option<Uid> {
    Uid::try_from(text(properties, UID)?).ok()
}

/// A number that the server has written into a header.
pub(crate) fn number(properties: &BasicProperties, name: &str) -> Option<u64> {
    let found = properties.headers().as_ref()?.inner().get(name)?;
    match found {
        AMQPValue::LongLongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongInt(number) => u64::try_from(*number).ok(),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::ShortShortInt(number) => u64::try_from(*number).ok(),
        AMQPValue::Timestamp(number) => Some(*number),
        _ => None,
    }
}

/// JSON, so that it says what it is.
pub(crate) fn put(
    headers: &mut FieldTable,
    name: &'static str,
    value: &impl Serialize,
) -> Result<(), StoreError> {
    let invalid = |why: serde_json::Error| {
        StoreError::new(StoreErrorKind::Invalid, format!("it cannot be written: {why}"))
    };
    let text = serde_json::to_string(value).map_err(invalid)?;
    headers.insert(name.into(), AMQPValue::LongString(text.into()));
    Ok(())
}

pub(crate) fn get<T: DeserializeOwned>(
    properties: &BasicProperties,
    name: &'static str,
) -> Result<Option<T>, Unreadable> {
    let Some(found) = text(properties, name) else { return Ok(None) };
    let unreadable = |why| Unreadable(format!("the header {name} is malformed: {why}").into());
    serde_json::from_str(&found).map(Some).map_err(unreadable)
}

fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        _ => None,
    }
}

/// How many bytes the headers take, roughly.
pub(crate) fn size(headers: &FieldTable) -> usize {
    let one = |(name, value): (&ShortString, &AMQPValue)| {
        let value = value.as_long_string().map_or(16, LongString::len);
        name.as_str().len() + value + 6
    };
    headers.inner().iter().map(one).sum()
}
