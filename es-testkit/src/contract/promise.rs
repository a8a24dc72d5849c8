use std::fmt;

use futures_util::future::LocalBoxFuture;

use super::{Need, Site};

/// One promise: a function that panics if a port does not keep it.
///
/// ```
/// let promises = es_testkit::contract::event_store_promises();
/// assert!(promises.len() > 100);
/// assert!(promises.iter().any(|one| one.sentence() == "a second writer at the same version conflicts"));
/// ```
pub struct Promise<P: ?Sized> {
    /// The module of the suite in which it stands.
    pub module: &'static str,
    /// Its name, a sentence with underscores.
    pub name: &'static str,
    /// What it needs of the port beside the ordinary.
    pub needs: &'static [Need],
    #[doc(hidden)]
    pub run: Run<P>,
}

/// Tries a promise.
pub(crate) type Run<P> = for<'a> fn(&'a Site<P>) -> LocalBoxFuture<'a, ()>;

impl<P: ?Sized> Clone for Promise<P> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<P: ?Sized> Promise<P> {
    /// The promise in words.
    pub fn sentence(&self) -> String {
        self.name.replace('_', " ")
    }
}

impl<P: ?Sized> fmt::Debug for Promise<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.module, self.name)
    }
}
