use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::{Arc, Once},
    time::Duration,
};

use es_core::{Metadata, Position, Tenant, World};
use tokio::sync::watch;
use tower::ServiceExt;

use super::{
    answerer::{Answerer, Several, Streamer, no_longer_than},
    asking::Layered,
    listening::listen,
    shared::Shared,
    tags::Tags,
};
use crate::{
    Answered, AskError, Asking, BoxError, Freshness, QueriesBuilder, Query, Reply, metrics::Asked,
};

/// How long a query waits for a position, unless it says otherwise.
const WITHIN: Duration = Duration::from_secs(5);

/// The query bus: hands each query to its answerer, or to a cache that knows how
/// old its answers are.
///
/// An answer says up to where it shows the log, and a query may say up to where it
/// has to: the position that [`Sent`](crate::Sent) tells is the token with which
/// you read your own writes. Clones share everything.
///
/// ```
/// use cqrs::{Answer, BoxError, Projector, Queries, Query, QuerySettings};
/// # use cqrs::{Aggregate, Command, Commands, Decide, Event, Evolve, Keys, View};
/// # use es_core::{Recorded, Rejection, Tenant, memory::{MemoryStore, MemoryViews}};
/// # use serde::{Deserialize, Serialize};
/// #
/// # #[derive(Serialize, Deserialize, Event)]
/// # #[event(name = "bell.rung")]
/// # struct Rung;
/// # #[derive(Default, Serialize, Deserialize, Aggregate)]
/// # struct Bell { times: u32 }
/// # impl Evolve for Bell { type Event = Rung; fn evolve(&mut self, _: &Rung) { self.times += 1; } }
/// # #[derive(Command)]
/// # struct Ring { #[id(Bell)] tower: String }
/// # impl Decide<Ring> for Bell {
/// #     fn decide(&self, _: &Ring) -> Result<Vec<Rung>, Rejection> { Ok(vec![Rung]) }
/// # }
/// # impl View for Bell {
/// #     const NAME: &'static str = "bells";
/// #     type Key = String;
/// #     fn keys(rung: Recorded<'_, Rung>) -> Keys<String> { Keys::One(rung.stream.id().to_owned()) }
/// # }
///
/// #[derive(Query)]
/// #[query(output = u32)]
/// struct TimesRung { tower: String }
///
/// struct Bells(Projector<MemoryViews>);
///
/// impl Answer<TimesRung> for Bells {
///     async fn answer(&self, query: &TimesRung, tenant: &Tenant) -> Result<u32, BoxError> {
///         let bell = self.0.of(tenant.clone()).get::<Bell>(&query.tower).await?;
///         Ok(bell.map_or(0, |bell| bell.times))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// # let store = MemoryStore::new();
/// # let commands = Commands::new(store.clone());
/// let projector = Projector::new(store, MemoryViews::new()).view::<Bell>();
/// let queries = Queries::builder(projector.clone())
///     .answer(Bells(projector.clone()), QuerySettings::<TimesRung>::new())
///     .build();
/// let projecting = projector.start();
///
/// let sent = commands.send(Ring { tower: "ghent".into() }).await?;
/// let times = queries.at_least(sent).ask(TimesRung { tower: "ghent".into() }).await?;
/// assert_eq!(*times, 1);
/// assert!(times.as_of >= sent.position);
/// # projecting.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Queries {
    pub(super) bus: Arc<Bus>,
    pub(super) demand: Demand,
}

/// What all clones of a query bus share.
pub(super) struct Bus {
    pub(super) freshness: Arc<dyn Freshness>,
    pub(super) world: World,
    pub(super) tags: Arc<Tags>,
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) metrics: Asked,
    pub(super) answerers: Known,
    pub(super) streamers: Known,
    pub(super) several: Known,
    pub(super) layered: Option<Layered>,
    pub(super) listening: Once,
    /// Gone when the last clone is, and with it ends who listens.
    pub(super) open: watch::Sender<()>,
}

pub(super) type Known = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// Whose query it is, and what its answer has to be like.
#[derive(Debug, Clone)]
pub(super) struct Demand {
    pub(super) tenant: Tenant,
    pub(super) metadata: Metadata,
    pub(super) at_least: Position,
    pub(super) within: Duration,
    pub(super) or_stale: bool,
}

impl Default for Demand {
    fn default() -> Self {
        Self {
            tenant: Tenant::default(),
            metadata: Metadata::default(),
            at_least: Position::START,
            within: WITHIN,
            or_stale: false,
        }
    }
}

impl Queries {
    /// A bus whose answers come from read models as fresh as that; mostly a
    /// [`Projector`](crate::Projector).
    pub fn builder(freshness: impl Freshness) -> QueriesBuilder {
        QueriesBuilder::new(Arc::new(freshness))
    }

    /// The same bus; what is asked through it carries this metadata, which the
    /// layers see.
    #[must_use]
    pub fn with(&self, metadata: Metadata) -> Self {
        self.demanding(|demand| demand.metadata = metadata)
    }

    /// The same bus; what is asked through it is asked for this tenant.
    #[must_use]
    pub fn of(&self, tenant: Tenant) -> Self {
        self.demanding(|demand| demand.tenant = tenant)
    }

    /// The same bus; what is asked through it shows every event at or before this
    /// position, or waits for it.
    #[must_use]
    pub fn at_least(&self, token: impl Into<Position>) -> Self {
        let token = token.into();
        self.demanding(|demand| demand.at_least = demand.at_least.max(token))
    }

    /// The same bus; what is asked through it waits so long for its position, and
    /// for the answerers of [`ask_all`](Self::ask_all). 5 seconds by default.
    #[must_use]
    pub fn within(&self, within: Duration) -> Self {
        self.demanding(|demand| demand.within = within)
    }

    /// The same bus; what is asked through it takes an answer that is older than
    /// it should be, and says so, before it fails: when the position has not come
    /// within the time, or when the answerer fails and an old answer is remembered.
    #[must_use]
    pub fn or_stale(&self) -> Self {
        self.demanding(|demand| demand.or_stale = true)
    }

    fn demanding(&self, change: impl FnOnce(&mut Demand)) -> Self {
        let mut queries = self.clone();
        change(&mut queries.demand);
        queries
    }

    /// Waits until the read models show every event at or before this position:
    /// never returns early.
    ///
    /// # Errors
    ///
    /// [`AskError::Behind`] if that takes longer than [`within`](Self::within) says.
    pub async fn wait_for(&self, token: impl Into<Position>) -> Result<(), AskError> {
        let (wanted, within) = (token.into(), self.demand.within);
        if wanted == Position::START {
            return Ok(());
        }
        let freshness = &self.bus.freshness;
        match no_longer_than(within, &self.bus.world, freshness.wait_for(wanted)).await {
            Ok(waited) => Ok(waited?),
            Err(_) => Err(AskError::Behind { wanted, as_of: freshness.as_of().await? }),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`AskError`]: the variant says what to do.
    pub async fn ask<Q: Query>(&self, query: Q) -> Result<Answered<Q::Output>, AskError> {
        self.ask_again(Arc::new(query)).await
    }

    pub(super) async fn ask_again<Q: Query>(
        &self,
        query: Arc<Q>,
    ) -> Result<Answered<Q::Output>, AskError> {
        let asked = Arc::clone(&query);
        let run = |queries: Self| async move { queries.answered(asked).await };
        let answer = self.through_layers(query, run).await;
        self.bus.metrics.answered(&answer);
        answer
    }

    /// Hands a query to the layers, if there are any; the innermost runs it.
    pub(super) async fn through_layers<Q: Query, T: Send + 'static, F>(
        &self,
        query: Arc<Q>,
        run: impl FnOnce(Self) -> F + Send + 'static,
    ) -> Result<T, AskError>
    where
        F: Future<Output = Result<T, AskError>> + Send + 'static,
    {
        let Some(layered) = self.bus.layered.clone() else { return run(self.clone()).await };
        let running = run(self.clone());
        let run = move || {
            let reply = async move {
                let answer = running.await;
                let error_kind = answer.as_ref().err().map(AskError::kind);
                Reply { error_kind, answer: Box::new(answer) }
            };
            Box::pin(reply) as _
        };
        let asking = Asking {
            query_name: Q::NAME,
            tenant: self.demand.tenant.clone(),
            metadata: self.demand.metadata.clone(),
            at_least: self.demand.at_least,
            query,
            run: Box::new(run),
        };
        let refused = |source: BoxError| AskError::Refused(source.into());
        let reply = layered.oneshot(asking).await.map_err(refused)?;
        let answer = reply.answer.downcast::<Result<T, AskError>>();
        *answer.map_err(|_| refused("a layer answered for another query".into()))?
    }

    /// The bus hears of changes from the first time on that anybody cares.
    pub(super) fn listening(&self) {
        self.bus.listening.call_once(|| {
            let Bus { freshness, tags, shared, world, open, .. } = &*self.bus;
            let listening = listen(freshness.changes(), Arc::clone(tags), shared.clone());
            let mut open = open.subscribe();
            world.detach(async move {
                tokio::select! {
                    biased;
                    _ = open.changed() => {}
                    () = listening => {}
                }
            });
        });
    }
}

impl Bus {
    pub(super) fn answerer<Q: Query>(&self) -> Result<Arc<Answerer<Q>>, AskError> {
        find::<Q, _>(&self.answerers)
    }

    pub(super) fn streamer<Q: Query>(&self) -> Result<Arc<Streamer<Q>>, AskError> {
        find::<Q, _>(&self.streamers)
    }

    pub(super) fn several<Q: Query>(&self) -> Result<Arc<Several<Q>>, AskError> {
        find::<Q, _>(&self.several)
    }
}

fn find<Q: Query, T: Send + Sync + 'static>(known: &Known) -> Result<Arc<T>, AskError> {
    let found = known.get(&TypeId::of::<Q>()).ok_or(AskError::NotAnswered { query: Q::NAME })?;
    Ok(Arc::clone(found).downcast().expect("the entry of a query is of its type"))
}

impl fmt::Debug for Queries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queries").field("demand", &self.demand).finish_non_exhaustive()
    }
}
