//! Programs that live until they are killed, and where they were then.

use std::{
    collections::BTreeMap,
    fmt,
    os::unix::process::ExitStatusExt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use es_core::{EventStore, Views, World};
use parking_lot::Mutex;
use tests::models::Journal;
use tokio::{process::Child, sync::watch};

use crate::{number, place::Place, random};

/// A program that does not come upon its failpoint is killed after so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most programs that are started for each kill.
const LIVES: u64 = 20;
/// Events that are appended for each kill.
const EVENTS: u64 = 4;
/// So many appends come at once, then a pause.
const AT_ONCE: u64 = 3;
/// The pause.
const PAUSE: Duration = Duration::from_millis(4);

/// What a program does, and where it is killed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    pub(crate) what: &'static str,
    /// A failpoint, or any moment.
    pub(crate) at: Option<&'static str>,
    /// It is reached so often at most before.
    hits: u64,
}

impl Way {
    /// A worker, killed at this place.
    pub(crate) const fn work_at(at: &'static str, hits: u64) -> Self {
        Self { what: "work", at: Some(at), hits }
    }
}

const fn at(what: &'static str, at: &'static str, hits: u64) -> Way {
    Way { what, at: Some(at), hits }
}

const fn anywhere(what: &'static str) -> Way {
    Way { what, at: None, hits: 0 }
}

/// Of programs that keep the models.
pub(crate) const WORK: &[Way] = &[
    anywhere("work"),
    at("work", "projection.before_commit", 40),
    at("work", "projection.after_commit", 40),
    at("work", "projection.before_checkpoint", 8),
    at("work", "reaction.after_effect", 20),
    at("work", "part.after_take", 12),
    at("work", "worker.after_renew", 3),
    at("stop", "worker.before_hand_over", 1),
    at("stop", "worker.after_hand_over", 1),
];

/// Those of the store itself.
pub(crate) const WORK_IN_SQLITE: &[Way] =
    &[at("work", "sqlite.before_commit", 60), at("work", "sqlite.after_commit", 60)];

/// Of programs that do something to the models.
pub(crate) const OPERATE: &[Way] = &[
    anywhere("rebuild"),
    at("rebuild", "build.after_begin", 1),
    at("rebuild", "part.after_take", 4),
    at("rebuild", "projection.before_commit", 30),
    at("rebuild", "rebuild.standing", 1),
    at("rebuild", "rebuild.before_serve", 1),
    at("rebuild", "rebuild.after_serve", 1),
    at("rebuild", "rebuild.before_discard", 1),
    at("rebuild", "rebuild.after_discard", 1),
    anywhere("empty"),
    at("empty", "in_place.after_empty", 1),
    at("empty", "in_place.before_serve", 1),
    at("empty", "in_place.after_serve", 1),
    anywhere("divide"),
    at("divide", "divide.before_change", 1),
    at("divide", "divide.after_change", 1),
];

/// Of programs that give back what is parked, if anything is.
pub(crate) const RETRY: &[Way] = &[
    anywhere("retry"),
    at("retry", "projection.before_commit", 3),
    at("retry", "projection.after_commit", 3),
    at("retry", "retry.before_leave", 2),
];

/// How often programs were killed in which way.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    pub(crate) landed: BTreeMap<Way, u64>,
    /// At no failpoint, as none was reached in time.
    tried: BTreeMap<Way, u64>,
    pub(crate) failures: Vec<String>,
}

impl Kills {
    pub(crate) fn all(&self) -> u64 {
        self.landed.values().sum()
    }

    /// The way that had the fewest kills so far.
    fn next(&mut self, ways: &[Way]) -> Way {
        let weight = |way: &Way| {
            let of = |counts: &BTreeMap<Way, u64>| counts.get(way).copied().unwrap_or(0);
            of(&self.landed) * 4 + of(&self.tried)
        };
        let way = ways.iter().min_by_key(|way| weight(way)).copied().unwrap();
        *self.tried.entry(way).or_default() += 1;
        way
    }

    /// The ways in which nobody was killed.
    pub(crate) fn missing(&self, ways: &[Way]) -> Vec<Way> {
        ways.iter().filter(|way| !self.landed.contains_key(way)).copied().collect()
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (Way { what, at, .. }, kills) in &self.landed {
            writeln!(f, "{kills:>5}  {what:<8} {}", at.unwrap_or("at any moment"))?;
        }
        write!(f, "{:>5}  in all", self.all())
    }
}

/// What a run is made of.
pub(crate) struct Run<'a, S> {
    pub(crate) place: &'a Place<S>,
    pub(crate) kills: u64,
    /// The ways of each program that lives beside the others.
    pub(crate) lanes: Vec<Vec<Way>>,
    /// What every worker is told besides.
    pub(crate) flags: &'static [&'static str],
}

impl<S: EventStore + Views<Tx: Journal>> Run<'_, S> {
    /// Kills as often as wanted, while events are appended. Returns how many.
    pub(crate) async fn run(&self) -> (Kills, u64) {
        let kills = Mutex::new(Kills::default());
        let (landed, seen) = watch::channel(0);
        let lives = AtomicU64::new(0);
        let lanes = self.lanes.iter().map(|ways| async {
            while kills.lock().all() < self.kills
                && lives.load(Ordering::SeqCst) < LIVES * self.kills
            {
                let life = lives.fetch_add(1, Ordering::SeqCst);
                let way = kills.lock().next(ways);
                let ended = self.life(way, life).await;
                let mut kills = kills.lock();
                match ended {
                    Ok(Some(way)) => *kills.landed.entry(way).or_default() += 1,
                    Ok(None) => {}
                    Err(failure) => kills.failures.push(failure),
                }
                landed.send_replace(kills.all());
            }
        });
        let all = async {
            futures_util::future::join_all(lanes).await;
            landed.send_replace(u64::MAX);
        };
        let ((), appended) = tokio::join!(all, self.import(seen));
        (kills.into_inner(), appended)
    }

    /// Appends, not too far ahead of the kills, until the last of them.
    async fn import(&self, mut landed: watch::Receiver<u64>) -> u64 {
        let mut number = 0;
        loop {
            let ahead = |kills: &u64| number < kills.saturating_mul(EVENTS).saturating_add(80);
            let Ok(kills) = landed.wait_for(ahead).await.map(|kills| *kills) else {
                return number;
            };
            if kills == u64::MAX {
                return number;
            }
            self.place.append(number).await;
            number += 1;
            if number % AT_ONCE == 0 {
                World::real().sleep(PAUSE).await;
            }
        }
    }

    /// One life. Returns the way in which it was killed; `None` if it ended by itself.
    async fn life(&self, way: Way, life: u64) -> Result<Option<Way>, String> {
        let arguments = arguments(way.what, life, self.flags);
        let mut command = self.place.program(&arguments);
        if let Some(point) = way.at {
            command.env("GESTA_FAILPOINT", format!("{point}:{}", random(1, way.hits)));
        }
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let patience = match way {
            Way { at: None, .. } => Duration::from_millis(random(10, 700)),
            Way { what: "stop", .. } => Duration::from_millis(random(150, 600)),
            _ => PATIENCE,
        };
        let mut ended = tokio::time::timeout(patience, child.wait()).await;
        if way.what == "stop" && ended.is_err() {
            drop(input);
            ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        }
        let Ok(status) = ended else {
            kill(&mut child).await;
            return Ok(Some(anywhere(if way.what == "stop" { "work" } else { way.what })));
        };
        let status = status.unwrap();
        match (status.signal(), status.code()) {
            (Some(9), _) => Ok(Some(way)),
            (_, Some(0)) => Ok(None),
            _ => Err(format!("{arguments:?} ended with {status}")),
        }
    }
}

async fn kill(child: &mut Child) {
    child.kill().await.unwrap();
}

fn arguments(what: &'static str, life: u64, flags: &[&'static str]) -> Vec<&'static str> {
    let pick =
        |all: &[&'static str]| all[usize::try_from(random(0, all.len() as u64 - 1)).unwrap()];
    match what {
        "work" | "stop" => {
            let mut arguments = vec!["work"];
            arguments.extend(flags);
            // Not many, as what is parked holds up the others.
            if life.is_multiple_of(number("GESTA_MODEL_BROKEN", 4)) {
                arguments.push("broken");
            }
            arguments
        }
        "rebuild" => vec!["rebuild", pick(&["by-row", "by-stream"])],
        "empty" => vec!["rebuild", "ledger"],
        "divide" => {
            let model = pick(&["by-row", "by-stream", "lines", "mails"]);
            vec!["divide", model, pick(&["1", "2", "3", "4", "8"])]
        }
        what => vec![what],
    }
}
