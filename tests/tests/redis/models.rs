//! Read models of a log elsewhere, which workers keep in a Redis: divided, rebuilt, and
//! forgotten by the server.

use std::{collections::BTreeMap, time::Duration};

use cqrs::{Event, Evolve, Keys, ModelSettings, Projection, ProjectionError, Projector, View};
use es_core::{
    Batch, ContentType, EventStore, EventStoreExt, Name, NewEvent, Position, Read, Recorded,
    StoreErrorKind, StreamId, memory::MemoryStore,
};
use es_redis_streams::{RedisOptions, RedisTx, RedisViews, cmd};
use es_testkit::{SeededRandom, servers::PrivateRedis};
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use serde::{Deserialize, Serialize};

use crate::server;

const MODELS: [&str; 2] = ["handed", "trips"];
/// So short that what a worker has left is taken over soon.
const LEASE: Duration = Duration::from_millis(400);
/// How long anything may take.
const LONG: Duration = Duration::from_secs(60);
const PORTERS: usize = 7;
const PARCELS: usize = 40;

/// A parcel goes from one porter to another.
#[derive(Serialize, Deserialize, Event)]
#[event(name = "parcel.handed")]
struct Handed {
    from: String,
    to: String,
    number: u64,
}

/// What a porter has had in his hands, in order.
#[derive(Default, Serialize, Deserialize, PartialEq, Debug, Clone)]
struct Porter {
    numbers: Vec<u64>,
}

impl Evolve for Porter {
    type Event = Handed;

    fn evolve(&mut self, handed: &Handed) {
        self.numbers.push(handed.number);
    }
}

impl View for Porter {
    const NAME: &'static str = "handed";
    type Key = String;

    fn keys(handed: Recorded<'_, Handed>) -> Keys<String> {
        Keys::Many(vec![handed.event.from.clone(), handed.event.to.clone()])
    }
}

/// How often each parcel was handed on, and by whom last: nothing of it can be done twice.
struct Trips;

impl Projection<RedisTx> for Trips {
    const NAME: &'static str = "trips";
    type Event = Handed;

    async fn project(
        &self,
        handed: Recorded<'_, Handed>,
        tx: &mut RedisTx,
    ) -> Result<(), ProjectionError> {
        let parcel = handed.stream.id();
        tx.run(cmd("HINCRBY").arg(tx.key("trips")).arg(parcel).arg(1).take());
        tx.run(cmd("HSET").arg(tx.key("last")).arg(parcel).arg(handed.event.number).take());
        Ok(())
    }

    async fn reset(&self, tx: &mut RedisTx) -> Result<(), ProjectionError> {
        tx.run(cmd("DEL").arg(tx.key("trips")).arg(tx.key("last")).take());
        Ok(())
    }
}

/// What both models must show, and do.
#[derive(Debug, Default, PartialEq)]
struct Shown {
    porters: BTreeMap<String, Vec<u64>>,
    trips: BTreeMap<String, u64>,
    last: BTreeMap<String, u64>,
}

impl Shown {
    fn difference(&self, due: &Self) -> String {
        let mut lines = Vec::new();
        for (porter, numbers) in &due.porters {
            let none = Vec::new();
            let shown = self.porters.get(porter).unwrap_or(&none);
            let lost = numbers.iter().filter(|number| !shown.contains(number));
            let lost: Vec<_> = lost.collect();
            lines.push(format!("{porter}: {} of {}, without {lost:?}", shown.len(), numbers.len()));
        }
        let sum = |trips: &BTreeMap<_, u64>| trips.values().sum::<u64>();
        lines.push(format!("trips: {} of {}", sum(&self.trips), sum(&due.trips)));
        lines.join("\n")
    }
}

struct Scene {
    store: MemoryStore,
    server: PrivateRedis,
    random: SeededRandom,
    appended: u64,
}

impl Scene {
    fn new(server: PrivateRedis) -> Self {
        let seed = es_core::World::real().random_u64();
        println!("GESTA_SEED={seed}");
        let random = SeededRandom::new(seed);
        Self { store: MemoryStore::new(), server, random, appended: 0 }
    }

    async fn append(&mut self, events: u64) {
        for _ in 0..events {
            let porter = || format!("porter {}", self.random.below(PORTERS));
            let (from, to) = (porter(), porter());
            let handed = Handed { from, to, number: self.appended };
            let parcel = StreamId::new("parcel", self.random.below(PARCELS).to_string()).unwrap();
            let (name, payload) = (Name::from_static("parcel.handed"), serde_json::to_vec(&handed));
            let id = es_core::World::real().event_id();
            let handed = NewEvent::raw(id, name, ContentType::JSON, payload.unwrap());
            self.store.append(Batch::to(parcel).event(handed)).await.unwrap();
            self.appended += 1;
        }
    }

    async fn views(&self) -> RedisViews {
        RedisOptions::new(self.server.url()).views().await.unwrap()
    }

    async fn projector(&self) -> Projector<RedisViews> {
        Projector::new(self.store.clone(), self.views().await)
            .lease(LEASE)
            .batches(16, Duration::ZERO)
            .view_with::<Porter>(ModelSettings::new().parts(4))
            .projection(Trips)
    }

    async fn raw(&self) -> MultiplexedConnection {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LONG))
            .set_response_timeout(Some(LONG));
        let client = redis::Client::open(self.server.url()).unwrap();
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    async fn fold(&self) -> Shown {
        let mut shown = Shown::default();
        for recorded in self.store.events(Read::all()).await.unwrap() {
            let Handed { from, to, number } = serde_json::from_slice(&recorded.payload).unwrap();
            let parcel = recorded.stream.id().to_owned();
            for porter in [&from, &to].into_iter().take(if from == to { 1 } else { 2 }) {
                shown.porters.entry(porter.clone()).or_default().push(number);
            }
            *shown.trips.entry(parcel.clone()).or_default() += 1;
            shown.last.insert(parcel, number);
        }
        shown
    }

    async fn shown(&self, projector: &Projector<RedisViews>) -> Shown {
        let (views, mut raw) = (self.views().await, self.raw().await);
        let mut hash = async |name: &str| {
            cmd("HGETALL").arg(views.key(name)).query_async(&mut raw).await.unwrap()
        };
        let porters = projector.all::<Porter>().await.unwrap().into_iter();
        let porters = porters.map(|(key, porter)| (key, porter.numbers)).collect();
        Shown { porters, trips: hash("trips").await, last: hash("last").await }
    }

    /// Waits until the models show the whole log, and compares them with it.
    async fn check(&self, projector: &Projector<RedisViews>) {
        let head: Position = self.store.head().await.unwrap();
        // Who was connected to a server that was killed hears of it when he asks.
        while let Err(error) = projector.wait_for(head, &MODELS, LONG).await {
            let ProjectionError::Store(error) = error else { panic!("{error}") };
            assert!(error.is_transient(), "{error}");
        }
        for model in MODELS {
            assert_eq!(projector.parked(model).await.unwrap().len(), 0, "{model}");
        }
        let (shown, due) = (self.shown(projector).await, self.fold().await);
        assert!(shown == due, "{}", shown.difference(&due));
    }
}

/// Whether somebody has come between, and to try again is all that there is to do.
fn is_between(error: &ProjectionError) -> bool {
    let kinds = [StoreErrorKind::Fenced, StoreErrorKind::Busy];
    matches!(error, ProjectionError::Store(error) if kinds.contains(&error.kind()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_of_two_workers_equal_a_fold_while_they_are_divided_and_rebuilt() {
    let Some(server) = server() else { return };
    let mut scene = Scene::new(server);
    let [one, two] = [scene.projector().await, scene.projector().await];
    let (first, second) = (one.start_worker(), two.start_worker());
    scene.append(300).await;
    scene.check(&one).await;
    let owners = async {
        loop {
            let parts = one.status().await.unwrap().into_iter().flat_map(|model| model.parts);
            let owners: std::collections::BTreeSet<_> = parts.map(|part| part.owner).collect();
            if owners.len() > 1 {
                return;
            }
            es_core::World::real().sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, owners).await.unwrap();

    two.divide("trips", 4).await.unwrap();
    scene.append(300).await;
    scene.check(&two).await;
    one.divide("trips", 1).await.unwrap();
    one.divide("handed", 3).await.unwrap();
    let (rebuilt, ()) = tokio::join!(one.rebuild(), scene.append(300));
    let mut rebuilt = rebuilt.map(drop);
    while let Err(error) = rebuilt {
        // A worker has taken a part of the new build before we did.
        assert!(is_between(&error), "{error}");
        rebuilt = one.rebuild().await.map(drop);
    }
    scene.check(&two).await;
    first.stop().await.unwrap();
    scene.append(100).await;
    scene.check(&one).await;
    second.stop().await.unwrap();
}

/// What a replica lacks when it takes over: the last commits, with their checkpoints. It
/// is a server that comes back with an older copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_of_which_the_server_forgets_the_last_commits_equal_a_fold() {
    let Some(server) = server() else { return };
    let mut scene = Scene::new(server);
    let [one, two] = [scene.projector().await, scene.projector().await];
    let workers = [one.start_worker(), two.start_worker()];
    for _ in 0..6 {
        scene.append(100).await;
        scene.check(&one).await;
        cmd("SAVE").query_async::<()>(&mut scene.raw().await).await.unwrap();
        scene.append(50).await;
        scene.check(&one).await;
        tokio::task::block_in_place(|| scene.server.kill()).unwrap();
        scene.append(50).await;
        tokio::task::block_in_place(|| scene.server.restart()).unwrap();
        scene.append(50).await;
        scene.check(&one).await;
    }
    for worker in workers {
        worker.stop().await.unwrap();
    }
}

/// Between two runs, and while one goes on; by a restart, and by an operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_that_the_server_forgets_begin_anew_and_equal_a_fold() {
    let Some(server) = server() else { return };
    let mut scene = Scene::new(server);
    scene.append(200).await;
    scene.projector().await.catch_up().await.unwrap();
    scene.check(&scene.projector().await).await;
    let mut raw = scene.raw().await;
    cmd("FLUSHALL").query_async::<()>(&mut raw).await.unwrap();
    scene.append(50).await;
    scene.projector().await.catch_up().await.unwrap();
    scene.check(&scene.projector().await).await;

    let [one, two] = [scene.projector().await, scene.projector().await];
    let workers = [one.start_worker(), two.start_worker()];
    for round in 0..6 {
        scene.append(100).await;
        if round % 3 == 2 {
            tokio::task::block_in_place(|| scene.server.kill()).unwrap();
            tokio::task::block_in_place(|| scene.server.restart()).unwrap();
        } else {
            let mut raw = scene.raw().await;
            cmd("FLUSHALL").query_async::<()>(&mut raw).await.unwrap();
        }
        scene.append(100).await;
        scene.check(&one).await;
    }
    for worker in workers {
        worker.stop().await.unwrap();
    }
}
