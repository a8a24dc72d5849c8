use std::sync::Arc;

use es_core::Position;

use super::{answerer::Answerer, bus::Queries};
use crate::{Answered, AskError, Query};

impl Queries {
    /// What the innermost service does: the answer from the cache if there is one,
    /// else from the answerer, and a stale one if that is welcome.
    pub(super) async fn answered<Q: Query>(
        self,
        query: Arc<Q>,
    ) -> Result<Answered<Q::Output>, AskError> {
        let answerer = self.bus.answerer::<Q>()?;
        match self.good(&answerer, &query).await {
            Err(error) if self.demand.or_stale => self.stale(&answerer, &query, error).await,
            answer => answer,
        }
    }

    /// An answer that shows what is wanted.
    async fn good<Q: Query>(
        &self,
        answerer: &Arc<Answerer<Q>>,
        query: &Arc<Q>,
    ) -> Result<Answered<Q::Output>, AskError> {
        #[cfg(feature = "cache")]
        if let Some(loading) = self.loading(answerer, query) {
            return loading.answer().await;
        }
        self.wait_for(self.demand.at_least).await?;
        self.bus.metrics.loaded();
        let (query, tenant) = (Arc::clone(query), self.demand.tenant.clone());
        let (freshness, world) = (&*self.bus.freshness, &self.bus.world);
        let (answer, as_of) = answerer.load(query, tenant, freshness, world).await?;
        Ok(Answered { answer, as_of, cached: false, stale: None })
    }

    /// Whatever answer there is instead of an error.
    async fn stale<Q: Query>(
        &self,
        answerer: &Arc<Answerer<Q>>,
        query: &Arc<Q>,
        error: AskError,
    ) -> Result<Answered<Q::Output>, AskError> {
        let wanted = self.demand.at_least;
        let mut undemanding = self.clone();
        undemanding.demand.at_least = Position::START;
        if let AskError::Behind { .. } = error
            && let Ok(answer) = undemanding.good(answerer, query).await
        {
            return Ok(answer.measured(wanted));
        }
        #[cfg(feature = "cache")]
        if let Some(answer) = self.loading(answerer, query).and_then(|loading| loading.any()) {
            return Ok(answer.measured(wanted));
        }
        Err(error)
    }
}
