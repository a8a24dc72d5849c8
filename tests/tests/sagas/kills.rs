//! Two processes that go on with orders, and one that begins them, killed again and again.

use std::{collections::BTreeMap, os::unix::process::ExitStatusExt, time::Duration};

use es_core::{EventStore, EventStoreExt, Timers, Version, World};
use parking_lot::Mutex;
use saga::Phase;
use tests::sagas::{Bug, id_of, sagas};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Child,
};

use crate::{
    number,
    place::{Place, postgres, sqlite},
    random,
    truth::{Verdict, check},
};

/// A program that does not come upon its failpoint is killed after so long.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Orders that are begun for each kill.
const ORDERS: u64 = 8;
/// How long the last process may take, and for each order.
const LAST: (Duration, Duration) = (Duration::from_secs(120), Duration::from_millis(250));

/// Where a process is killed: every window of a crash.
const WINDOWS: [Option<(&str, u64)>; 6] = [
    None,
    Some(("saga.before_append", 60)),
    Some(("saga.after_append", 60)),
    Some(("saga.after_action", 60)),
    Some(("saga.after_take_due", 6)),
    Some(("saga.after_take", 20)),
];

struct Run {
    landed: BTreeMap<&'static str, u64>,
    begun: Vec<u64>,
    next: u64,
    failures: Vec<String>,
}

async fn kills<S>(place: &Place<S>, wanted: u64, flags: &[&str]) -> (Run, Verdict)
where
    S: EventStore + Timers + Clone,
{
    let run = Run { landed: BTreeMap::new(), begun: Vec::new(), next: 0, failures: Vec::new() };
    let run = Mutex::new(run);
    let goes_on = || {
        let run = run.lock();
        run.landed.values().sum::<u64>() < wanted && run.failures.is_empty()
    };
    let works = (0..2).map(|_| async {
        let arguments = [&["work"], flags].concat();
        while goes_on() {
            life(place, &run, &arguments).await;
        }
    });
    let begins = async {
        while goes_on() {
            begin(place, &run, wanted * ORDERS).await;
        }
    };
    tokio::join!(futures_util::future::join_all(works), begins);
    let run = run.into_inner();
    let sagas = settle(place, &run, flags).await;
    let verdict = check(&place.store, &sagas, &run.begun, run.next).await;
    (run, verdict)
}

async fn life<S: EventStore + Timers + Clone>(place: &Place<S>, run: &Mutex<Run>, what: &[&str]) {
    let way = {
        let landed = &run.lock().landed;
        let count = |way: &Option<(&'static str, u64)>| landed.get(name(way)).copied();
        WINDOWS.into_iter().min_by_key(count).flatten()
    };
    let mut command = place.program(what);
    if let Some((point, hits)) = way {
        command.env("GESTA_FAILPOINT", format!("{point}:{}", random(1, hits)));
    }
    let mut child = command.spawn().unwrap();
    let _input = child.stdin.take();
    let patience = way.map_or_else(|| Duration::from_millis(random(20, 900)), |_| PATIENCE);
    end(&mut child, patience, run, name(&way), what).await;
}

fn name(way: &Option<(&'static str, u64)>) -> &'static str {
    way.map_or("at any moment", |(name, _)| name)
}

/// Waits for the end of a program, or kills it.
async fn end(
    child: &mut Child,
    patience: Duration,
    run: &Mutex<Run>,
    at: &'static str,
    what: &[&str],
) {
    let ended = tokio::time::timeout(patience, child.wait()).await;
    let at = match ended {
        Err(_) => {
            child.kill().await.unwrap();
            "at any moment"
        }
        Ok(status) => match status.unwrap() {
            status if status.signal() == Some(9) => at,
            status if status.success() => return,
            status => {
                run.lock().failures.push(format!("{what:?} ended with {status}"));
                return;
            }
        },
    };
    *run.lock().landed.entry(at).or_default() += 1;
}

/// Begins orders from where the last one was acknowledged, not too far ahead of the kills.
async fn begin<S: EventStore + Timers + Clone>(place: &Place<S>, run: &Mutex<Run>, last: u64) {
    let (first, kills) = {
        let run = run.lock();
        (run.next, run.landed.values().sum::<u64>())
    };
    let last = last.min(kills * ORDERS + 4 * ORDERS);
    if first >= last {
        World::real().sleep(Duration::from_millis(20)).await;
        return;
    }
    let mut command = place.program(&["begin", &first.to_string(), &last.to_string()]);
    if random(0, 3) == 0 {
        let point = ["saga.before_begin", "saga.after_append"][usize::from(random(0, 1) == 0)];
        command.env("GESTA_FAILPOINT", format!("{point}:{}", random(1, ORDERS)));
    }
    let mut child = command.spawn().unwrap();
    let mut acks = BufReader::new(child.stdout.take().unwrap()).lines();
    while let Some(ack) = acks.next_line().await.unwrap() {
        let number = ack.strip_prefix("ack ").unwrap().parse::<u64>().unwrap();
        let mut run = run.lock();
        // The next life may begin the one that was not acknowledged, or not.
        (run.next, _) = (number + 1, run.begun.push(number));
    }
    {
        // One may be there that was not acknowledged; the next is begun by somebody else.
        let mut run = run.lock();
        run.next = run.next.max(first) + random(0, 1);
    }
    end(&mut child, PATIENCE, run, "while it begins", &["begin"]).await;
}

/// The last process, which lives.
async fn settle<S>(place: &Place<S>, run: &Run, flags: &[&str]) -> saga::Sagas
where
    S: EventStore + Timers + Clone,
{
    let bug = if flags.is_empty() { Bug::None } else { Bug::KeyOfTheTry };
    let sagas = sagas(&place.store, bug).unwrap();
    let running = sagas.start().await.unwrap();
    let all = async {
        for id in (0..run.next).map(id_of) {
            // One that was not acknowledged is there, or not.
            if place.store.version(id.stream()).await.unwrap() > Version::NONE {
                sagas.reached(&id, is_still).await.unwrap();
            }
        }
    };
    let patience = LAST.0 + LAST.1 * u32::try_from(run.next).unwrap();
    let _ = tokio::time::timeout(patience, all).await;
    running.stop().await;
    sagas
}

fn is_still(phase: Phase) -> bool {
    phase.is_terminal() || phase == Phase::Suspended
}

async fn sound<S: EventStore + Timers + Clone>(place: Place<S>) {
    let wanted = number("GESTA_SAGA_KILLS", 24);
    let (run, verdict) = kills(&place, wanted, &[]).await;
    println!("{:#?}\n{verdict}", run.landed);
    assert!(run.failures.is_empty(), "{:#?}\n{}", run.failures, place.told());
    assert!(verdict.is_sound(), "{verdict}\n{}", place.told());
    assert!(verdict.completed > 0 && verdict.compensated > 0, "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_lose_no_saga_and_double_no_effect_on_sqlite() {
    sound(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_lose_no_saga_and_double_no_effect_on_postgres() {
    let Some(place) = postgres().await else { return };
    sound(place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_steps_whose_key_is_that_of_the_try() {
    let place = sqlite().await;
    let (_, verdict) = kills(&place, 6, &["key-of-the-try"]).await;
    assert!(!verdict.doubled.is_empty(), "{verdict}");
}
