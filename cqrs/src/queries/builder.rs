use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::{Arc, Once},
};

use es_core::World;
use tokio::sync::watch;
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

#[cfg(feature = "cache")]
use super::shared::Shared;
use super::{
    answerer::{Answerer, Several, Streamer},
    asking::Layered,
    bus::{Bus, Demand, Known, Queries},
};
use crate::{
    Answer, AnswerStream, Asking, BoxError, Freshness, Query, QuerySettings, Reply, ToAnswerer,
    metrics::Asked,
};

/// Configures [`Queries`].
///
/// ```
/// # use cqrs::{Answer, BoxError, Projector, Queries, Query, QuerySettings};
/// # use es_core::{Tenant, memory::{MemoryStore, MemoryViews}};
/// use std::time::Duration;
/// use tower::timeout::TimeoutLayer;
/// # #[derive(Query)]
/// # #[query(output = u64)]
/// # struct Double(u64);
/// # struct Calculator;
/// # impl Answer<Double> for Calculator {
/// #     async fn answer(&self, query: &Double, _: &Tenant) -> Result<u64, BoxError> { Ok(query.0 * 2) }
/// # }
/// # let projector = Projector::new(MemoryStore::new(), MemoryViews::new());
///
/// let queries = Queries::builder(projector)
///     .answer(Calculator, QuerySettings::<Double>::new())
///     .layer(TimeoutLayer::new(Duration::from_secs(2)))
///     .build();
/// ```
pub struct QueriesBuilder {
    freshness: Arc<dyn Freshness>,
    world: World,
    #[cfg(feature = "cache")]
    shared: Option<Arc<dyn es_core::SharedCache>>,
    answerers: HashMap<TypeId, Make>,
    streamers: Known,
    several: Known,
    layered: Option<Layered>,
}

/// Makes an answerer in its world.
type Make = Box<dyn FnOnce(&World) -> Arc<dyn Any + Send + Sync> + Send + Sync>;

impl QueriesBuilder {
    pub(super) fn new(freshness: Arc<dyn Freshness>) -> Self {
        Self {
            freshness,
            world: World::real(),
            #[cfg(feature = "cache")]
            shared: None,
            answerers: HashMap::new(),
            streamers: Known::new(),
            several: Known::new(),
            layered: None,
        }
    }

    /// Says who answers the queries of one type; the last to be named does.
    #[must_use]
    pub fn answer<Q: Query>(
        mut self,
        answerer: impl Answer<Q>,
        settings: QuerySettings<Q>,
    ) -> Self {
        let answerer = Answerer::new(answerer, settings);
        let make = |world: &World| Arc::new(answerer.in_world(world)) as _;
        self.answerers.insert(TypeId::of::<Q>(), Box::new(make));
        self
    }

    /// Says who answers the queries of one type bit by bit, to whoever calls
    /// [`Queries::stream`].
    #[must_use]
    pub fn answer_stream<Q: Query>(mut self, answerer: impl AnswerStream<Q>) -> Self {
        self.streamers.insert(TypeId::of::<Q>(), Arc::new(Streamer::new(answerer)));
        self
    }

    /// Adds one of several who answer the queries of one type, to whoever calls
    /// [`Queries::ask_all`]; the name tells them apart.
    #[must_use]
    pub fn answer_too<Q: Query>(mut self, name: &'static str, answerer: impl Answer<Q>) -> Self {
        let answerer = Answerer::new(answerer, QuerySettings::new());
        let none = || Arc::new(Several::<Q> { answerers: Vec::new() }) as Arc<_>;
        let several = self.several.remove(&TypeId::of::<Q>()).unwrap_or_else(none);
        let several = several.downcast::<Several<Q>>().ok().and_then(Arc::into_inner);
        let mut several = several.expect("the entry of a query is of its type, and not shared yet");
        several.answerers.push((name, answerer));
        self.several.insert(TypeId::of::<Q>(), Arc::new(several));
        self
    }

    /// Wraps a tower layer around the bus; the last one added is the outermost.
    ///
    /// Timeouts and concurrency limits come from tower. For authorization see
    /// [`Guard::queries`](crate::Guard::queries), for spans
    /// [`Trace`](crate::Trace). An answer of a subscription passes them each time.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Layered>,
        L::Service: Service<Asking, Response = Reply> + Clone + Send + Sync + 'static,
        <L::Service as Service<Asking>>::Error: Into<BoxError>,
        <L::Service as Service<Asking>>::Future: Send + 'static,
    {
        let inner = self.layered.take();
        let inner = inner.unwrap_or_else(|| BoxCloneSyncService::new(ToAnswerer));
        self.layered = Some(BoxCloneSyncService::new(layer.layer(inner).map_err(Into::into)));
        self
    }

    /// Puts a cache that other processes share behind the one of this process, for
    /// the queries whose settings say [`shared`](QuerySettings::shared).
    #[cfg(feature = "cache")]
    #[must_use]
    pub fn shared_cache(mut self, cache: impl es_core::SharedCache) -> Self {
        self.shared = Some(Arc::new(cache));
        self
    }

    /// Sets where time and tasks come from.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// The bus.
    pub fn build(self) -> Queries {
        #[cfg(feature = "cache")]
        let shared = self.shared.map(|cache| Arc::new(Shared::new(cache, self.world.clone())));
        #[cfg(not(feature = "cache"))]
        let shared = None;
        let made = self.answerers.into_iter().map(|(query, make)| (query, make(&self.world)));
        let answerers = made.collect();
        let bus = Bus {
            freshness: self.freshness,
            world: self.world,
            tags: Arc::default(),
            shared,
            metrics: Asked::new(),
            answerers,
            streamers: self.streamers,
            several: self.several,
            layered: self.layered,
            listening: Once::new(),
            open: watch::Sender::default(),
        };
        Queries { bus: Arc::new(bus), demand: Demand::default() }
    }
}

impl fmt::Debug for QueriesBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueriesBuilder")
            .field("queries", &self.answerers.len())
            .finish_non_exhaustive()
    }
}
