//! Who takes part in a workload, and the run in which all take turns.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use serde::Serialize;

use crate::{
    measure::{Measured, timed},
    peers::Peers,
};

/// Whoever needs longer for one turn gets no other.
const PATIENCE: Duration = Duration::from_secs(15);

/// One workload with all who take part in it.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) contestants: Vec<Contestant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    PerSecond,
    Milliseconds,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Role {
    Limit,
    Gesta,
    Peer,
}

pub(crate) struct Contestant {
    role: Role,
    name: String,
    run: Run,
    /// What it should reach.
    goals: Vec<Goal>,
}

type Run = Box<dyn Fn(&Turn<'_>) -> Result<Measured>>;

/// A bound on the ratio to another contestant, or on the figure itself: at
/// least for a rate, at most for a time.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Goal {
    pub(crate) against: Against,
    pub(crate) bound: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Against {
    BestPeer,
    Limit,
    Nothing,
}

/// What all runs share.
pub(crate) struct Bench {
    pub(crate) folder: PathBuf,
    pub(crate) seconds: f64,
    pub(crate) peers: Peers,
}

/// One contestant's turn, with a file of its own: whoever was before may still
/// be closing the last one.
pub(crate) struct Turn<'b> {
    pub(crate) file: PathBuf,
    pub(crate) seconds: f64,
    pub(crate) peers: &'b Peers,
}

/// A workload with what came of it.
#[derive(Serialize)]
pub(crate) struct Scored {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    pub(crate) scores: Vec<Score>,
}

/// The figures of one contestant, sorted, or why there are none.
#[derive(Serialize)]
pub(crate) struct Score {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) goals: Vec<Goal>,
    pub(crate) figures: Vec<f64>,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) note: String,
    pub(crate) not_run: Option<String>,
    #[serde(skip)]
    longest: Duration,
}

impl Workload {
    pub(crate) fn new(name: &'static str, unit: Unit) -> Self {
        Self { name, unit, contestants: Vec::new() }
    }

    pub(crate) fn with(
        mut self,
        role: Role,
        name: impl Into<String>,
        run: impl Fn(&Turn<'_>) -> Result<Measured> + 'static,
    ) -> Self {
        let (name, run) = (name.into(), Box::new(run));
        self.contestants.push(Contestant { role, name, run, goals: Vec::new() });
        self
    }

    /// Only these take part.
    pub(crate) fn only(mut self, roles: &[Role]) -> Self {
        self.contestants.retain(|contestant| roles.contains(&contestant.role));
        self
    }

    /// What the last one added should reach.
    pub(crate) fn goal(mut self, against: Against, bound: f64) -> Self {
        if let Some(last) = self.contestants.last_mut() {
            last.goals.push(Goal { against, bound });
        }
        self
    }
}

impl Bench {
    /// Lets all contestants take turns, as often as asked for.
    pub(crate) fn run(&self, workload: Workload, repetitions: usize) -> Scored {
        let Workload { name, unit, contestants } = workload;
        let mut scores: Vec<Score> = contestants.iter().map(Score::new).collect();
        for repetition in 1..=repetitions {
            eprintln!("{name}: {repetition} of {repetitions}");
            for (contestant, score) in contestants.iter().zip(&mut scores) {
                if score.not_run.is_none() && score.longest < PATIENCE {
                    let (took, measured) = timed(|| self.turn(contestant));
                    score.longest = score.longest.max(took);
                    score.take(measured, unit);
                }
            }
        }
        Scored { name, unit, scores }
    }

    fn turn(&self, contestant: &Contestant) -> Result<Measured> {
        let folder = tempfile::tempdir_in(&self.folder)?;
        let file = folder.path().join("bench.db");
        let turn = Turn { file, seconds: self.seconds, peers: &self.peers };
        (contestant.run)(&turn)
    }
}

impl Score {
    fn new(contestant: &Contestant) -> Self {
        Self {
            role: contestant.role,
            name: contestant.name.clone(),
            goals: contestant.goals.clone(),
            figures: Vec::new(),
            p50_us: 0.0,
            p99_us: 0.0,
            note: String::new(),
            not_run: None,
            longest: Duration::ZERO,
        }
    }

    fn take(&mut self, measured: Result<Measured>, unit: Unit) {
        match measured {
            Ok(measured) => {
                self.figures.push(measured.figure(unit));
                self.figures.sort_by(f64::total_cmp);
                (self.p50_us, self.p99_us) = (measured.p50_us, measured.p99_us);
                self.note = measured.note;
            }
            Err(error) => self.not_run = Some(format!("{error:#}")),
        }
    }

    /// `None` if it was not run.
    pub(crate) fn median(&self) -> Option<f64> {
        if self.not_run.is_some() {
            return None;
        }
        self.figures.get(self.figures.len() / 2).copied()
    }
}

impl Scored {
    pub(crate) fn best(&self, role: Role) -> Option<&Score> {
        let ran = self.scores.iter().filter(|score| score.role == role);
        let key = |score: &&Score| score.median().unwrap_or_default();
        let ran = ran.filter(|score| score.median().is_some());
        match self.unit {
            Unit::PerSecond => ran.max_by(|one, other| key(one).total_cmp(&key(other))),
            Unit::Milliseconds => ran.min_by(|one, other| key(one).total_cmp(&key(other))),
        }
    }

    pub(crate) fn first(&self, role: Role) -> Option<&Score> {
        self.scores.iter().find(|score| score.role == role)
    }
}
