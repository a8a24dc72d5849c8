//! Programs that tell of a log over a broker, and are killed.

use std::{fs::OpenOptions, panic::AssertUnwindSafe, process::Stdio, sync::Arc};

use es_bus::{Endpoint, EventBus, Received, Running};
use es_core::{EventStore, Name, Views, World};
use es_postgres::{PostgresOptions, PostgresStore};
use es_sqlite::{SqliteOptions, Synchronous};
use es_testkit::{contract::Place, servers::postgres_url};
use futures_util::{FutureExt, future::try_join_all};
use parking_lot::Mutex;
use sqlx::{Connection, Executor, PgConnection};
use tests::{
    brokers::{IN_FLIGHT, RELAY, Rung, batch_of, bus, redis, relay},
    number,
};
use tokio::{process::Command, sync::watch};

use crate::{
    LONG, LOOK,
    lives::{ANY, Kills, Moment, kill},
    place::WORKER,
    ringing::BELLS,
    server::Server,
    truth::{Verdict, check},
};

const MOMENTS: &[Moment] = &[
    ANY,
    Moment(Some("relay.after_publish"), 20),
    Moment(Some("projection.before_checkpoint"), 20),
    Moment(Some("projection.after_commit"), 20),
    Moment(Some("part.after_take"), 3),
    Moment(Some("worker.after_renew"), 3),
];
/// Where a kill doubles events, and where it loses them if the checkpoint moves too soon.
const DECISIVE: &[&str] = &["relay.after_publish", "projection.after_commit"];
/// Events that may wait to be heard.
const AHEAD: usize = 1_000;

/// A log, a broker, and what was heard over it.
struct Scene<S> {
    store: S,
    server: Server,
    folder: tempfile::TempDir,
    /// How a program is told of the store.
    store_words: Vec<String>,
    heard: Arc<Mutex<Vec<Rung>>>,
    running: Running,
    flags: &'static [&'static str],
}

impl<S: EventStore + Views + Clone> Scene<S> {
    async fn new(store: S, store_words: Vec<String>, server: Server) -> Self {
        let heard = Arc::<Mutex<Vec<Rung>>>::default();
        let running = listen(&bus(&server.url(), None).await.unwrap(), &heard).await;
        let folder = tempfile::tempdir().unwrap();
        Self { store, server, folder, store_words, heard, running, flags: &[] }
    }

    fn program(&self) -> Command {
        let told = self.folder.path().join("told");
        let told = OpenOptions::new().create(true).append(true).open(told).unwrap();
        let mut command = Command::new(WORKER);
        command.arg("relay").arg(self.server.url()).args(&self.store_words).args(self.flags);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(told).kill_on_drop(true);
        command
    }

    fn told(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("told")).unwrap_or_default()
    }

    /// Rings all bells in turns until it is enough, and returns how often.
    async fn ring(&self, enough: watch::Receiver<bool>) -> u64 {
        let mut rounds = 0;
        while !*enough.borrow() {
            rounds += 1;
            self.ring_all(rounds).await;
            let rung = usize::try_from(rounds * BELLS).unwrap();
            while self.heard.lock().len() + AHEAD < rung && !*enough.borrow() {
                World::real().sleep(LOOK).await;
            }
        }
        rounds
    }

    async fn ring_all(&self, number: u64) {
        let append = |bell| self.store.append(batch_of(Rung { bell, number }));
        try_join_all((0..BELLS).map(append)).await.unwrap();
    }

    /// Kills so many relays while bells are rung, and says what was heard.
    async fn kills(&self, wanted: u64) -> (Kills, Verdict) {
        let (enough, is_enough) = watch::channel(false);
        let killing = async {
            let kills = kill(wanted, MOMENTS, DECISIVE, || self.program()).await;
            enough.send_replace(true);
            kills
        };
        let (kills, rounds) = tokio::join!(killing, self.ring(is_enough));
        assert!(kills.failures.is_empty(), "{:?}\n{}", kills.failures, self.told());
        self.settle(rounds).await;
        let verdict = check(&self.heard.lock(), BELLS, rounds);
        println!("{kills}\n{verdict} under {} owners", self.owners().await);
        (kills, verdict)
    }

    /// The last relay, which lives. One more event of each bell tells that nothing comes
    /// any more of what was rung before.
    async fn settle(&self, rounds: u64) {
        let publisher = redis(&self.server.url()).await.unwrap();
        let projecting = relay(self.store.clone(), self.store.clone(), publisher).start_worker();
        self.ring_all(rounds + 1).await;
        let last = async {
            let is_last = |rung: &&Rung| rung.number == rounds + 1;
            while (self.heard.lock().iter().filter(is_last).count() as u64) < BELLS {
                World::real().sleep(LOOK).await;
            }
        };
        tokio::time::timeout(LONG, last).await.expect("the last of each bell comes");
        projecting.stop().await.unwrap();
    }

    /// How often parts of the relay have changed their owner.
    async fn owners(&self) -> u64 {
        let builds = self.store.builds(&[Name::from_static(RELAY)]).await.unwrap();
        let parts = builds.iter().flat_map(|build| &build.parts);
        parts.map(|part| part.checkpoint.epoch).sum()
    }

    async fn lose_nothing(self) {
        let wanted = number("GESTA_RELAY_KILLS", 10);
        let (kills, verdict) = self.kills(wanted).await;
        assert!(kills.all() >= wanted);
        assert!(verdict.lost.is_empty() && verdict.turned.is_empty(), "{verdict}");
        let in_flight = self.owners().await * IN_FLIGHT as u64;
        assert!(verdict.doubled.len() as u64 <= in_flight, "{verdict}");
        assert!(!verdict.doubled.is_empty(), "no kill came between broker and checkpoint");
        assert!(self.running.drain().await.is_clean());
    }
}

/// Adds what is heard, that of each bell in its order.
async fn listen(bus: &EventBus, heard: &Arc<Mutex<Vec<Rung>>>) -> Running {
    let heard = Arc::clone(heard);
    let listens = Endpoint::new("listens").unwrap().to("bell.*").unwrap();
    let listens = listens.handle(move |received: Received<Rung>| {
        heard.lock().push(received.event);
        std::future::ready(Ok(()))
    });
    bus.subscribe(listens).await.unwrap()
}

async fn on_sqlite(test: impl AsyncFnOnce(Scene<es_sqlite::SqliteStore>)) {
    let Some(server) = Server::redis() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("log.db");
    let store = SqliteOptions::new(&file).synchronous(Synchronous::Normal).open().await.unwrap();
    test(Scene::new(store, vec![file.display().to_string()], server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_relays_lose_nothing_and_turn_nothing_round_from_sqlite() {
    on_sqlite(Scene::lose_nothing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_a_checkpoint_that_moves_before_the_broker_has_the_events() {
    on_sqlite(async |scene| {
        let scene = Scene { flags: &["hasty"], ..scene };
        let (_, verdict) = scene.kills(10).await;
        assert!(!verdict.lost.is_empty(), "{verdict}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_relays_lose_nothing_and_turn_nothing_round_from_postgres() {
    let Some(server) = Server::redis() else { return };
    let Some((store, schema)) = postgres().await else { return };
    let words = vec![postgres_url(), schema.clone()];
    let test = async {
        Scene::new(store.clone(), words, server).await.lose_nothing().await;
    };
    let ended = AssertUnwindSafe(test).catch_unwind().await;
    store.close().await;
    let mut session = PgConnection::connect(&postgres_url()).await.unwrap();
    session.execute(format!("DROP SCHEMA {schema} CASCADE").as_str()).await.unwrap();
    if let Err(panicked) = ended {
        std::panic::resume_unwind(panicked);
    }
}

/// A schema of the test's own on the server that tests share.
async fn postgres() -> Option<(PostgresStore, String)> {
    if let Err(error) = PgConnection::connect(&postgres_url()).await {
        tests::not_run(&format!("relays from Postgres: {error}"));
        return None;
    }
    let schema = Place::new(World::real()).name().to_owned();
    let store = PostgresOptions::new(postgres_url()).schema(&schema).open().await.unwrap();
    Some((store, schema))
}
