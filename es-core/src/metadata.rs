use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// What is known about an event beside its data: where it came from, what it
/// belongs to, who caused it. Cloning copies a pointer; empty metadata costs
/// nothing.
///
/// ```
/// use es_core::Metadata;
///
/// let metadata = Metadata::new()
///     .correlation_id("order-7")
///     .user_id("ada")
///     .with("region", "eu");
/// assert_eq!(metadata.fields().correlation_id.as_deref(), Some("order-7"));
/// assert_eq!(metadata.get("region"), Some("eu"));
/// assert!(Metadata::new().is_empty());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Metadata(Option<Arc<Fields>>);

/// The fields of [`Metadata`].
///
/// ```
/// use es_core::{Metadata, MetadataFields};
///
/// let metadata = Metadata::new().user_id("ada");
/// let fields: &MetadataFields = metadata.fields();
/// assert_eq!(fields.user_id.as_deref(), Some("ada"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Fields {
    /// What the event belongs to: shared by everything that one request led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The message that led to this event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// Which program wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The W3C trace context in which it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Everything else, by free keys.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub free: BTreeMap<String, String>,
}

static EMPTY: Fields = Fields {
    correlation_id: None,
    causation_id: None,
    user_id: None,
    source: None,
    traceparent: None,
    free: BTreeMap::new(),
};

impl Metadata {
    /// Empty metadata.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.as_deref().is_none_or(|fields| *fields == EMPTY)
    }

    /// All fields, to read.
    pub fn fields(&self) -> &Fields {
        self.0.as_deref().unwrap_or(&EMPTY)
    }

    /// The value of a free key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields().free.get(key).map(String::as_str)
    }

    /// Sets a free key.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.edit().free.insert(key.into(), value.into());
        self
    }

    /// Sets what the event belongs to.
    #[must_use]
    pub fn correlation_id(mut self, id: impl Into<String>) -> Self {
        self.edit().correlation_id = Some(id.into());
        self
    }

    /// Sets the message that led to this event.
    #[must_use]
    pub fn causation_id(mut self, id: impl Into<String>) -> Self {
        self.edit().causation_id = Some(id.into());
        self
    }

    /// Sets who asked for it.
    #[must_use]
    pub fn user_id(mut self, id: impl Into<String>) -> Self {
        self.edit().user_id = Some(id.into());
        self
    }

    /// Sets which program writes it.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.edit().source = Some(source.into());
        self
    }

    /// Sets the W3C trace context.
    #[must_use]
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.edit().traceparent = Some(traceparent.into());
        self
    }

    /// Takes a free key away.
    #[must_use]
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.edit().free.remove(key);
        if self.is_empty() { Self::new() } else { self }
    }

    fn edit(&mut self) -> &mut Fields {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl Metadata {
    /// What the texts add up to, in bytes.
    pub(crate) fn approximate_bytes(&self) -> usize {
        let Some(fields) = self.0.as_deref() else { return 0 };
        let known = [
            &fields.correlation_id,
            &fields.causation_id,
            &fields.user_id,
            &fields.source,
            &fields.traceparent,
        ];
        let known: usize = known.into_iter().flatten().map(String::len).sum();
        known + fields.free.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
    }
}
