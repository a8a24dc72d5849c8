//! How events become bytes, and bytes events.

use std::cell::Cell;

use bytes::Bytes;
use serde::{
    Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, IgnoredAny},
};
use thiserror::Error;

use crate::{Event, Message, Name, RecordedEvent, variant};

/// The form of a payload: a MIME type.
///
/// ```
/// use es_core::{Codec, ContentType};
///
/// assert_eq!(ContentType::JSON.as_str(), "application/json");
/// assert_eq!(Codec::Json.content_type(), ContentType::JSON);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentType(Name);

impl ContentType {
    /// JSON, the default.
    pub const JSON: Self = Self(Name::from_static("application/json"));
    /// MessagePack with field names.
    pub const MESSAGEPACK: Self = Self(Name::from_static("application/msgpack"));
    /// Bytes that only their writer understands.
    pub const BYTES: Self = Self(Name::from_static("application/octet-stream"));

    /// The content type with this name.
    pub const fn new(name: Name) -> Self {
        Self(name)
    }

    /// The MIME type.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A way to write payloads, chosen for each bus; every program
/// reads what any of them wrote, because the content type is stored with each
/// event.
///
/// ```
/// use es_core::Codec;
///
/// let bytes = Codec::Json.encode_value(&[1, 2, 3])?;
/// let back: Vec<u8> = Codec::Json.decode_value(&bytes)?;
/// assert_eq!(back, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// JSON.
    #[default]
    Json,
    /// MessagePack with field names: smaller and faster, and as free to evolve.
    #[cfg(feature = "messagepack")]
    MessagePack,
}

impl Codec {
    /// The content type that this codec writes.
    pub const fn content_type(self) -> ContentType {
        match self {
            Self::Json => ContentType::JSON,
            #[cfg(feature = "messagepack")]
            Self::MessagePack => ContentType::MESSAGEPACK,
        }
    }

    /// The codec that reads this content type.
    ///
    /// # Errors
    ///
    /// [`DecodeError::ContentType`] if this program was built with none.
    pub fn of(content_type: &ContentType) -> Result<Self, DecodeError> {
        if *content_type == ContentType::JSON {
            return Ok(Self::Json);
        }
        #[cfg(feature = "messagepack")]
        if *content_type == ContentType::MESSAGEPACK {
            return Ok(Self::MessagePack);
        }
        Err(DecodeError::ContentType(content_type.as_str().to_owned()))
    }

    /// Writes the fields of an event, without the name of its type.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if serde cannot write it.
    pub fn encode<E: Event>(self, event: &E) -> Result<Bytes, EncodeError> {
        self.encode_value(&variant::Fields(event))
    }

    /// Writes any value.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if serde cannot write it.
    pub fn encode_value<T: Serialize + ?Sized>(self, value: &T) -> Result<Bytes, EncodeError> {
        match self {
            Self::Json => in_scratch(|scratch| serde_json::to_writer(scratch, value)),
            #[cfg(feature = "messagepack")]
            Self::MessagePack => in_scratch(|scratch| {
                value.serialize(&mut rmp_serde::Serializer::new(scratch).with_struct_map())
            }),
        }
    }

    /// Reads the fields of the event whose type stands at `index`.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Payload`] if the bytes do not fit the type.
    pub fn decode<E: Event>(self, index: usize, bytes: &[u8]) -> Result<E, DecodeError> {
        let refused = |source| DecodeError::payload::<E>(index, source);
        match self {
            Self::Json => {
                let mut json = serde_json::Deserializer::from_slice(bytes);
                let event = variant::read(index, &mut json).map_err(|e| refused(Box::new(e)))?;
                json.end().map_err(|e| refused(Box::new(e)))?;
                Ok(event)
            }
            #[cfg(feature = "messagepack")]
            Self::MessagePack => {
                let mut pack = rmp_serde::Deserializer::new(bytes);
                let event = variant::read(index, &mut pack).map_err(|e| refused(Box::new(e)))?;
                ended(&pack).map_err(|e| refused(Box::new(e)))?;
                Ok(event)
            }
        }
    }

    /// Reads any value.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Value`] if the bytes do not fit.
    pub fn decode_value<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        match self {
            Self::Json => {
                serde_json::from_slice(bytes).map_err(|e| DecodeError::Value(Box::new(e)))
            }
            #[cfg(feature = "messagepack")]
            Self::MessagePack => {
                let mut pack = rmp_serde::Deserializer::new(bytes);
                let value = T::deserialize(&mut pack);
                let value = value.and_then(|value| ended(&pack).map(|()| value));
                value.map_err(|e| DecodeError::Value(Box::new(e)))
            }
        }
    }
}

impl RecordedEvent {
    /// Decodes the payload as one of `E`'s types; `None` if it has no such type.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the type is known but the payload does not fit it, or
    /// was written by a program with a newer schema version.
    pub fn decode<E: Event>(&self) -> Result<Option<E>, DecodeError> {
        decode(&self.event_type, self.schema_version, &self.content_type, &self.payload)
    }
}

impl Message {
    /// The message that tells of `event`: of its type, its schema version and its data.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if serde cannot write the event.
    pub fn encode<E: Event>(
        event: &E,
        id: impl Into<String>,
        codec: Codec,
    ) -> Result<Self, EncodeError> {
        let kind = event.event_type();
        let (name, payload) = (Name::from_static(kind.name), codec.encode(event)?);
        let mut message = Self::new(id, name, codec.content_type(), payload);
        message.schema_version = kind.version;
        Ok(message)
    }

    /// Decodes the payload as one of `E`'s types; `None` if it has no such type.
    ///
    /// # Errors
    ///
    /// As of [`RecordedEvent::decode`].
    pub fn decode<E: Event>(&self) -> Result<Option<E>, DecodeError> {
        decode(&self.kind, self.schema_version, &self.content_type, &self.payload)
    }
}

fn decode<E: Event>(
    event_type: &Name,
    schema_version: u32,
    content_type: &ContentType,
    payload: &[u8],
) -> Result<Option<E>, DecodeError> {
    let Some(index) = E::index_of(event_type) else { return Ok(None) };
    let known = &E::TYPES[index];
    if schema_version > known.version {
        return Err(DecodeError::Newer {
            event_type: event_type.to_string(),
            written: schema_version,
            known: known.version,
        });
    }
    Codec::of(content_type)?.decode(index, payload).map(Some)
}

#[cfg(feature = "messagepack")]
type Pack<'a> = rmp_serde::Deserializer<rmp_serde::decode::ReadReader<&'a [u8]>>;

/// MessagePack has no end of its own.
#[cfg(feature = "messagepack")]
fn ended(pack: &Pack<'_>) -> Result<(), rmp_serde::decode::Error> {
    match pack.get_ref().len() {
        0 => Ok(()),
        more => Err(serde::de::Error::custom(format!("{more} bytes follow"))),
    }
}

/// Writes into a buffer that the thread keeps, so that the bytes are allocated
/// once and in their size. A value that encodes another while it is written
/// finds no buffer, and takes a new one.
fn in_scratch<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Bytes, EncodeError>
where
    E: std::error::Error + Send + Sync + 'static,
{
    const KEPT: usize = 64 * 1024;
    thread_local! { static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) } }
    let mut scratch = SCRATCH.take();
    scratch.clear();
    write(&mut scratch).map_err(EncodeError::new)?;
    let bytes = Bytes::copy_from_slice(&scratch);
    if scratch.capacity() <= KEPT {
        SCRATCH.set(scratch);
    }
    Ok(bytes)
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An event that serde could not write.
///
/// ```
/// use es_core::{Codec, EncodeError};
/// use std::collections::HashMap;
///
/// let not_a_key = HashMap::from([(vec![1], "value")]);
/// let error: EncodeError = Codec::Json.encode_value(&not_a_key).unwrap_err();
/// assert_eq!(error.to_string(), "the value cannot be encoded");
/// ```
#[derive(Debug, Error)]
#[error("the value cannot be encoded")]
pub struct EncodeError(#[source] Source);

impl EncodeError {
    pub(crate) fn new(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(source))
    }
}

/// Bytes that are not what their type says.
///
/// ```
/// use es_core::{Codec, DecodeError};
///
/// let error = Codec::Json.decode_value::<u32>(b"\"text\"").unwrap_err();
/// assert!(matches!(error, DecodeError::Value(_)));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload does not fit the event's type: fix the type, or upcast.
    #[error("the payload of {event_type} does not fit its type, fix the type or add an upcaster")]
    Payload {
        /// The wire name of the type.
        event_type: &'static str,
        /// What serde said.
        #[source]
        source: Source,
    },
    /// A newer program wrote it: deploy that program here too.
    #[error(
        "{event_type} was written with schema version {written}, this program knows up to {known}"
    )]
    Newer {
        /// The wire name of the type.
        event_type: String,
        /// The stored version.
        written: u32,
        /// The version that this program writes.
        known: u32,
    },
    /// This program was built without the codec.
    #[error("no codec for content type {0}, switch on its feature")]
    ContentType(String),
    /// A value that is no event does not fit its type.
    #[error("the bytes do not fit the type")]
    Value(#[source] Source),
    /// A fold met an event whose type it does not name.
    #[error("unknown event type {event_type}, name it, alias it, or drop it with an upcaster")]
    UnknownType {
        /// The wire name of the type.
        event_type: String,
    },
}

impl DecodeError {
    fn payload<E: Event>(index: usize, source: Source) -> Self {
        let event_type = E::TYPES.get(index).map_or("an unknown type", |known| known.name);
        Self::Payload { event_type, source }
    }
}

/// Serializes an event's fields without its variant's name.
impl<E: Event> Serialize for variant::Fields<'_, E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(variant::WithoutName(serializer))
    }
}

pub(crate) fn ignore<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    serde::Deserialize::deserialize(deserializer).map(|IgnoredAny| ())
}
