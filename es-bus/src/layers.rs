use std::{
    error::Error,
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use es_core::Message;
use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

use crate::{
    HandleError, Ready,
    work::{Done, Given, Work, said},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// What a layer sees on the way to a handler: one message, or those of a batch.
///
/// ```
/// use es_bus::Handling;
///
/// fn bytes(handling: &Handling) -> usize {
///     handling.messages().map(|message| message.payload.len()).sum()
/// }
/// ```
#[derive(Debug)]
pub struct Handling(Vec<Given>);

impl Handling {
    /// The messages that are to be handled.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &Message> {
        self.0.iter().map(|given| &given.message)
    }

    /// Which try of each this is, from 1.
    pub fn attempts(&self) -> impl ExactSizeIterator<Item = u32> {
        self.0.iter().map(|given| given.attempt)
    }
}

/// What a layer sees on the way back.
///
/// ```
/// use es_bus::Handled;
///
/// fn line(handled: &Handled) -> String {
///     format!("{} have failed", handled.failures())
/// }
/// ```
pub struct Handled(Vec<Done>);

impl Handled {
    /// How many of the messages were not handled.
    pub fn failures(&self) -> usize {
        self.0.iter().filter(|done| !matches!(done, Done::Handled | Done::Passed)).count()
    }
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handled").field("failures", &self.failures()).finish_non_exhaustive()
    }
}

/// A handler as the service that layers stand around.
///
/// ```
/// use es_bus::{Handled, Handler, Handling};
/// use tower::{Service, layer::layer_fn};
///
/// fn is_one(_: &impl Service<Handling, Response = Handled>) {}
/// let bare = layer_fn(|handler: Handler| {
///     is_one(&handler);
///     handler
/// });
/// ```
#[derive(Clone)]
pub struct Handler(Arc<dyn Work>);

impl Service<Handling> for Handler {
    type Response = Handled;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Handled, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, handling: Handling) -> Self::Future {
        let work = Arc::clone(&self.0);
        async move { Ok(Handled(work.work(&handling.0).await)) }.boxed()
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").finish_non_exhaustive()
    }
}

impl Ready {
    /// Wraps a tower layer around the handler; the last one added is the outermost. Timeouts and
    /// concurrency limits come from tower; so does the rate limit, with a buffer around it, as it
    /// cannot be cloned.
    ///
    /// What a layer answers with an error has failed [for the time being](HandleError::Transient),
    /// a batch as a whole, unless the error is a [boxed](HandleError::boxed) [`HandleError`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use es_bus::{Endpoint, Received};
    /// use tower::timeout::TimeoutLayer;
    ///
    /// let audit = Endpoint::new("audit")?
    ///     .to("security.**")?
    ///     .handle_message(|received: Received<()>| async move {
    ///         println!("{}", received.message.kind);
    ///         Ok(())
    ///     })
    ///     .layer(TimeoutLayer::new(Duration::from_secs(30)));
    /// # Ok::<(), es_core::NameError>(())
    /// ```
    pub fn layer<L>(self, layer: L) -> Self
    where
        L: Layer<Handler>,
        L::Service: Service<Handling, Response = Handled> + Clone + Send + Sync + 'static,
        <L::Service as Service<Handling>>::Error: Into<BoxError>,
        <L::Service as Service<Handling>>::Future: Send + 'static,
    {
        let layered = layer.layer(Handler(self.work)).map_err(Into::into);
        let work = Arc::new(Layered(BoxCloneSyncService::new(layered)));
        Self { work, ..self }
    }
}

/// A handler with layers around it.
struct Layered(BoxCloneSyncService<Handling, Handled, BoxError>);

#[async_trait]
impl Work for Layered {
    async fn work(&self, given: &[Given]) -> Vec<Done> {
        let handling = self.0.clone().oneshot(Handling(given.to_vec()));
        let handling = AssertUnwindSafe(handling.map_ok(|handled| handled.0)).catch_unwind();
        let each = |done: &dyn Fn() -> Done| given.iter().map(|_| done()).collect();
        match handling.await {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => each(&|| Done::Failed(of_a_layer(&error))),
            Err(panic) => each(&|| Done::Panicked(said(&*panic))),
        }
    }
}

/// The same for each message.
fn of_a_layer(error: &BoxError) -> HandleError {
    let reason = |error: &HandleError| error.to_string();
    match error.downcast_ref::<Boxed>() {
        None => HandleError::transient(error.to_string()),
        Some(Boxed(error @ HandleError::Transient(_))) => HandleError::transient(reason(error)),
        Some(Boxed(error @ HandleError::Permanent(_))) => HandleError::permanent(reason(error)),
        Some(Boxed(error @ HandleError::Throttled { after, .. })) => {
            HandleError::throttled(*after, reason(error))
        }
    }
}

impl HandleError {
    /// The error of a [layer](Ready::layer) that says what it means for the next try.
    ///
    /// ```
    /// use es_bus::HandleError;
    ///
    /// let refused = HandleError::permanent("no such tenant").boxed();
    /// assert_eq!(refused.to_string(), "no such tenant");
    /// ```
    pub fn boxed(self) -> BoxError {
        Box::new(Boxed(self))
    }
}

#[derive(Debug)]
struct Boxed(HandleError);

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Boxed {}
