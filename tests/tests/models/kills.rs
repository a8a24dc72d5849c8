//! Workers, rebuilds, divisions and retries that are killed, many at once.

use std::{os::unix::process::ExitStatusExt, time::Duration};

use es_core::{EventStore, EventStoreExt, Views, World};
use tests::models::{Journal, MODELS, retry_all};
use tokio::process::Child;

use crate::{
    lives::{OPERATE, RETRY, Run, WORK, WORK_IN_SQLITE, Way},
    number,
    place::{Place, postgres, sqlite},
    truth::check,
};

/// Effects that one kill may repeat.
const IN_FLIGHT: u64 = 64;
/// Events among which some are parked by a broken worker.
const EVENTS: u64 = 400;
/// So many kills come to every place.
const LONG_RUN: u64 = 1_000;
/// How long anything may take.
const LONG: Duration = Duration::from_secs(60);

async fn kills<S>(place: Place<S>, work: Vec<Way>)
where
    S: EventStore + Views<Tx: Journal>,
{
    let wanted = number("GESTA_MODEL_KILLS", 110);
    let lanes = [&work, &work, &work, OPERATE, RETRY].map(<[Way]>::to_vec).to_vec();
    let run = Run { place: &place, kills: wanted, lanes, flags: &[] };
    let (kills, appended) = run.run().await;
    println!("{kills}");
    assert!(kills.failures.is_empty(), "{:#?}\n{}", kills.failures, place.told());
    println!("{} events are parked", place.parked(&place.projector()).await);
    place.settle().await.unwrap_or_else(|error| panic!("{error}\n{}", place.told()));
    let verdict = check(&place, appended).await;
    println!("{verdict}");
    assert!(verdict.is_sound(), "{verdict}");
    assert!(verdict.repeated as u64 <= IN_FLIGHT * kills.all(), "{verdict}");
    let missing = kills.missing(&[&work, OPERATE, RETRY].concat());
    let missing: Vec<_> = missing.iter().filter(|way| way.at.is_some()).collect();
    // A short run comes to the rare places by luck only.
    assert!(missing.is_empty() || wanted < LONG_RUN, "nobody was killed there: {missing:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_workers_lose_nothing_and_double_nothing_on_sqlite() {
    kills(sqlite().await, [WORK, WORK_IN_SQLITE].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_workers_lose_nothing_and_double_nothing_on_postgres() {
    let Some(place) = postgres().await else { return };
    kills(place, WORK.to_vec()).await;
}

/// A broken worker parks most of a log; a sound one goes on beside whoever gives it back.
async fn dense<S>(place: Place<S>)
where
    S: EventStore + Views<Tx: Journal>,
{
    let events = number("GESTA_MODEL_PARKED", 600);
    let broken = place.program(&["work", "broken"]).spawn().unwrap();
    for number in 0..events {
        place.append(number).await;
    }
    let projector = place.projector();
    let head = place.store.head().await.unwrap();
    projector.wait_for(head, &MODELS, LONG).await.unwrap();
    end(broken).await;
    let started = World::real().now();
    println!("{} of {events} events are parked", place.parked(&projector).await);
    place.settle().await.unwrap_or_else(|error| panic!("{error}"));
    println!("settled after {}", World::real().now() - started);
    let verdict = check(&place, events).await;
    println!("{verdict}");
    assert!(verdict.is_sound(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_is_taken_beside_a_worker_on_sqlite() {
    dense(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_parked_is_taken_beside_a_worker_on_postgres() {
    let Some(place) = postgres().await else { return };
    dense(place).await;
}

/// What was parked before a projection was emptied comes once more with all the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_is_emptied_and_no_more_doubles_nothing_that_was_parked() {
    let place = sqlite().await;
    let broken = place.program(&["work", "broken"]).spawn().unwrap();
    for number in 0..EVENTS {
        place.append(number).await;
    }
    let projector = place.projector();
    let head = place.store.head().await.unwrap();
    projector.wait_for(head, &MODELS, LONG).await.unwrap();
    assert!(!projector.parked("ledger").await.unwrap().is_empty());
    end(broken).await;

    let mut emptied = place.program(&["rebuild", "ledger"]);
    emptied.env("GESTA_FAILPOINT", "in_place.after_empty:1");
    assert_eq!(emptied.status().await.unwrap().signal(), Some(9));
    assert!(place.lines("ledger").is_empty());
    retry_all(&projector).await.unwrap();
    place.settle().await.unwrap();
    let verdict = check(&place, EVENTS).await;
    assert!(verdict.is_sound(), "{verdict}");
}

async fn end(mut child: Child) {
    child.kill().await.unwrap();
}
