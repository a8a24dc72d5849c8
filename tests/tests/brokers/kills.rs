//! Programs that handle messages, and are killed.

use tests::number;
use tokio::sync::watch;

use crate::{
    lives::{ANY, Kills, Moment, kill},
    place::Place,
    ringing::{BELLS, Ring, Ringer},
    server::Server,
    truth::Verdict,
};

const MOMENTS: &[Moment] = &[
    ANY,
    Moment(Some("inbox.before_commit"), 40),
    Moment(Some("inbox.after_commit"), 40),
    ANY,
    Moment(Some("endpoint.after_settle"), 40),
];

/// Kills so many programs while bells are rung, and says what was heard.
pub(crate) async fn kills(place: &Place, wanted: u64) -> (Kills, Verdict) {
    let (ring, enough) = watch::channel(Ring::Heard(0));
    let ringer = Ringer::new(place.bus.clone(), 0..BELLS);
    let killing = async {
        let kills = tokio::select! {
            kills = kill(wanted, MOMENTS, &[], || place.program()) => kills,
            () = place.listen(&ring) => unreachable!("it never ends"),
        };
        ring.send_replace(Ring::Enough);
        kills
    };
    let (kills, mut ringer) = tokio::join!(killing, ringer.run(enough));
    ringer.ring().await;
    let verdict = place.settle(ringer.round()).await;
    let repeated = place.inbox.repeated().unwrap();
    println!("{kills}\n{verdict}; {repeated} were delivered more than once");
    assert!(kills.failures.is_empty(), "{:?}\n{}", kills.failures, place.told());
    (kills, verdict)
}

async fn lose_nothing(server: Option<Server>) {
    let Some(server) = server else { return };
    let place = Place::new(server, &[], None).await;
    let wanted = number("GESTA_BROKER_KILLS", 18);
    let (kills, verdict) = kills(&place, wanted).await;
    assert!(kills.all() >= wanted);
    assert!(verdict.is_sound(), "{verdict}");
    assert!(place.inbox.repeated().unwrap() > 0, "no kill had a message in hand");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_consumers_lose_double_and_turn_round_nothing_over_redis() {
    lose_nothing(Server::redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_consumers_lose_double_and_turn_round_nothing_over_nats() {
    lose_nothing(Server::nats()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_consumers_lose_double_and_turn_round_nothing_over_rabbitmq() {
    lose_nothing(Server::rabbitmq()).await;
}
