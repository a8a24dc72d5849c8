//! A broker that is killed and started again, while others publish and handle.

use std::time::Duration;

use es_core::World;
use tests::{number, random};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    lives::end,
    place::Place,
    ringing::{BELLS, Ring, Ringer},
    server::Server,
    truth::Verdict,
};

/// Those who publish, each for bells of his own.
const RINGERS: u64 = 3;
/// Programs that handle.
const PROGRAMS: usize = 2;
/// After how long a RabbitMQ has written down that there is a queue: one that is younger
/// when it is killed may never have a leader again.
const WRITTEN_DOWN: Duration = Duration::from_secs(8);
/// Messages that are handled before the next kill.
const BETWEEN: u64 = 300;

/// Kills the server so often, and says what was heard.
pub(crate) async fn restarts(server: Server, wanted: u64) -> Verdict {
    let mut place = Place::new(server, &[], None).await;
    if matches!(place.server, Server::Rabbit(_)) {
        World::real().sleep(WRITTEN_DOWN).await;
    }
    let programs: Vec<_> = (0..PROGRAMS).map(|_| place.program().spawn().unwrap()).collect();
    let (ring, enough) = watch::channel(Ring::Heard(0));
    let mut ringing = JoinSet::new();
    for ringer in 0..RINGERS {
        let bells = BELLS * ringer / RINGERS..BELLS * (ringer + 1) / RINGERS;
        ringing.spawn(Ringer::new(place.bus.clone(), bells).run(enough.clone()));
    }
    for _ in 0..wanted {
        tokio::select! {
            () = before_the_next(&place) => {}
            () = place.listen(&ring) => unreachable!("it never ends"),
        }
        place.server.kill();
        World::real().sleep(Duration::from_millis(random(0, 600))).await;
        place.server.restart();
    }
    tokio::select! {
        () = before_the_next(&place) => {}
        () = place.listen(&ring) => unreachable!("it never ends"),
    }
    ring.send_replace(Ring::Enough);
    let mut ringers = ringing.join_all().await;
    let rounds = ringers.iter().map(Ringer::round).max().unwrap() + 1;
    for ringer in &mut ringers {
        ringer.catch_up(rounds).await;
    }
    let verdict = place.settle(rounds).await;
    for program in programs {
        end(program).await;
    }
    let repeated = place.inbox.repeated().unwrap();
    println!("{wanted} restarts; {verdict}; {repeated} were delivered more than once");
    verdict
}

/// All goes well for a while.
async fn before_the_next(place: &Place) {
    place.hears(BETWEEN).await;
    World::real().sleep(Duration::from_millis(random(0, 200))).await;
}

async fn lose_nothing(server: Option<Server>) {
    let Some(server) = server else { return };
    let verdict = restarts(server, number("GESTA_BROKER_RESTARTS", 2)).await;
    assert!(verdict.is_sound(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_starts_again_loses_nothing_that_it_has_confirmed() {
    lose_nothing(Server::lasting_redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_that_is_killed_and_starts_again_loses_nothing_that_it_has_confirmed() {
    lose_nothing(Server::nats()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rabbitmq_that_is_killed_and_starts_again_loses_nothing_that_it_has_confirmed() {
    lose_nothing(Server::rabbitmq()).await;
}
