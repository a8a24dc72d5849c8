use std::fmt;

use serde::{Deserialize, Serialize};

use super::topic::is_word;
use crate::{Name, NameError, Topic};

const RULE: &str = "a topic in which `*` may stand for one word, and `**` at the end for the rest";

/// Which topics: as a topic is written, with `*` for any one word, and `**` at the end for
/// one word or more. A `*` alone is every topic, as `**` is.
///
/// ```
/// use es_core::{Topic, TopicPattern};
///
/// let is_match = |pattern: &str, topic: &str| {
///     Ok::<_, es_core::NameError>(TopicPattern::new(pattern)?.matches(&Topic::new(topic)?))
/// };
/// assert!(is_match("product.*", "product.added")?);
/// assert!(!is_match("product.*", "product.price.changed")?);
/// assert!(is_match("*.price.*", "product.price.changed")?);
/// assert!(is_match("security.**", "security.login.failed")?);
/// assert!(is_match("*", "security.login.failed")?);
/// assert!(TopicPattern::new("a.**.b").is_err());
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Name", into = "Name")]
pub struct TopicPattern(Name);

impl TopicPattern {
    /// Checks `text` and takes it as a pattern.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is not made of words and stars, or a `**` is not at its end.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        Self::try_from(Name::new(text)?)
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The topic that it names, if it names but one.
    pub fn as_topic(&self) -> Option<Topic> {
        Topic::try_from(self.0.clone()).ok()
    }

    /// Whether it stands for this topic.
    pub fn matches(&self, topic: &Topic) -> bool {
        if self.as_str() == "*" {
            return true;
        }
        let mut words = topic.words();
        for part in self.as_str().split('.') {
            match (part, words.next()) {
                (_, None) => return false,
                ("**", Some(_)) => return true,
                ("*", Some(_)) => {}
                (part, Some(word)) if part == word => {}
                _ => return false,
            }
        }
        words.next().is_none()
    }
}

impl TryFrom<Name> for TopicPattern {
    type Error = NameError;

    fn try_from(name: Name) -> Result<Self, NameError> {
        let parts = name.split('.').count();
        let is_part = |(at, part): (usize, &str)| match part {
            "*" => true,
            "**" => at + 1 == parts,
            word => is_word(word),
        };
        if name.split('.').enumerate().all(is_part) {
            return Ok(Self(name));
        }
        let name = name.escape_debug().to_string();
        Err(NameError::Malformed { name, kind: "topic pattern", rule: RULE })
    }
}

impl From<Topic> for TopicPattern {
    fn from(topic: Topic) -> Self {
        Self(topic.into())
    }
}

impl From<TopicPattern> for Name {
    fn from(pattern: TopicPattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
