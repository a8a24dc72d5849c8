use std::sync::Arc;

use futures_util::future::join_all;

use super::{
    answerer::{Answerer, no_longer_than},
    bus::Queries,
};
use crate::{Answered, AskError, Query};

/// What several answerers have said, and which of them have not answered.
///
/// See [`Queries::ask_all`] for an example.
#[derive(Debug)]
pub struct Gathered<T> {
    /// Who has answered, and what, in the order in which they were added.
    pub answers: Vec<(&'static str, Answered<T>)>,
    /// Who has not, and why.
    pub missing: Vec<(&'static str, AskError)>,
}

impl<T> Gathered<T> {
    /// Whether all have answered.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

impl Queries {
    /// Asks all who answer this query, at once, and waits for them no longer than
    /// [`within`](Self::within) says: then those who have answered are what there
    /// is. They are asked in one task, and those who are late are dropped.
    ///
    /// ```
    /// # use cqrs::{Answer, BoxError, Projector, Queries, Query};
    /// # use es_core::{Tenant, memory::{MemoryStore, MemoryViews}};
    /// use std::time::Duration;
    ///
    /// #[derive(Query)]
    /// #[query(output = u64)]
    /// struct PriceOf { article: String }
    ///
    /// struct Shop(u64);
    ///
    /// impl Answer<PriceOf> for Shop {
    ///     async fn answer(&self, _: &PriceOf, _: &Tenant) -> Result<u64, BoxError> { Ok(self.0) }
    /// }
    ///
    /// struct Closed;
    ///
    /// impl Answer<PriceOf> for Closed {
    ///     async fn answer(&self, _: &PriceOf, _: &Tenant) -> Result<u64, BoxError> {
    ///         std::future::pending().await
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), BoxError> {
    /// # let projector = Projector::new(MemoryStore::new(), MemoryViews::new());
    /// let queries = Queries::builder(projector)
    ///     .answer_too::<PriceOf>("corner", Shop(7))
    ///     .answer_too::<PriceOf>("mall", Closed)
    ///     .answer_too::<PriceOf>("market", Shop(5))
    ///     .build();
    /// let prices = queries.within(Duration::from_millis(20)).ask_all(PriceOf { article: "tea".into() }).await?;
    /// let cheapest = prices.answers.iter().min_by_key(|(_, price)| **price);
    /// assert_eq!(cheapest.map(|(shop, _)| *shop), Some("market"));
    /// assert_eq!(prices.missing[0].0, "mall");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AskError::NotAnswered`] if nobody was told to answer it, and
    /// [`AskError::Refused`] if a layer says no.
    pub async fn ask_all<Q: Query>(&self, query: Q) -> Result<Gathered<Q::Output>, AskError> {
        let query = Arc::new(query);
        let asked = Arc::clone(&query);
        let run = |queries: Self| async move { queries.gathered(asked).await };
        self.through_layers(query, run).await
    }

    async fn gathered<Q: Query>(&self, query: Arc<Q>) -> Result<Gathered<Q::Output>, AskError> {
        let several = self.bus.several::<Q>()?;
        let (world, within) = (&self.bus.world, self.demand.within);
        let asked = several.answerers.iter().map(|(name, answerer)| {
            let answer = no_longer_than(within, world, self.one(answerer, Arc::clone(&query)));
            async move { (*name, answer.await.and_then(|answer| answer)) }
        });
        let mut gathered = Gathered { answers: Vec::new(), missing: Vec::new() };
        for (name, answer) in join_all(asked).await {
            match answer {
                Ok(answer) => gathered.answers.push((name, answer)),
                Err(error) => gathered.missing.push((name, error)),
            }
        }
        Ok(gathered)
    }

    async fn one<Q: Query>(
        &self,
        answerer: &Answerer<Q>,
        query: Arc<Q>,
    ) -> Result<Answered<Q::Output>, AskError> {
        self.wait_for(self.demand.at_least).await?;
        self.bus.metrics.loaded();
        let (tenant, freshness) = (self.demand.tenant.clone(), &*self.bus.freshness);
        let (answer, as_of) = answerer.load(query, tenant, freshness, &self.bus.world).await?;
        Ok(Answered { answer, as_of, cached: false, stale: None })
    }
}
