//! Two processes that answer from read models of their own, and share what they have
//! answered through a server that may die: each kind of cache that processes share.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod found;
#[cfg(unix)]
mod postgres;
mod redis;

use std::sync::{Arc, atomic::Ordering};

use cqrs::{
    Aggregate, Answer, BoxError, CacheTag, Command, Commands, Decide, Event, Evolve, Keys,
    Projecting, Projector, Queries, Query, QuerySettings, View,
};
use es_core::{
    Random, Recorded, Rejection, SharedCache, Tenant,
    memory::{MemoryStore, MemoryViews},
};
use es_testkit::SeededRandom;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use self::found::Counted;

const TOWERS: usize = 8;
const RINGERS: u64 = 8;
const RINGS: u64 = 150;

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.rung")]
struct Rung;

#[derive(Default, Serialize, Deserialize, Aggregate)]
struct Bell {
    times: u64,
}

impl Evolve for Bell {
    type Event = Rung;

    fn evolve(&mut self, _: &Rung) {
        self.times += 1;
    }
}

impl View for Bell {
    const NAME: &'static str = "bells";
    type Key = String;

    fn keys(rung: Recorded<'_, Rung>) -> Keys<String> {
        Keys::One(rung.stream.id().to_owned())
    }
}

#[derive(Command)]
struct Ring {
    #[id(Bell)]
    tower: String,
}

impl Decide<Ring> for Bell {
    fn decide(&self, _: &Ring) -> Result<Vec<Rung>, Rejection> {
        Ok(vec![Rung])
    }
}

#[derive(Query)]
#[query(output = u64)]
struct TimesRung {
    tower: String,
}

struct Bells(Projector<MemoryViews>);

impl Answer<TimesRung> for Bells {
    async fn answer(&self, query: &TimesRung, tenant: &Tenant) -> Result<u64, BoxError> {
        let bell = self.0.of(tenant.clone()).get::<Bell>(&query.tower).await?;
        Ok(bell.map_or(0, |bell| bell.times))
    }
}

struct Process {
    queries: Queries,
    projecting: Projecting<MemoryViews>,
}

impl Process {
    fn start(store: &MemoryStore, cache: impl SharedCache) -> Self {
        let projector = Projector::new(store.clone(), MemoryViews::new()).view::<Bell>();
        let settings = QuerySettings::<TimesRung>::new()
            .tags(|query| vec![CacheTag::row::<Bell>(&query.tower)])
            .cached(|query| query.tower.clone())
            .max_weight(3)
            .shared();
        let queries = Queries::builder(projector.clone())
            .answer(Bells(projector.clone()), settings)
            .shared_cache(cache)
            .build();
        Self { queries, projecting: projector.start() }
    }
}

fn tower(random: &SeededRandom) -> String {
    format!("tower {}", random.below(TOWERS))
}

/// Rings and asks, here and there, with the token of its last ring and without.
async fn ring_and_ask(commands: Commands, processes: [Queries; 2], seed: u64) -> u64 {
    let random = SeededRandom::new(seed);
    let mut cached = 0;
    for _ in 0..RINGS {
        let tower = tower(&random);
        let sent = commands.send(Ring { tower: tower.clone() }).await.unwrap();
        for queries in &processes {
            let seen = queries.at_least(sent).ask(TimesRung { tower: tower.clone() }).await;
            let seen = seen.unwrap();
            assert!(*seen >= sent.version.get(), "{tower}: {seen:?}, and {sent:?}");
            cached += u64::from(seen.cached);
            let other = TimesRung { tower: self::tower(&random) };
            cached += u64::from(queries.ask(other).await.unwrap().cached);
        }
    }
    cached
}

/// What becomes of the server.
enum Fate {
    Dies,
    ComesBack,
}

/// Each process has a cache of its own to the one server.
async fn assert_no_answer_is_older_than_its_token<C: SharedCache>(
    caches: [C; 2],
    mut server: impl FnMut(Fate),
) {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let caches = caches.map(Counted::new);
    let found = caches.each_ref().map(|cache| Arc::clone(&cache.found));
    let [one, other] = caches.map(|cache| Process::start(&store, cache));
    let seed = es_core::World::real().random_u64();
    println!("GESTA_SEED={seed}");

    let mut cached = 0;
    for dies in [false, true, false] {
        let mut all = JoinSet::new();
        for ringer in 0..RINGERS {
            let processes = [one.queries.clone(), other.queries.clone()];
            let seed = SeededRandom::new(seed ^ ringer).next_u64();
            all.spawn(ring_and_ask(commands.clone(), processes, seed));
        }
        if dies {
            tokio::task::block_in_place(|| server(Fate::Dies));
        }
        while let Some(ended) = all.join_next().await {
            cached += ended.unwrap();
        }
        if dies {
            tokio::task::block_in_place(|| server(Fate::ComesBack));
        }
    }
    let found = found.map(|found| found.load(Ordering::Relaxed));
    println!("{} answers, {cached} of them cached, {found:?} there", 3 * RINGERS * RINGS * 4);
    assert!(found.iter().all(|found| *found > 0), "nothing was shared");
    for process in [one, other] {
        process.projecting.stop().await.unwrap();
    }
}
