use std::{
    any::Any,
    fmt,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use es_core::{Metadata, StreamId};
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
    pub(crate) stream: StreamId,
    pub(crate) metadata: Metadata,
    pub(crate) command: Arc<dyn Any + Send + Sync>,
    pub(crate) run: Box<dyn FnOnce() -> BoxFuture<'static, Outcome> + Send>,
}

impl Dispatch {
    /// The name of the command.
    pub fn command_name(&self) -> &'static str {
        self.command_name
    }

    /// The stream of the aggregate that it is for, with its tenant.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// What is known about it.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
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
            .field("stream", &self.stream)
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
    pub(crate) ok: bool,
}

impl Outcome {
    /// Whether the command was carried out.
    pub fn is_ok(&self) -> bool {
        self.ok
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome").field("ok", &self.ok).finish_non_exhaustive()
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
        let run = dispatch.run;
        Box::pin(async move { Ok(run().await) })
    }
}
