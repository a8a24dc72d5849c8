use std::fmt;

use es_core::{AppendId, Name, NameError, StreamId, Tenant, limits};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The category of the streams of all sagas.
pub(crate) const CATEGORY: &str = "saga";

/// Which saga it is: of a tenant, of a definition, with an id of its own.
///
/// Its stream is `saga-DEFINITION-ID`.
///
/// ```
/// use saga::SagaId;
///
/// let trip = SagaId::new("trip", 42)?;
/// assert_eq!((trip.definition(), trip.id()), ("trip", "42"));
/// assert_eq!(trip.stream().name(), "saga-trip-42");
/// assert_eq!("trip-42".parse::<SagaId>()?, trip);
/// # Ok::<(), saga::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SagaId {
    stream: StreamId,
}

impl SagaId {
    /// The saga of this definition with this id, of the default tenant.
    ///
    /// # Errors
    ///
    /// [`NameError`] if one of them is empty, both are too long, or the definition's name
    /// holds a hyphen.
    pub fn new(definition: &str, id: impl fmt::Display) -> Result<Self, NameError> {
        format!("{definition}-{id}").parse()
    }

    /// The same saga of another tenant.
    #[must_use]
    pub fn of(self, tenant: Tenant) -> Self {
        Self { stream: self.stream.of(tenant) }
    }

    /// The saga whose stream this is, if it is one's.
    pub fn of_stream(stream: &StreamId) -> Option<Self> {
        let is_one = stream.category() == CATEGORY && stream.id().contains('-');
        is_one.then(|| Self { stream: stream.clone() })
    }

    /// The name of its definition.
    pub fn definition(&self) -> &str {
        self.stream.id().split_once('-').map_or("", |(definition, _)| definition)
    }

    /// What tells it from others of the definition.
    pub fn id(&self) -> &str {
        self.stream.id().split_once('-').map_or("", |(_, id)| id)
    }

    /// Whose it is.
    pub fn tenant(&self) -> &Tenant {
        self.stream.tenant()
    }

    /// The stream that is all that is known of it.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The idempotency key of what one of its steps does: the same for each try.
    pub(crate) fn key(&self, step: &str, way: &str, round: u32) -> AppendId {
        AppendId::derive(&format!("{}\n{}\n{step}\n{way}\n{round}", self.tenant(), self.stream))
    }
}

impl std::str::FromStr for SagaId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let malformed = || NameError::Malformed {
            name: text.escape_debug().to_string(),
            kind: "saga id",
            rule: "it reads definition-id, and the definition holds no hyphen",
        };
        let (definition, id) = text.split_once('-').ok_or_else(malformed)?;
        if definition.is_empty() || id.is_empty() {
            return Err(malformed());
        }
        let stream = StreamId::new(CATEGORY, text)?;
        debug_assert!(stream.name().len() <= limits::NAME_BYTES);
        Ok(Self { stream })
    }
}

/// Without its tenant, as it is written in the list of sagas.
impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stream.id())
    }
}

/// The name of a definition or a step: what may stand in an id and in a graph.
pub(crate) fn check_word(word: &str) -> Result<Name, NameError> {
    let name = Name::new(word)?;
    let is_plain = |sign: char| sign.is_alphanumeric() || sign == '_' || sign == '.';
    if word.chars().all(is_plain) {
        return Ok(name);
    }
    Err(NameError::Malformed {
        name: word.escape_debug().to_string(),
        kind: "name of a saga or a step",
        rule: "it holds letters, digits, dots and underscores",
    })
}

impl Serialize for SagaId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.tenant().as_str(), self.stream.id()).serialize(to)
    }
}

impl<'de> Deserialize<'de> for SagaId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (tenant, id) = <(String, String)>::deserialize(from)?;
        let tenant = Tenant::new(tenant).map_err(de::Error::custom)?;
        Ok(id.parse::<Self>().map_err(de::Error::custom)?.of(tenant))
    }
}
