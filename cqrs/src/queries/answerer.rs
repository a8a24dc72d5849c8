//! Answerers, their types forgotten.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use es_core::{Position, Tenant, World};
use futures_util::{FutureExt, future::BoxFuture, stream::BoxStream};

use super::{freshness::Freshness, settings::QuerySettings};
use crate::{Answer, AnswerStream, AskError, BoxError, Query};

type Answering<T> = BoxFuture<'static, Result<T, BoxError>>;
type Streaming<T> = BoxStream<'static, Result<T, BoxError>>;
type Answers<Q, T> = Box<dyn Fn(Arc<Q>, Tenant) -> Answering<T> + Send + Sync>;
type Streams<Q, T> = Box<dyn Fn(&Q, &Tenant) -> Streaming<T> + Send + Sync>;

/// Who answers a query, and how.
pub(super) struct Answerer<Q: Query> {
    answer: Answers<Q, Q::Output>,
    pub(super) settings: QuerySettings<Q>,
    #[cfg(feature = "cache")]
    pub(super) cache: Option<super::cache::Cache<Q>>,
}

impl<Q: Query> Answerer<Q> {
    /// Without a cache.
    pub(super) fn new(answerer: impl Answer<Q>, settings: QuerySettings<Q>) -> Self {
        let answerer = Arc::new(answerer);
        let answer = move |query: Arc<Q>, tenant: Tenant| {
            let answerer = Arc::clone(&answerer);
            let answering = async move { answerer.answer(&query, &tenant).await };
            Box::pin(answering) as Answering<Q::Output>
        };
        Self {
            answer: Box::new(answer),
            settings,
            #[cfg(feature = "cache")]
            cache: None,
        }
    }

    /// With the cache that its settings ask for.
    #[cfg(feature = "cache")]
    pub(super) fn in_world(mut self, world: &World) -> Self {
        let caching = self.settings.caching.clone();
        self.cache = caching.map(|caching| super::cache::Cache::new(caching, world));
        self
    }

    #[cfg(not(feature = "cache"))]
    pub(super) fn in_world(self, _: &World) -> Self {
        self
    }

    /// Asks it, and with the answer comes what it shows at least: how far the read
    /// models had come *before* they were read.
    pub(super) async fn load(
        &self,
        query: Arc<Q>,
        tenant: Tenant,
        freshness: &dyn Freshness,
        world: &World,
    ) -> Result<(Arc<Q::Output>, Position), AskError> {
        let within = self.settings.within;
        let loading = async {
            let as_of = freshness.as_of().await?;
            let answering = AssertUnwindSafe(async { (self.answer)(query, tenant).await });
            let answer = answering.catch_unwind().await.map_err(|_| AskError::Panicked)?;
            let answer = answer.map_err(|source| AskError::Failed(source.into()))?;
            Ok((Arc::new(answer), as_of))
        };
        no_longer_than(within, world, loading).await?
    }
}

/// Who answers a query bit by bit.
pub(super) struct Streamer<Q: Query> {
    pub(super) stream: Streams<Q, Q::Output>,
}

impl<Q: Query> Streamer<Q> {
    pub(super) fn new(answerer: impl AnswerStream<Q>) -> Self {
        let stream = move |query: &Q, tenant: &Tenant| answerer.answer_stream(query, tenant);
        Self { stream: Box::new(stream) }
    }
}

/// Several who answer one query, each by its name.
pub(super) struct Several<Q: Query> {
    pub(super) answerers: Vec<(&'static str, Answerer<Q>)>,
}

pub(super) async fn no_longer_than<T>(
    within: Duration,
    world: &World,
    work: impl Future<Output = T>,
) -> Result<T, AskError> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = world.sleep(within) => Err(AskError::TimedOut { within }),
    }
}
