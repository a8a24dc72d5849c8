use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::limits;

/// A checked name: 1 to 255 bytes without control characters, compared byte by
/// byte. Cloning one copies a pointer.
///
/// Stream categories, tenants, event types and tags are names.
///
/// ```
/// use es_core::Name;
///
/// let name = Name::new("account.deposited")?;
/// assert_eq!(name.as_str(), "account.deposited");
/// assert!(Name::new("bell\u{7}").is_err());
/// assert!(Name::new("x".repeat(256)).is_err());
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Clone)]
pub struct Name(Text);

#[derive(Clone)]
enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Name {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is empty, longer than
    /// [`limits::NAME_BYTES`], or holds a control character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        check(text.as_ref())?;
        Ok(Self(Text::Shared(text.as_ref().into())))
    }

    /// A name that is known when the program is compiled.
    ///
    /// # Panics
    ///
    /// If the text is no name; in a constant that is a compile error.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(!text.is_empty() && text.len() <= limits::NAME_BYTES, "a name has 1 to 255 bytes");
        let mut at = 0;
        while at < text.len() {
            let byte = text.as_bytes()[at];
            assert!(byte >= 0x20 && byte != 0x7f, "a name has no control characters");
            at += 1;
        }
        Self(Text::Static(text))
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Static(text) => text,
            Text::Shared(text) => text,
        }
    }
}

pub(crate) fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > limits::NAME_BYTES {
        return Err(NameError::TooLong { bytes: text.len() });
    }
    match text.chars().position(char::is_control) {
        Some(at) => Err(NameError::ControlCharacter { name: text.escape_debug().to_string(), at }),
        None => Ok(()),
    }
}

/// Why a text is not a name.
///
/// ```
/// use es_core::{Name, NameError};
///
/// assert!(matches!(Name::new(""), Err(NameError::Empty)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text has no characters.
    #[error("a name may not be empty")]
    Empty,
    /// The text is longer than [`limits::NAME_BYTES`].
    #[error("a name has at most {} bytes, this one has {bytes}", limits::NAME_BYTES)]
    TooLong {
        /// The length of the refused text.
        bytes: usize,
    },
    /// The text holds a control character.
    #[error("a name may not hold control characters, \"{name}\" has one at character {at}")]
    ControlCharacter {
        /// The refused text, escaped.
        name: String,
        /// Where the character stands, counted in characters from zero.
        at: usize,
    },
    /// The text is reserved for the framework, or lacks a part.
    #[error("\"{name}\" is not a {kind}: {rule}")]
    Malformed {
        /// The refused text, escaped.
        name: String,
        /// What it should have been.
        kind: &'static str,
        /// What such a name looks like.
        rule: &'static str,
    },
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.as_str(), other.as_str());
        std::ptr::eq(one, other) || one == other
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Whose data it is; part of every key.
///
/// A program with one tenant never names it: everything belongs to
/// [`Tenant::default`].
///
/// ```
/// use es_core::Tenant;
///
/// assert_eq!(Tenant::default().as_str(), "default");
/// let acme = Tenant::new("acme")?;
/// assert_ne!(acme, Tenant::default());
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(Name);

impl Tenant {
    /// Checks `text` and takes it as the name of a tenant.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is no [`Name`].
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        Name::new(text).map(Self)
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Default for Tenant {
    fn default() -> Self {
        const DEFAULT: Name = Name::from_static("default");
        Self(DEFAULT)
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A label on an event, `key:value`, by which [`Criteria`](crate::Criteria)
/// find it across streams.
///
/// ```
/// use es_core::Tag;
///
/// let tag = Tag::new("course", "rust-101")?;
/// assert_eq!(tag.as_str(), "course:rust-101");
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(Name);

impl Tag {
    /// The tag `key:value`.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the key is empty or holds a colon, or the whole is no
    /// [`Name`].
    pub fn new(key: &str, value: impl fmt::Display) -> Result<Self, NameError> {
        if key.is_empty() || key.contains(':') {
            return Err(NameError::Malformed {
                name: key.escape_debug().to_string(),
                kind: "tag key",
                rule: "it is not empty and holds no colon",
            });
        }
        Name::new(format!("{key}:{value}")).map(Self)
    }

    /// The tag with this text, as a store kept it.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the text is no [`Name`].
    pub fn parse(text: impl AsRef<str>) -> Result<Self, NameError> {
        Name::new(text).map(Self)
    }

    /// The whole text of the tag.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
