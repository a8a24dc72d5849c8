use std::{
    any::Any,
    fmt,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use es_core::{Metadata, StreamId, Tenant};
use futures_util::future::BoxFuture;
use tower::Service;

/// A command on its way through the layers around the bus.
///
/// ```
/// use cqrs::Dispatch;
///
/// fn is_allowed(dispatch: &Dispatch) -> bool {
///     dispatch.metadata().fields().user_id.is_some() || dispatch.command_name() == "ping"
/// }
/// ```
pub struct Dispatch {
    pub(crate) command_name: &'static str,
    pub(crate) tenant: Tenant,
    pub(crate) streams: Vec<StreamId>,
    pub(crate) metadata: Metadata,
    pub(crate) command: Arc<dyn Any + Send + Sync>,
    pub(crate) run: Box<dyn FnOnce(Metadata) -> BoxFuture<'static, Outcome> + Send>,
}

impl Dispatch {
    /// The name of the command.
    pub fn command_name(&self) -> &'static str {
        self.command_name
    }

    /// Whose command it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The stream of the aggregate that it is for; those of all if it is about
    /// several, and none if it is a decision over a query.
    pub fn streams(&self) -> &[StreamId] {
        &self.streams
    }

    /// What is known about it.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same command; its events carry this metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// The command, if it is a `C`.
    pub fn command<C: 'static>(&self) -> Option<&C> {
        self.command.downcast_ref()
    }
}

impl fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatch")
            .field("command", &self.command_name)
            .field("tenant", &self.tenant)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

/// What came back from the aggregate: a layer passes it on.
///
/// ```
/// use cqrs::Outcome;
///
/// fn count(outcome: &Outcome, rejected: &mut u32) {
///     *rejected += u32::from(!outcome.is_ok());
/// }
/// ```
pub struct Outcome {
    pub(crate) answer: Box<dyn Any + Send>,
    pub(crate) refusal: Option<&'static str>,
}

impl Outcome {
    /// Whether the command was carried out.
    pub fn is_ok(&self) -> bool {
        self.refusal.is_none()
    }

    /// Which kind of [`SendError`](crate::SendError) it came to, as
    /// [`SendError::kind`](crate::SendError::kind).
    pub fn error_kind(&self) -> Option<&'static str> {
        self.refusal
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("error_kind", &self.refusal).finish_non_exhaustive()
    }
}

/// The innermost service: hands the command to its aggregate.
///
/// See [`CommandsBuilder::layer`](crate::CommandsBuilder::layer) for an example.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToAggregate;

impl Service<Dispatch> for ToAggregate {
    type Response = Outcome;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Outcome, Self::Error>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, dispatch: Dispatch) -> Self::Future {
        let Dispatch { run, metadata, .. } = dispatch;
        Box::pin(async move { Ok(run(metadata).await) })
    }
}
