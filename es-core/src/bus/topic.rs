use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Name, NameError};

/// Most bytes of a topic or a group: what every broker takes with something of ours
/// before and after it.
const BYTES: usize = 200;
const RULE: &str = "words of ASCII letters, digits, `_` and `-`, joined by dots, 200 bytes at most";

/// What messages are about: words joined by dots, such as `order.placed`.
///
/// A word is made of ASCII letters, digits, `_` and `-`, so that every broker can take it
/// as it is.
///
/// ```
/// use es_core::Topic;
///
/// assert_eq!(Topic::new("order.placed")?.as_str(), "order.placed");
/// assert!(Topic::new("order.*").is_err());
/// assert!(Topic::new("order..placed").is_err());
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Name", into = "Name")]
pub struct Topic(Name);

/// Those who share the work of one subscription: each message goes to one of them. The
/// name is written as a [`Topic`] is.
///
/// ```
/// assert_eq!(es_core::Group::new("billing")?.to_string(), "billing");
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Name", into = "Name")]
pub struct Group(Name);

impl Topic {
    /// Checks `text` and takes it as a topic.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is not made of words.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        Self::try_from(Name::new(text)?)
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The words between the dots.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.as_str().split('.')
    }
}

impl Group {
    /// Checks `text` and takes it as the name of a group.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is not made of words.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        Self::try_from(Name::new(text)?)
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<Name> for Topic {
    type Error = NameError;

    fn try_from(name: Name) -> Result<Self, NameError> {
        checked(name, "topic").map(Self)
    }
}

impl TryFrom<Name> for Group {
    type Error = NameError;

    fn try_from(name: Name) -> Result<Self, NameError> {
        checked(name, "group").map(Self)
    }
}

impl From<Topic> for Name {
    fn from(topic: Topic) -> Self {
        topic.0
    }
}

impl From<Group> for Name {
    fn from(group: Group) -> Self {
        group.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn checked(name: Name, kind: &'static str) -> Result<Name, NameError> {
    if name.len() <= BYTES && name.split('.').all(is_word) {
        return Ok(name);
    }
    Err(NameError::Malformed { name: name.escape_debug().to_string(), kind, rule: RULE })
}

pub(super) fn is_word(text: &str) -> bool {
    let is_of_a_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.bytes().all(is_of_a_word)
}
