use std::{fmt, sync::Arc};

use crate::{
    Name, NameError, Tenant,
    name::{self},
};

/// The name of a stream: a tenant, a category, and an id within the category.
///
/// It is written `category-id`; the category ends at the first hyphen, so it
/// holds none, and the id may hold any.
///
/// ```
/// use es_core::{StreamId, Tenant};
///
/// let stream = StreamId::new("account", "ada-1")?;
/// assert_eq!(stream.to_string(), "account-ada-1");
/// assert_eq!((stream.category(), stream.id()), ("account", "ada-1"));
///
/// let theirs = stream.clone().of(Tenant::new("acme")?);
/// assert_ne!(stream, theirs);
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    name: Arc<str>,
    category_bytes: u8,
    tenant: Tenant,
}

const RULE: &str = "it reads category-id, and the category holds no hyphen";

impl StreamId {
    /// The stream `category-id` of the default tenant.
    ///
    /// # Errors
    ///
    /// [`NameError`] if a part is empty, the category holds a hyphen, or the
    /// whole is no [`Name`].
    pub fn new(category: &str, id: impl fmt::Display) -> Result<Self, NameError> {
        use fmt::Write;
        let mut name = String::with_capacity(category.len() + 24);
        let _ = write!(name, "{category}-{id}");
        Self::checked(name.into(), category.len())
    }

    /// The stream with this full name, as [`Display`](fmt::Display) writes it.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the text is no full name.
    pub fn parse(full: impl AsRef<str>) -> Result<Self, NameError> {
        let full = full.as_ref();
        let category_bytes = full.find('-').unwrap_or(full.len());
        Self::checked(full.into(), category_bytes)
    }

    fn checked(name: Arc<str>, category_bytes: usize) -> Result<Self, NameError> {
        name::check(&name)?;
        let malformed = || NameError::Malformed {
            name: name.escape_debug().to_string(),
            kind: "stream name",
            rule: RULE,
        };
        if category_bytes == 0
            || category_bytes + 1 >= name.len()
            || name[..category_bytes].contains('-')
        {
            return Err(malformed());
        }
        let category_bytes = u8::try_from(category_bytes).map_err(|_| malformed())?;
        Ok(Self { name, category_bytes, tenant: Tenant::default() })
    }

    /// The same stream of another tenant.
    #[must_use]
    pub fn of(mut self, tenant: Tenant) -> Self {
        self.tenant = tenant;
        self
    }

    /// The full name, `category-id`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands before the first hyphen.
    pub fn category(&self) -> &str {
        &self.name[..usize::from(self.category_bytes)]
    }

    /// What stands after the first hyphen.
    pub fn id(&self) -> &str {
        &self.name[usize::from(self.category_bytes) + 1..]
    }

    /// Whose stream it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.tenant == Tenant::default() {
            return write!(f, "{:?}", self.name);
        }
        write!(f, "{:?} of {:?}", self.name, self.tenant.as_str())
    }
}

/// Checks the name of a category.
///
/// # Errors
///
/// [`NameError`] if it is no [`Name`], or holds a hyphen.
pub(crate) fn category(text: &str) -> Result<Name, NameError> {
    if text.contains('-') {
        return Err(NameError::Malformed {
            name: text.escape_debug().to_string(),
            kind: "category",
            rule: "it holds no hyphen",
        });
    }
    Name::new(text)
}
