use std::{
    fmt,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tower::{Layer, Service};
use tracing::{Instrument, Span, debug, field, info, info_span, warn};

use crate::{Asking, Dispatch, Outcome, Reply};

/// A layer that puts each command, or each query, into a span of `tracing`, and
/// says what became of it.
///
/// The span is called `command` and has the fields `name`, `tenant`, `streams`,
/// and, where the metadata tells them, `user` and `correlation`; that of a query
/// is called `query` and has `at_least` instead of `streams`. What a layer
/// around this one refuses is not seen here: add it last. Work that goes on after
/// its caller has gone, or is folded into another command's append, is outside
/// the span.
///
/// ```
/// use cqrs::{Commands, Trace};
/// use es_core::memory::MemoryStore;
///
/// let commands = Commands::builder(MemoryStore::new()).layer(Trace).build();
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Trace;

impl<S> Layer<S> for Trace {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Traced<S> {
        Traced { inner }
    }
}

/// The service of [`Trace`].
///
/// ```
/// use cqrs::{ToAggregate, Trace, Traced};
/// use tower::Layer;
///
/// let service: Traced<ToAggregate> = Trace.layer(ToAggregate);
/// ```
#[derive(Debug, Clone)]
pub struct Traced<S> {
    inner: S,
}

impl<S> Service<Dispatch> for Traced<S>
where
    S: Service<Dispatch, Response = Outcome>,
    S::Future: Send + 'static,
    S::Error: fmt::Display,
{
    type Response = Outcome;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Outcome, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, dispatch: Dispatch) -> Self::Future {
        let span = span_of(&dispatch);
        let answer = span.in_scope(|| self.inner.call(dispatch));
        let told =
            async move { answer.await.inspect(tell).inspect_err(|why| warn!(%why, "refused")) };
        Box::pin(told.instrument(span))
    }
}

impl<S> Service<Asking> for Traced<S>
where
    S: Service<Asking, Response = Reply>,
    S::Future: Send + 'static,
    S::Error: fmt::Display,
{
    type Response = Reply;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Reply, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, asking: Asking) -> Self::Future {
        let span = span_of_query(&asking);
        let reply = span.in_scope(|| self.inner.call(asking));
        let told = async move {
            reply.await.inspect(tell_reply).inspect_err(|why| warn!(%why, "refused"))
        };
        Box::pin(told.instrument(span))
    }
}

fn span_of_query(asking: &Asking) -> Span {
    let fields = asking.metadata().fields();
    info_span!(
        "query",
        name = asking.query_name(),
        tenant = asking.tenant().as_str(),
        at_least = asking.at_least().get(),
        user = fields.user_id.as_deref().map(field::display),
        correlation = fields.correlation_id.as_deref().map(field::display),
    )
}

fn tell_reply(reply: &Reply) {
    match reply.error_kind() {
        None => debug!("answered"),
        Some(kind) => warn!(kind, "not answered"),
    }
}

fn span_of(dispatch: &Dispatch) -> Span {
    let fields = dispatch.metadata().fields();
    info_span!(
        "command",
        name = dispatch.command_name(),
        tenant = dispatch.tenant().as_str(),
        streams = ?dispatch.streams(),
        user = fields.user_id.as_deref().map(field::display),
        correlation = fields.correlation_id.as_deref().map(field::display),
    )
}

fn tell(outcome: &Outcome) {
    match outcome.error_kind() {
        None => debug!("carried out"),
        Some(kind @ ("store" | "contended")) => warn!(kind, "not carried out"),
        Some(kind) => info!(kind, "not carried out"),
    }
}
