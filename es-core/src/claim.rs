use crate::{Name, NameError, StreamId};

/// A unique value within a scope of one tenant: a user name, an invoice number.
///
/// A claim belongs to the stream that took it. Taking it again for the same
/// stream changes nothing; taking another stream's is a conflict. Release and
/// take in one batch pass it on.
///
/// ```
/// use es_core::{Claim, StreamId};
///
/// let ada = StreamId::new("user", "1")?;
/// let claim = Claim::take("user-name", "ada", ada)?;
/// assert_eq!(claim.key(), "ada");
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    scope: Name,
    key: Name,
    holder: StreamId,
    change: ClaimChange,
}

/// What to do with a claim.
///
/// ```
/// use es_core::{Claim, ClaimChange, StreamId};
///
/// let claim = Claim::release("user-name", "ada", StreamId::new("user", "1")?)?;
/// assert_eq!(claim.change(), ClaimChange::Release);
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimChange {
    /// Take it, or fail if another stream holds it.
    Take,
    /// Give it up, if this stream holds it.
    Release,
}

impl Claim {
    /// Takes `key` of `scope` for `holder`.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the scope or the key is no [`Name`].
    pub fn take(scope: &str, key: &str, holder: StreamId) -> Result<Self, NameError> {
        Self::new(scope, key, holder, ClaimChange::Take)
    }

    /// Releases `key` of `scope` if `holder` holds it.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the scope or the key is no [`Name`].
    pub fn release(scope: &str, key: &str, holder: StreamId) -> Result<Self, NameError> {
        Self::new(scope, key, holder, ClaimChange::Release)
    }

    fn new(
        scope: &str,
        key: &str,
        holder: StreamId,
        change: ClaimChange,
    ) -> Result<Self, NameError> {
        Ok(Self { scope: Name::new(scope)?, key: Name::new(key)?, holder, change })
    }

    /// The scope in which the key is unique.
    pub fn scope(&self) -> &Name {
        &self.scope
    }

    /// The unique value.
    pub fn key(&self) -> &Name {
        &self.key
    }

    /// The stream that takes or releases it.
    pub fn holder(&self) -> &StreamId {
        &self.holder
    }

    /// What to do with it.
    pub fn change(&self) -> ClaimChange {
        self.change
    }

    /// Who holds the key after the earlier changes of a batch, if `stored` held
    /// it before; for writers of stores.
    pub fn holder_after(&self, earlier: &[Self], stored: Option<StreamId>) -> Option<StreamId> {
        let same = earlier.iter().filter(|one| (&one.scope, &one.key) == (&self.scope, &self.key));
        same.fold(stored, |holder, one| match one.change {
            ClaimChange::Take => Some(one.holder.clone()),
            ClaimChange::Release => holder.filter(|holder| *holder != one.holder),
        })
    }

    /// Whether it cannot be taken from this holder; for writers of stores.
    pub fn is_refused_by(&self, holder: &StreamId) -> bool {
        self.change == ClaimChange::Take && self.holder != *holder
    }
}
