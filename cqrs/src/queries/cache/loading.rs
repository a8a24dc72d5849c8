use std::sync::Arc;

use es_core::{CachePlace, World};

use super::{
    caching::Caching,
    entry::{Birth, Condition, Entry, Key},
    flights::{Boarded, Flight, Flights, Landed, Waiting},
    local::Local,
    sharing::{Found, Sharing, place_key},
};
use crate::{
    Answered, AskError, Queries, Query, Stale,
    queries::{answerer::Answerer, tags::texts},
};

/// How many answers a query waits for that do not show what it wants: the load was
/// under way already, or took what another process had made. Then it loads alone.
const ROUNDS: usize = 3;

/// The answers to queries of one type, and the loads of them.
pub(in crate::queries) struct Cache<Q: Query> {
    caching: Caching<Q>,
    local: Local<Q::Output>,
    flights: Flights<Q::Output>,
}

impl<Q: Query> Cache<Q> {
    pub(in crate::queries) fn new(caching: Caching<Q>, world: &World) -> Self {
        let local = Local::new(caching.max_weight, Arc::clone(&caching.weigh), world);
        Self { caching, local, flights: Flights::new() }
    }
}

/// One cached query on its way to its answer.
pub(in crate::queries) struct Loading<'a, Q: Query> {
    queries: &'a Queries,
    answerer: &'a Arc<Answerer<Q>>,
    cache: &'a Cache<Q>,
    query: &'a Arc<Q>,
    key: Key,
}

impl Queries {
    pub(in crate::queries) fn loading<'a, Q: Query>(
        &'a self,
        answerer: &'a Arc<Answerer<Q>>,
        query: &'a Arc<Q>,
    ) -> Option<Loading<'a, Q>> {
        let cache = answerer.cache.as_ref()?;
        let key = (self.demand.tenant.clone(), (cache.caching.key)(query));
        Some(Loading { queries: self, answerer, cache, query, key })
    }
}

impl<Q: Query> Loading<'_, Q> {
    /// The answer, from the nearest place that has one which is good enough.
    pub(in crate::queries) async fn answer(&self) -> Result<Answered<Q::Output>, AskError> {
        self.queries.listening();
        let wanted = self.queries.demand.at_least;
        match self.remembered() {
            Some((entry, Condition::Good)) if entry.as_of >= wanted => {
                return Ok(entry.answered(true, None));
            }
            Some((entry, Condition::InGrace)) if entry.as_of >= wanted => {
                // Nobody waits for what comes next.
                let _ = self.board();
                return Ok(entry.answered(true, Some(Stale::Expired)));
            }
            _ => {}
        }
        // A load that begins after this shows what is wanted.
        self.queries.wait_for(wanted).await?;
        for _ in 0..ROUNDS {
            let landed = match self.board() {
                Ok(entry) => return Ok(entry.answered(true, None)),
                Err(waiting) => waiting.landed().await?,
            };
            if landed.as_of >= wanted {
                return Ok(landed.answered(landed.shared, None));
            }
        }
        // Others with less to ask for were always faster.
        let landed = self.load(self.birth().0).await?;
        Ok(landed.answered(false, None))
    }

    /// Whatever is remembered, good or not.
    pub(in crate::queries) fn any(&self) -> Option<Answered<Q::Output>> {
        let entry = self.cache.local.get(&self.key)?;
        Some(entry.answered(true, Some(Stale::Expired)))
    }

    fn remembered(&self) -> Option<(Arc<Entry<Q::Output>>, Condition)> {
        let entry = self.cache.local.get(&self.key)?;
        let now = self.queries.bus.world.now();
        let condition = entry.condition(&self.queries.bus.tags, now, self.cache.caching.grace);
        Some((entry, condition))
    }

    /// Joins the load of this answer, or begins one; it belongs to the bus, and
    /// goes on if whoever waits for it does not.
    fn board(&self) -> Result<Arc<Entry<Q::Output>>, Waiting<Q::Output>> {
        let wanted = self.queries.demand.at_least;
        let landed = || {
            let (entry, condition) = self.remembered()?;
            (condition == Condition::Good && entry.as_of >= wanted).then_some(entry)
        };
        match self.cache.flights.board(&self.key, landed) {
            Boarded::Landed(entry) => Ok(entry),
            Boarded::Waits(waiting) => Err(waiting),
            Boarded::Flies(flight, waiting) => {
                let (queries, answerer) = (self.queries.clone(), Arc::clone(self.answerer));
                let (query, key) = (Arc::clone(self.query), self.key.clone());
                self.queries.bus.world.detach(async move {
                    let Some(cache) = &answerer.cache else { return };
                    let (queries, answerer, query) = (&queries, &answerer, &query);
                    Loading { queries, answerer, cache, query, key }.fly(flight).await;
                });
                Err(waiting)
            }
        }
    }

    /// First the tags are held, here and in the shared cache; then it is asked how
    /// far the read models are; then they are read. So whatever an answer misses
    /// is told, by position and by stamp, after it was held.
    async fn fly(&self, flight: Flight<Q::Output>) {
        let (born, sharing) = self.birth();
        let looked = match &sharing {
            Some(sharing) => sharing.look_up().await,
            None => None,
        };
        let stamp = match looked {
            None => None,
            Some((stamp, found)) => match found.and_then(|found| self.found(found, &born)) {
                Some(entry) => return self.land(flight, Ok(entry)),
                None => Some(stamp),
            },
        };
        let loaded = self.load(born).await;
        self.land(flight, loaded.clone());
        if let (Ok(entry), Some(sharing), Some(stamp)) = (loaded, sharing, stamp) {
            sharing.put(&stamp, entry.as_of, &entry.answer).await;
        }
    }

    fn birth(&self) -> (Birth, Option<Sharing<Q::Output>>) {
        let Queries { bus, demand } = self.queries;
        let tags = texts(&self.answerer.settings.tags_of(self.query), &demand.tenant);
        let born = Birth::now(&bus.tags, &tags);
        let caching = &self.cache.caching;
        let sharing = bus.shared.clone().zip(caching.payload).map(|(shared, payload)| {
            let place = CachePlace::new(place_key(Q::NAME, &self.key), caching.ttl).tags(tags);
            Sharing { shared, payload, place }
        });
        (born, sharing)
    }

    /// An answer that another process has made, if it will do.
    fn found(&self, found: Found<Q::Output>, born: &Birth) -> Option<Arc<Entry<Q::Output>>> {
        let Queries { bus, demand } = self.queries;
        let Found { answer, as_of, left } = found;
        let is_good = as_of >= demand.at_least && born.shows_all(as_of, &bus.tags);
        let until = bus.world.now() + left.min(self.cache.caching.ttl);
        let entry = Entry { answer, as_of, born: born.clone(), until, shared: true };
        is_good.then(|| Arc::new(entry))
    }

    async fn load(&self, born: Birth) -> Landed<Q::Output> {
        let Queries { bus, demand } = self.queries;
        bus.metrics.loaded();
        let (query, tenant) = (Arc::clone(self.query), demand.tenant.clone());
        let loaded = self.answerer.load(query, tenant, &*bus.freshness, &bus.world).await;
        let (answer, as_of) = loaded?;
        let until = bus.world.now() + self.cache.caching.ttl;
        Ok(Arc::new(Entry { answer, as_of, born, until, shared: false }))
    }

    fn land(&self, flight: Flight<Q::Output>, landed: Landed<Q::Output>) {
        if let Ok(entry) = &landed {
            self.cache.local.insert(&self.key, Arc::clone(entry));
        }
        flight.land(landed);
    }
}
