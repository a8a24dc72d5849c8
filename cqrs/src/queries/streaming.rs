use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use es_core::Position;
use futures_util::{Stream, StreamExt, stream::BoxStream};

use super::bus::Queries;
use crate::{AskError, Query};

/// Answers that are made one by one as they are asked for, and how old they are at
/// most.
///
/// See [`Queries::stream`] for an example.
pub struct Streamed<T> {
    /// Each answer shows every event at or before it.
    pub as_of: Position,
    answers: BoxStream<'static, Result<T, AskError>>,
}

impl Queries {
    /// Asks for answers bit by bit. Nothing is made before it is asked for, and
    /// nothing waits in memory; dropping the stream ends the work.
    ///
    /// ```
    /// # use cqrs::{AnswerStream, BoxError, Projector, Queries, Query};
    /// # use es_core::{Tenant, memory::{MemoryStore, MemoryViews}};
    /// use futures_util::{StreamExt, stream::{self, BoxStream}};
    ///
    /// #[derive(Query)]
    /// #[query(output = u64)]
    /// struct CountTo(u64);
    ///
    /// struct Counter;
    ///
    /// impl AnswerStream<CountTo> for Counter {
    ///     fn answer_stream(&self, query: &CountTo, _: &Tenant) -> BoxStream<'static, Result<u64, BoxError>> {
    ///         stream::iter(1..=query.0).map(Ok).boxed()
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let projector = Projector::new(MemoryStore::new(), MemoryViews::new());
    /// let queries = Queries::builder(projector).answer_stream(Counter).build();
    /// let mut numbers = queries.stream(CountTo(1_000_000)).await?;
    /// assert_eq!(numbers.next().await.transpose()?, Some(1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AskError`]: the variant says what to do. With
    /// [`or_stale`](Self::or_stale) it begins although the position has not come;
    /// [`Streamed::as_of`] says where it stands.
    pub async fn stream<Q: Query>(&self, query: Q) -> Result<Streamed<Q::Output>, AskError> {
        let query = Arc::new(query);
        let asked = Arc::clone(&query);
        let run = |queries: Self| async move { queries.streamed(&*asked).await };
        self.through_layers(query, run).await
    }

    async fn streamed<Q: Query>(&self, query: &Q) -> Result<Streamed<Q::Output>, AskError> {
        let streamer = self.bus.streamer::<Q>()?;
        match self.wait_for(self.demand.at_least).await {
            Err(AskError::Behind { .. }) if self.demand.or_stale => {}
            waited => waited?,
        }
        let as_of = self.bus.freshness.as_of().await?;
        self.bus.metrics.loaded();
        let answers = (streamer.stream)(query, &self.demand.tenant);
        let failed = |source: crate::BoxError| AskError::Failed(source.into());
        Ok(Streamed { as_of, answers: answers.map(move |answer| answer.map_err(failed)).boxed() })
    }
}

impl<T> Stream for Streamed<T> {
    type Item = Result<T, AskError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.answers.poll_next_unpin(context)
    }
}

impl<T> fmt::Debug for Streamed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed").field("as_of", &self.as_of).finish_non_exhaustive()
    }
}
