use std::{
    any::Any,
    fmt,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use es_core::{Metadata, Position, Tenant};
use futures_util::future::BoxFuture;
use tower::{Service, util::BoxCloneSyncService};

use crate::BoxError;

pub(crate) type Layered = BoxCloneSyncService<Asking, Reply, BoxError>;

/// A query on its way through the layers around the bus.
///
/// ```
/// use cqrs::Asking;
///
/// fn is_allowed(asking: &Asking) -> bool {
///     asking.metadata().fields().user_id.is_some() || asking.query_name() == "opening_hours"
/// }
/// ```
pub struct Asking {
    pub(super) query_name: &'static str,
    pub(super) tenant: Tenant,
    pub(super) metadata: Metadata,
    pub(super) at_least: Position,
    pub(super) query: Arc<dyn Any + Send + Sync>,
    pub(super) run: Box<dyn FnOnce() -> BoxFuture<'static, Reply> + Send>,
}

impl Asking {
    /// The name of the query.
    pub fn query_name(&self) -> &'static str {
        self.query_name
    }

    /// Whose query it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// What is known about it.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The position that the answer has to show.
    pub fn at_least(&self) -> Position {
        self.at_least
    }

    /// The query, if it is a `Q`.
    pub fn query<Q: 'static>(&self) -> Option<&Q> {
        self.query.downcast_ref()
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking")
            .field("query", &self.query_name)
            .field("tenant", &self.tenant)
            .field("at_least", &self.at_least)
            .finish_non_exhaustive()
    }
}

/// What came back from the answerer: a layer passes it on.
///
/// ```
/// use cqrs::Reply;
///
/// fn count(reply: &Reply, failed: &mut u32) {
///     *failed += u32::from(!reply.is_ok());
/// }
/// ```
pub struct Reply {
    pub(super) answer: Box<dyn Any + Send>,
    pub(super) error_kind: Option<&'static str>,
}

impl Reply {
    /// Whether there is an answer.
    pub fn is_ok(&self) -> bool {
        self.error_kind.is_none()
    }

    /// Which kind of [`AskError`](crate::AskError) it came to, as
    /// [`AskError::kind`](crate::AskError::kind).
    pub fn error_kind(&self) -> Option<&'static str> {
        self.error_kind
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("error_kind", &self.error_kind).finish_non_exhaustive()
    }
}

/// The innermost service: hands the query to its answerer.
///
/// See [`QueriesBuilder::layer`](crate::QueriesBuilder::layer) for an example.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToAnswerer;

impl Service<Asking> for ToAnswerer {
    type Response = Reply;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Reply, BoxError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asking: Asking) -> Self::Future {
        let running = (asking.run)();
        Box::pin(async move { Ok(running.await) })
    }
}
