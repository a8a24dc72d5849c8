use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::{BoxFuture, ready};
use tower::{Layer, Service};

use crate::{Dispatch, Outcome};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Check = Arc<dyn Fn(&Dispatch) -> Result<(), BoxError> + Send + Sync>;

/// A layer that looks at each command and lets it pass or not: authorization,
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
#[derive(Clone)]
pub struct Guard {
    check: Check,
}

impl Guard {
    /// Lets pass what `check` lets pass; its error goes to the sender as
    /// [`SendError::Refused`](crate::SendError::Refused).
    pub fn new(check: impl Fn(&Dispatch) -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        Self { check: Arc::new(check) }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, check: Arc::clone(&self.check) }
    }
}

/// The service of a [`Guard`]; see there for an example.
#[derive(Clone)]
pub struct Guarded<S> {
    inner: S,
    check: Check,
}

impl<S> fmt::Debug for Guarded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

impl<S> Service<Dispatch> for Guarded<S>
where
    S: Service<Dispatch, Response = Outcome, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = Outcome;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Outcome, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, dispatch: Dispatch) -> Self::Future {
        match (self.check)(&dispatch) {
            Ok(()) => Box::pin(self.inner.call(dispatch)),
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }
}
