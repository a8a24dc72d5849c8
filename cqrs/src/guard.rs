use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{BoxFuture, ready};
use tower::{Layer, Service};

use crate::{Asking, BoxError, Dispatch};

type Check<D> = Arc<dyn Fn(&D) -> Result<(), BoxError> + Send + Sync>;

/// A layer that looks at each command, or each query, and lets it pass or not: authorization,
/// validation, maintenance windows.
///
/// ```
/// use cqrs::{Commands, Guard};
/// use es_core::memory::MemoryStore;
///
/// let known_users = Guard::new(|dispatch| match &dispatch.metadata().fields().user_id {
///     Some(_) => Ok(()),
///     None => Err("who are you?".into()),
/// });
/// let commands = Commands::builder(MemoryStore::new()).layer(known_users).build();
/// ```
pub struct Guard<D = Dispatch> {
    check: Check<D>,
}

impl Guard {
    /// Lets pass what `check` lets pass; its error goes to the sender as
    /// [`SendError::Refused`](crate::SendError::Refused).
    pub fn new(check: impl Fn(&Dispatch) -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        Self { check: Arc::new(check) }
    }
}

impl Guard<Asking> {
    /// Lets those queries pass which `check` lets pass; its error goes to the asker
    /// as [`AskError::Refused`](crate::AskError::Refused).
    ///
    /// ```
    /// use cqrs::{Guard, Projector, Queries};
    /// # use es_core::memory::{MemoryStore, MemoryViews};
    /// # let projector = Projector::new(MemoryStore::new(), MemoryViews::new());
    ///
    /// let known_users = Guard::queries(|asking| match &asking.metadata().fields().user_id {
    ///     Some(_) => Ok(()),
    ///     None => Err("who are you?".into()),
    /// });
    /// let queries = Queries::builder(projector).layer(known_users).build();
    /// ```
    pub fn queries(
        check: impl Fn(&Asking) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Self {
        Self { check: Arc::new(check) }
    }
}

impl<D> Clone for Guard<D> {
    fn clone(&self) -> Self {
        Self { check: Arc::clone(&self.check) }
    }
}

impl<D> fmt::Debug for Guard<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl<S, D> Layer<S> for Guard<D> {
    type Service = Guarded<S, D>;

    fn layer(&self, inner: S) -> Guarded<S, D> {
        Guarded { inner, check: Arc::clone(&self.check) }
    }
}

/// The service of a [`Guard`]; see there for an example.
pub struct Guarded<S, D = Dispatch> {
    inner: S,
    check: Check<D>,
}

impl<S: Clone, D> Clone for Guarded<S, D> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), check: Arc::clone(&self.check) }
    }
}

impl<S, D> fmt::Debug for Guarded<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

impl<S, D> Service<D> for Guarded<S, D>
where
    S: Service<D, Error = BoxError>,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, dispatch: D) -> Self::Future {
        match (self.check)(&dispatch) {
            Ok(()) => Box::pin(self.inner.call(dispatch)),
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }
}
