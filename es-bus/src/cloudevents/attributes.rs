use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use es_core::{ContentType, Message, Metadata, Name, Tenant};

use super::CloudEventError;

/// What stands for the source of a message that does not name its own.
const SOURCE: &str = "gesta";
/// Names that free metadata cannot have, as they mean something else.
const TAKEN: [&str; 18] = [
    "causationid",
    "correlationid",
    "data",
    "datacontenttype",
    "dataschema",
    "expirytime",
    "id",
    "metadata",
    "partitionkey",
    "schemaversion",
    "source",
    "specversion",
    "subject",
    "tenant",
    "time",
    "traceparent",
    "type",
    "userid",
];

/// The attributes of the message, by name: what the binary mode puts into headers.
///
/// ```
/// use es_bus::cloudevents::{from_attributes, to_attributes};
/// use es_core::{ContentType, Message, Metadata, Name};
///
/// let message = Message::new("7", Name::new("order.placed")?, ContentType::JSON, "{}")
///     .with_key("customer-1")
///     .with_metadata(Metadata::new().correlation_id("c").with("region", "eu"));
/// let attributes = to_attributes(&message);
/// assert_eq!(attributes["partitionkey"], "customer-1");
/// assert_eq!(attributes["region"], "eu");
/// assert_eq!(from_attributes(attributes, message.payload.clone())?, message);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn to_attributes(message: &Message) -> BTreeMap<String, String> {
    let time = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
    let fields = message.metadata.fields();
    let known = [
        ("specversion", Some("1.0".to_owned())),
        ("id", Some(message.id.clone())),
        ("type", Some(message.kind.to_string())),
        ("source", Some(fields.source.clone().unwrap_or_else(|| SOURCE.to_owned()))),
        ("datacontenttype", Some(message.content_type.as_str().to_owned())),
        ("time", message.time.as_ref().map(time)),
        ("expirytime", message.expires.as_ref().map(time)),
        ("partitionkey", message.key.clone()),
        ("tenant", Some(message.tenant.to_string())),
        ("schemaversion", Some(message.schema_version.to_string())),
        ("correlationid", fields.correlation_id.clone()),
        ("causationid", fields.causation_id.clone()),
        ("userid", fields.user_id.clone()),
        ("traceparent", fields.traceparent.clone()),
    ];
    let mut attributes: BTreeMap<String, String> = BTreeMap::new();
    let mut others: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in &fields.free {
        if is_extension(key) {
            attributes.insert(key.clone(), value.clone());
        } else {
            others.insert(key, value);
        }
    }
    if let Some(others) = (!others.is_empty()).then(|| serde_json::to_string(&others).ok()) {
        attributes.extend(others.map(|others| ("metadata".to_owned(), others)));
    }
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    attributes.extend(known);
    attributes
}

/// The message with these attributes and this data.
///
/// # Errors
///
/// [`CloudEventError`] if one that is required is missing, or one is not what it should be.
pub fn from_attributes(
    attributes: BTreeMap<String, String>,
    payload: Bytes,
) -> Result<Message, CloudEventError> {
    let mut given = Given(attributes);
    if given.take("specversion").as_deref() != Some("1.0") {
        let (attribute, should_be) = ("specversion", "1.0");
        return Err(CloudEventError::Attribute { attribute, should_be });
    }
    let kind = Name::new(given.required("type")?)?;
    let content_type = match given.take("datacontenttype") {
        Some(named) => ContentType::new(Name::new(named)?),
        None => ContentType::JSON,
    };
    let mut message = Message::new(given.required("id")?, kind, content_type, payload);
    let source = Some(given.required("source")?).filter(|source| source != SOURCE);
    message.key = given.take("partitionkey");
    message.time = given.time("time")?;
    message.expires = given.time("expirytime")?;
    if let Some(tenant) = given.take("tenant") {
        message.tenant = Tenant::new(tenant)?;
    }
    if let Some(version) = given.take("schemaversion") {
        let wrong = |_| CloudEventError::Attribute {
            attribute: "schemaversion",
            should_be: "a number from 1",
        };
        message.schema_version = version.parse().map_err(wrong)?;
    }
    message.metadata = given.metadata(source)?;
    Ok(message)
}

/// Whether free metadata with this key may be an extension of its own.
fn is_extension(key: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=20).contains(&key.len()) && key.bytes().all(is_letter) && !TAKEN.contains(&key)
}

/// Attributes that are taken one after the other.
struct Given(BTreeMap<String, String>);

impl Given {
    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn required(&mut self, attribute: &'static str) -> Result<String, CloudEventError> {
        let should_be = "a text that is not empty";
        let found = self.take(attribute).filter(|text| !text.is_empty());
        found.ok_or(CloudEventError::Attribute { attribute, should_be })
    }

    fn time(&mut self, attribute: &'static str) -> Result<Option<DateTime<Utc>>, CloudEventError> {
        let Some(text) = self.take(attribute) else { return Ok(None) };
        let wrong = |_| CloudEventError::Attribute { attribute, should_be: "a time of RFC 3339" };
        Ok(Some(DateTime::parse_from_rfc3339(&text).map_err(wrong)?.to_utc()))
    }

    /// What is left is free metadata.
    fn metadata(mut self, source: Option<String>) -> Result<Metadata, CloudEventError> {
        let mut metadata = Metadata::new();
        if let Some(source) = source {
            metadata = metadata.source(source);
        }
        if let Some(id) = self.take("correlationid") {
            metadata = metadata.correlation_id(id);
        }
        if let Some(id) = self.take("causationid") {
            metadata = metadata.causation_id(id);
        }
        if let Some(id) = self.take("userid") {
            metadata = metadata.user_id(id);
        }
        if let Some(traceparent) = self.take("traceparent") {
            metadata = metadata.traceparent(traceparent);
        }
        if let Some(others) = self.take("metadata") {
            let others: BTreeMap<String, String> = serde_json::from_str(&others)?;
            metadata = others.into_iter().fold(metadata, |all, (key, value)| all.with(key, value));
        }
        Ok(self.0.into_iter().fold(metadata, |all, (key, value)| all.with(key, value)))
    }
}
