//! Messages as [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md),
//! for programs that know nothing of Gesta.
//!
//! What a message has and CloudEvents has not goes into extensions: `partitionkey`,
//! `expirytime`, `traceparent` as they are registered, and `tenant`, `schemaversion`,
//! `correlationid`, `causationid` and `userid`. A [replay](Message::is_replay) has `replay`. Free
//! metadata becomes an extension if its key may be one, and stands in `metadata` as JSON if not.

mod attributes;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use es_core::{ContentType, Message, Name, NameError};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use thiserror::Error;

pub use attributes::{from_attributes, to_attributes};

/// The content type of what [`to_json`] writes.
pub const CONTENT_TYPE: ContentType =
    ContentType::new(Name::from_static("application/cloudevents+json"));

/// Why something is not a CloudEvent that can be read.
///
/// ```
/// use es_bus::cloudevents::{self, CloudEventError};
///
/// let refused = cloudevents::from_json(br#"{"specversion":"0.3","id":"1","source":"x","type":"y"}"#);
/// assert!(matches!(refused, Err(CloudEventError::Attribute { .. })));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CloudEventError {
    /// It is not JSON.
    #[error("a structured CloudEvent is a JSON object")]
    Json(#[from] serde_json::Error),
    /// An attribute is missing, or is not what it should be.
    #[error("the attribute {attribute} of a CloudEvent should be {should_be}")]
    Attribute {
        /// Which.
        attribute: &'static str,
        /// What it should be.
        should_be: &'static str,
    },
    /// The type or the tenant is not a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// The message in the structured mode: one JSON object.
///
/// ```
/// use es_bus::cloudevents;
/// use es_core::{ContentType, Message, Name};
///
/// let message = Message::new("7", Name::new("order.placed")?, ContentType::JSON, r#"{"a":1}"#);
/// let json = cloudevents::to_json(&message);
/// assert_eq!(
///     String::from_utf8(json.to_vec())?,
///     r#"{"data":{"a":1},"datacontenttype":"application/json","id":"7","schemaversion":"1","#
///         .to_owned() + r#""source":"gesta","specversion":"1.0","tenant":"default","type":"order.placed"}"#,
/// );
/// assert_eq!(cloudevents::from_json(&json)?, message);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn to_json(message: &Message) -> Bytes {
    let attributes = to_attributes(message);
    let text = |text: &str| serde_json::value::to_raw_value(text).ok();
    let mut object: BTreeMap<&str, Box<RawValue>> = BTreeMap::new();
    for (name, value) in &attributes {
        object.extend(text(value).map(|value| (name.as_str(), value)));
    }
    let json = (message.content_type == ContentType::JSON)
        .then(|| serde_json::from_slice::<&RawValue>(&message.payload).ok())
        .flatten()
        .filter(|json| json.get().len() == message.payload.len());
    match json {
        Some(json) => drop(object.insert("data", json.to_owned())),
        None => {
            let base64 = BASE64_STANDARD.encode(&message.payload);
            object.extend(text(&base64).map(|base64| ("data_base64", base64)));
        }
    }
    // A map of texts to values that are JSON already can always be written.
    serde_json::to_vec(&object).unwrap_or_default().into()
}

/// The data of an event whose type is another one than JSON, if it is written as a text.
fn text(object: &BTreeMap<String, Box<RawValue>>, data: &RawValue) -> Option<String> {
    let content_type: String = serde_json::from_str(object.get("datacontenttype")?.get()).ok()?;
    let media = content_type.split(';').next().unwrap_or_default().trim().to_lowercase();
    let is_json = media.ends_with("/json") || media.ends_with("+json");
    (!is_json).then(|| serde_json::from_str(data.get()).ok()).flatten()
}

/// The message that stands in a JSON object of the structured mode.
///
/// # Errors
///
/// [`CloudEventError`] if it is none.
pub fn from_json(json: &[u8]) -> Result<Message, CloudEventError> {
    let mut object: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(json)?;
    let data = object.remove("data");
    let payload = match (data, object.remove("data_base64")) {
        (_, Some(base64)) => {
            let should_be = "base64";
            let wrong = CloudEventError::Attribute { attribute: "data_base64", should_be };
            let text: String = serde_json::from_str(base64.get())?;
            BASE64_STANDARD.decode(text).map_err(|_| wrong)?.into()
        }
        (Some(data), None) => match text(&object, &data) {
            Some(text) => text.into(),
            None => Bytes::copy_from_slice(data.get().as_bytes()),
        },
        (None, None) => Bytes::new(),
    };
    let given = object.into_iter().filter(|(_, value)| value.get() != "null");
    let attributes = given.map(|(name, value)| {
        // Numbers and booleans are written as they are.
        let text = serde_json::from_str(value.get());
        (name, text.unwrap_or_else(|_| value.get().to_owned()))
    });
    from_attributes(attributes.collect(), payload)
}
