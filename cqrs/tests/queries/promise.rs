//! Two processes, one log, one shared cache, and read models that lag: no answer is
//! older than the token, or than it says, in whatever order things happen.
//!
//! `GESTA_QUERY_STEPS` sets how many steps are taken, `GESTA_SEED` repeats a run.

use std::{sync::Arc, time::Duration};

use cqrs::{Answer, Answered, AskError, BoxError, CacheTag, Queries, QuerySettings, Stale};
use es_core::{Position, Random, Tenant, World, memory::MemorySharedCache};
use es_testkit::{SeededRandom, TestClock};
use tokio::task::JoinSet;

use crate::world::{NumberAt, Shelf, at};

const STEPS: u64 = 20_000;
const PLACES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// Answers that a process remembers: so few that it forgets some.
const REMEMBERED: u64 = 3;
/// After so many steps all comes to rest once.
const ROUND: u64 = 200;
/// Queries that are under way at the same time.
const ASKED: usize = 48;
const TTL: Duration = Duration::from_secs(60);

/// The log: at each position a place, whose number is the position from then on.
#[derive(Default)]
struct Log(Vec<&'static str>);

impl Log {
    fn head(&self) -> u64 {
        self.0.len() as u64
    }

    /// What stands at the place after the event at `position`.
    fn number(&self, place: &str, position: u64) -> u64 {
        let upto = &self.0[..usize::try_from(position).unwrap()];
        upto.iter().rposition(|changed| *changed == place).map_or(0, |at| at as u64 + 1)
    }
}

/// A process: its read model, how far that has come in each respect, its bus.
struct Process {
    shelf: Shelf,
    committed: u64,
    told: u64,
    moved: u64,
    queries: Queries,
}

/// Reads the shelf after a while, and answers after another.
struct Dawdler {
    shelf: Shelf,
    random: Arc<SeededRandom>,
}

impl Dawdler {
    async fn dawdle(&self) {
        for _ in 0..self.random.below(12) {
            tokio::task::yield_now().await;
        }
    }
}

impl Answer<NumberAt> for Dawdler {
    async fn answer(&self, query: &NumberAt, tenant: &Tenant) -> Result<u64, BoxError> {
        self.dawdle().await;
        let number = self.shelf.read(tenant, &query.place);
        self.dawdle().await;
        if self.random.below(500) == 0 {
            return Err("it fails now and then".into());
        }
        Ok(number)
    }
}

impl Process {
    fn new(random: &Arc<SeededRandom>, clock: &TestClock, shared: &MemorySharedCache) -> Self {
        let shelf = Shelf::new();
        let settings = QuerySettings::new()
            .tags(|query: &NumberAt| vec![CacheTag::row_of("shelf", &query.place)])
            .cached(|query| query.place.clone())
            .max_weight(REMEMBERED)
            .ttl(TTL)
            .stale_while_revalidate(TTL)
            .shared();
        let dawdler = Dawdler { shelf: shelf.clone(), random: Arc::clone(random) };
        let queries = Queries::builder(shelf.clone())
            .answer(dawdler, settings)
            .shared_cache(shared.clone())
            .world(World::real().with_clock(clock.clone()).with_random(SeededRandom::new(7)))
            .build();
        Self { shelf, committed: 0, told: 0, moved: 0, queries }
    }

    /// One of the things that a projector does, on one of the next events.
    fn project(&mut self, log: &Log, random: &SeededRandom) {
        match random.below(3) {
            0 if self.committed < log.head() => {
                self.committed += 1;
                let place = log.0[usize::try_from(self.committed).unwrap() - 1];
                self.shelf.commit(place, self.committed);
            }
            1 if self.told < self.committed => {
                self.told += 1;
                let place = log.0[usize::try_from(self.told).unwrap() - 1];
                self.shelf.tell(place, self.told);
            }
            2 if self.moved < self.committed => {
                self.moved += 1;
                self.shelf.move_to(self.moved);
            }
            _ => {}
        }
    }

    fn catch_up(&mut self, log: &Log, random: &SeededRandom) {
        while self.told.min(self.moved) < log.head() {
            self.project(log, random);
        }
    }
}

/// A query under way: the place, the token, and what became of it.
type Asked = (&'static str, u64, Result<Answered<u64>, AskError>);

#[derive(Debug, Default)]
struct Counts {
    answers: u64,
    tokens: u64,
    cached: u64,
    stale: u64,
    errors: u64,
}

impl Counts {
    fn check(&mut self, log: &Log, (place, token, answer): Asked) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // The clock runs while they wait and load.
                let expected = ["failed", "behind", "timed_out"];
                assert!(expected.contains(&error.kind()), "{error:?}");
                self.errors += 1;
                return;
            }
        };
        let as_of = answer.as_of.get();
        let behind = token.saturating_sub(as_of);
        let told = answer.stale == Some(Stale::Behind { positions: behind });
        assert!(behind == 0 || told, "{place}: asked for {token}, got {answer:?}");
        let at_least = log.number(place, as_of);
        assert!(*answer >= at_least, "{place} was {at_least} at {as_of}, got {answer:?}");
        self.answers += 1;
        self.tokens += u64::from(token > 0);
        self.cached += u64::from(answer.cached);
        self.stale += u64::from(answer.is_stale());
    }
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[tokio::test]
async fn no_answer_is_older_than_the_token_that_the_asker_holds() {
    let steps = number_of("GESTA_QUERY_STEPS").unwrap_or(STEPS);
    let seed = number_of("GESTA_SEED").unwrap_or_else(|| World::real().random_u64());
    println!("GESTA_SEED={seed} GESTA_QUERY_STEPS={steps}");
    let random = Arc::new(SeededRandom::new(seed));
    let clock = TestClock::new();
    let shared = MemorySharedCache::in_world(World::real().with_clock(clock.clone()));
    let mut processes = [(); 2].map(|()| Process::new(&random, &clock, &shared));
    let (mut log, mut counts, mut left) = (Log::default(), Counts::default(), steps);
    while left > 0 {
        let round = left.min(ROUND);
        left -= round;
        let mut asked = JoinSet::new();
        for _ in 0..round {
            step(&mut processes, &mut log, &mut asked, &clock, &random);
            if random.next_u64().is_multiple_of(3) {
                tokio::task::yield_now().await;
            }
            while let Some(ended) = asked.try_join_next() {
                counts.check(&log, ended.unwrap());
            }
        }
        for process in &mut processes {
            process.catch_up(&log, &random);
        }
        while let Some(ended) = asked.join_next().await {
            counts.check(&log, ended.unwrap());
        }
        nothing_stale_is_left(&processes, &log).await;
    }
    println!("{steps} steps, {} events, {counts:?}", log.head());
}

fn step(
    processes: &mut [Process; 2],
    log: &mut Log,
    asked: &mut JoinSet<Asked>,
    clock: &TestClock,
    random: &SeededRandom,
) {
    let process = &mut processes[random.below(2)];
    match random.below(100) {
        0..5 => log.0.push(place(random)),
        5..60 => process.project(log, random),
        60..95 if asked.len() < ASKED => {
            let (place, token) = (place(random), token(log, random));
            let mut queries = process.queries.at_least(Position::new(token));
            if random.below(10) == 0 {
                queries = queries.or_stale();
            }
            asked.spawn(async move { (place, token, queries.ask(at(place)).await) });
        }
        95 if random.below(20) == 0 => clock.advance(TTL / 3),
        96 if random.below(50) == 0 => process.shelf.tell_everything(),
        _ => {}
    }
}

fn place(random: &SeededRandom) -> &'static str {
    PLACES[random.below(PLACES.len())]
}

/// A token from the whole history, mostly a late one, or none.
fn token(log: &Log, random: &SeededRandom) -> u64 {
    match random.below(3) {
        0 => 0,
        1 => log.head(),
        _ => log.head().saturating_sub(random.below(8) as u64),
    }
}

/// When all has been told, who holds no token sees it too.
async fn nothing_stale_is_left(processes: &[Process], log: &Log) {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
    for (process, place) in
        processes.iter().flat_map(|process| PLACES.map(|place| (process, place)))
    {
        let answer = loop {
            match process.queries.ask(at(place)).await {
                Ok(answer) if !answer.is_stale() => break answer,
                // It fails now and then, and what has expired is being made.
                _ => tokio::task::yield_now().await,
            }
        };
        assert_eq!(*answer, log.number(place, log.head()), "{place} is stale for good: {answer:?}");
    }
}
