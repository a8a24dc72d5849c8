//! Programs that live beside each other until they are killed, and where they were then.

use std::{
    collections::BTreeMap,
    fmt,
    os::unix::process::ExitStatusExt,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tests::random;
use tokio::process::{Child, Command};

/// Programs that live at the same time.
const LANES: usize = 3;
/// A program that does not come upon its failpoint is killed after so long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a program is killed: at a failpoint that it has reached so often at most, or, without
/// a name, at any moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(pub(crate) Option<&'static str>, pub(crate) u64);

/// Any moment.
pub(crate) const ANY: Moment = Moment(None, 0);

/// How often programs were killed, and where.
#[derive(Debug, Default)]
pub(crate) struct Kills {
    landed: BTreeMap<&'static str, u64>,
    /// Programs that ended without being killed.
    pub(crate) failures: Vec<String>,
}

impl Kills {
    pub(crate) fn all(&self) -> u64 {
        self.landed.values().sum()
    }

    fn are_at(&self, points: &[&str]) -> bool {
        points.iter().all(|point| self.landed.contains_key(point))
    }
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, kills) in &self.landed {
            writeln!(f, "{kills:>5}  {at}")?;
        }
        write!(f, "{:>5}  kills in all", self.all())
    }
}

/// Starts programs and kills them, until so many were killed, and at least one at each
/// decisive failpoint.
pub(crate) async fn kill(
    wanted: u64,
    moments: &[Moment],
    decisive: &[&str],
    program: impl Fn() -> Command,
) -> Kills {
    let (kills, next) = (Mutex::new(Kills::default()), AtomicUsize::new(0));
    let is_enough = |kills: &Kills| {
        !kills.failures.is_empty() || kills.all() >= wanted && kills.are_at(decisive)
    };
    let lane = async || {
        while !is_enough(&kills.lock()) {
            let moment = moments[next.fetch_add(1, Ordering::SeqCst) % moments.len()];
            let ended = life(moment, program()).await;
            let mut kills = kills.lock();
            match ended {
                Ok(at) => *kills.landed.entry(at).or_default() += 1,
                Err(failure) => kills.failures.push(failure),
            }
        }
    };
    futures_util::future::join_all((0..LANES).map(|_| lane())).await;
    kills.into_inner()
}

/// One life, and where it ended.
async fn life(Moment(at, hits): Moment, mut program: Command) -> Result<&'static str, String> {
    if let Some(point) = at {
        program.env("GESTA_FAILPOINT", format!("{point}:{}", random(1, hits)));
    }
    let mut child = program.spawn().unwrap();
    // Held, as it ends when nobody does.
    let _input = child.stdin.take();
    let patience = if at.is_some() { PATIENCE } else { Duration::from_millis(random(20, 700)) };
    let Ok(ended) = tokio::time::timeout(patience, child.wait()).await else {
        child.kill().await.unwrap();
        return Ok("at any moment");
    };
    let ended = ended.unwrap();
    match (ended.signal(), at) {
        (Some(9), Some(at)) => Ok(at),
        _ => Err(format!("{program:?} ended with {ended}")),
    }
}

/// Lets a program end as it should.
pub(crate) async fn end(mut child: Child) {
    drop(child.stdin.take());
    let ended = child.wait().await.unwrap();
    assert!(ended.success(), "it ended with {ended}");
}
