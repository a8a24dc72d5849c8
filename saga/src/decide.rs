//! What follows from where a saga is: pure, but for the time and the chance in a pause.

use chrono::{DateTime, TimeDelta, Utc};
use es_core::World;
use serde_json::Value;

use crate::{
    Effect, Kind, Phase, SagaEvent, SagaState, Stage, StepError, StepState, Way,
    definition::{AnyDefinition, Held},
    graph::{Graph, What},
};

/// How often a step may lose whoever tries it, beyond its tries: a process that dies takes
/// all with it that it had, and most of them are innocent.
const LOST: u32 = 100;

/// One saga, as whoever decides about it sees it.
#[derive(Clone, Copy)]
pub(crate) struct Sight<'s> {
    pub(crate) definition: &'s dyn AnyDefinition,
    pub(crate) state: &'s SagaState,
    pub(crate) data: &'s dyn Held,
    pub(crate) world: &'s World,
    /// The name of this process.
    pub(crate) node: &'s str,
}

/// What a try has come to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) step: String,
    pub(crate) way: Way,
    pub(crate) attempt: u32,
    pub(crate) result: Result<Value, Failed>,
    /// Whether it is the answer that a step waits for.
    pub(crate) answers: bool,
}

#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) effect: Effect,
    pub(crate) reason: String,
    /// Whether another try makes sense.
    pub(crate) again: bool,
    pub(crate) lost: bool,
}

impl From<StepError> for Failed {
    fn from(error: StepError) -> Self {
        let reason = error.to_string();
        let (effect, again) = match error {
            StepError::Refused(_) => (Effect::Absent, false),
            StepError::Failed(_) => (Effect::Unknown, true),
        };
        Self { effect, reason, again, lost: false }
    }
}

impl Failed {
    pub(crate) fn unknown(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { effect: Effect::Unknown, reason, again: true, lost: false }
    }
}

impl<'s> Sight<'s> {
    fn graph(&self) -> &'s Graph {
        self.definition.graph()
    }

    fn step(&self, at: usize) -> &'s StepState {
        self.state.known(&self.graph().nodes[at].name)
    }

    /// What is to be recorded of this outcome.
    pub(crate) fn accept(&self, outcome: &Outcome) -> SagaEvent {
        let Outcome { step: name, way, attempt, result, answers } = outcome;
        let (name, way) = (name.clone(), *way);
        let step = self.state.known(&name);
        let stage = step.stage(way);
        let at = self.graph().find(&name);
        let is_wanted = !self.state.phase.is_terminal()
            && at.is_some()
            && match result {
                // What has happened has happened, whichever try it was.
                Ok(_) => stage.is_under_way() || matches!(stage, Stage::Retrying { .. }),
                Err(_) if *answers => {
                    stage.is_under_way() || matches!(stage, Stage::Retrying { .. })
                }
                Err(_) => stage.is_under_way() && step.attempts(way) == *attempt,
            };
        let (Some(at), true) = (at, is_wanted) else { return ignored(name, result) };
        match (result, way) {
            (Err(failed), _) => self.failed(at, name, way, failed),
            (Ok(_), Way::Back) => SagaEvent::StepCompensated { step: name },
            (Ok(output), Way::Forward) => {
                if let Some(wait) = self.definition.limits(at, way).waits
                    && !answers
                {
                    return SagaEvent::StepAsked { step: name, until: after(self.now(), wait) };
                }
                match self.data.takes(at, output) {
                    Ok(()) => SagaEvent::StepSucceeded { step: name, output: output.clone() },
                    Err(error) => {
                        let reason = format!("its output is not what the saga takes: {error}");
                        let failed = Failed { again: false, ..Failed::unknown(reason) };
                        self.failed(at, name, way, &failed)
                    }
                }
            }
        }
    }

    fn failed(&self, at: usize, name: String, way: Way, failed: &Failed) -> SagaEvent {
        let (step, retry) = (self.state.known(&name), self.definition.limits(at, way).retry);
        let tries = step.tries(way);
        let goes_on = way == Way::Back || self.state.phase != Phase::Compensating;
        let again = match failed {
            Failed { lost: true, .. } => (step.lost < LOST).then_some(self.now()),
            Failed { again, .. } => (*again && tries < retry.tries)
                .then(|| after(self.now(), retry.pause(tries, self.world))),
        };
        SagaEvent::StepFailed {
            step: name,
            way,
            effect: failed.effect,
            reason: cut(&failed.reason),
            again: again.filter(|_| goes_on),
            lost: failed.lost,
        }
    }

    /// What is lost if whoever ran it is gone.
    pub(crate) fn lost(&self) -> Vec<Outcome> {
        let ways = [Way::Forward, Way::Back];
        let all = self.state.steps.iter().flat_map(|step| ways.map(|way| (step, way)));
        let running =
            all.filter(|((_, step), way)| matches!(step.stage(*way), Stage::Running { .. }));
        let lost = running.map(|((name, step), way)| Outcome {
            step: name.clone(),
            way,
            attempt: step.attempts(way),
            result: Err(Failed { lost: true, ..Failed::unknown("whoever tried it is gone") }),
            answers: false,
        });
        lost.collect()
    }

    /// What follows now; nothing if it has to wait.
    pub(crate) fn next(&self) -> Vec<SagaEvent> {
        match self.state.phase {
            Phase::Running => self.forward(),
            Phase::Compensating => self.back(),
            _ => Vec::new(),
        }
    }

    fn forward(&self) -> Vec<SagaEvent> {
        if let Some(passed) = self.deadline() {
            return vec![passed];
        }
        let late = self.without_answer(self.now());
        if !late.is_empty() {
            return late;
        }
        if let Some(stuck) = self.stuck() {
            return vec![stuck];
        }
        let (mut events, mut is_done) = (Vec::new(), true);
        for at in 0..self.graph().nodes.len() {
            if self.is_final(at) {
                continue;
            }
            is_done = false;
            if self.is_reached(at) {
                events.extend(self.begin(at));
            }
        }
        if is_done { vec![SagaEvent::Completed] } else { events }
    }

    /// Begins what is reached.
    fn begin(&self, at: usize) -> Option<SagaEvent> {
        let place = &self.graph().nodes[at];
        if place.what == What::Choice {
            let choice = place.name.clone();
            return Some(match self.data.holds(at) {
                Ok(holds) => SagaEvent::Chosen { choice, holds },
                Err(error) => {
                    let reason = format!("the condition cannot be asked: {error}");
                    SagaEvent::Suspended { step: choice, way: Way::Forward, reason }
                }
            });
        }
        match self.step(at).forward {
            Stage::Waiting => Some(self.try_it(at, Way::Forward)),
            Stage::Retrying { at: due } if due <= self.now() => Some(self.try_it(at, Way::Forward)),
            _ => None,
        }
    }

    fn try_it(&self, at: usize, way: Way) -> SagaEvent {
        let (step, by) = (self.graph().nodes[at].name.clone(), self.node.to_owned());
        SagaEvent::StepBegan { step, way, attempt: self.step(at).attempts(way) + 1, by }
    }

    /// Whether nothing more happens here: it is done, or no way leads to it.
    fn is_final(&self, at: usize) -> bool {
        let place = &self.graph().nodes[at];
        let choices = &self.state.choices;
        let off = |(choice, holds): &(usize, bool)| {
            choices.get(&self.graph().nodes[*choice].name).is_some_and(|said| said != holds)
        };
        let is_done = match place.what {
            What::Choice => choices.contains_key(&place.name),
            What::Step { .. } => self.step(at).forward == Stage::Done,
        };
        is_done || place.within.iter().any(off)
    }

    fn deadline(&self) -> Option<SagaEvent> {
        let passed = self.state.deadline.is_some_and(|deadline| deadline <= self.now());
        if !passed || self.state.overdue {
            return None;
        }
        let cause = || "its deadline has passed".to_owned();
        Some(match self.is_committed() {
            true => SagaEvent::Overdue,
            false => SagaEvent::CompensationStarted { cause: cause() },
        })
    }

    /// Whether its pivot may have happened.
    pub(crate) fn is_committed(&self) -> bool {
        let mut pivots = self.graph().steps().filter(|(.., kind)| *kind == Kind::Pivot);
        pivots.any(|(at, ..)| {
            let pivot = self.step(at);
            pivot.uncertain || !matches!(pivot.forward, Stage::Waiting | Stage::Failed)
        })
    }

    fn without_answer(&self, by: DateTime<Utc>) -> Vec<SagaEvent> {
        let steps = self.graph().steps().filter(
            |(at, ..)| matches!(self.step(*at).forward, Stage::Asked { until } if until <= by),
        );
        let failed = Failed::unknown("no answer has come");
        steps
            .map(|(at, place, _)| self.failed(at, place.name.clone(), Way::Forward, &failed))
            .collect()
    }

    /// What follows if a step has failed for good.
    fn stuck(&self) -> Option<SagaEvent> {
        let mut steps = self.graph().steps();
        let (_, place, _) = steps.find(|(at, ..)| self.step(*at).forward == Stage::Failed)?;
        let (step, way) = (place.name.clone(), Way::Forward);
        let why = self.state.known(&step).reason.clone().unwrap_or_default();
        if self.is_committed() {
            return Some(SagaEvent::Suspended { step, way, reason: why });
        }
        Some(SagaEvent::CompensationStarted { cause: format!("{step}: {why}") })
    }

    /// Undoes, from the end, what has nothing behind it that is yet to be undone.
    fn back(&self) -> Vec<SagaEvent> {
        // Nobody waits for an answer any more.
        let late = self.without_answer(DateTime::<Utc>::MAX_UTC);
        let steps = || self.graph().steps();
        if !late.is_empty() || steps().any(|(at, ..)| self.step(at).forward.is_under_way()) {
            return late;
        }
        let nodes = &self.graph().nodes;
        let (mut settled, mut events) = (vec![false; nodes.len()], Vec::new());
        for at in (0..nodes.len()).rev() {
            if !nodes[at].before.iter().all(|later| settled[*later]) {
                continue;
            }
            let step = self.step(at);
            match &step.back {
                _ if !self.needs_undoing(at) => settled[at] = true,
                Stage::Done => settled[at] = true,
                Stage::Waiting => events.push(self.try_it(at, Way::Back)),
                Stage::Retrying { at: due } if *due <= self.now() => {
                    events.push(self.try_it(at, Way::Back));
                }
                Stage::Failed => {
                    let reason = step.reason.clone().unwrap_or_default();
                    let step = nodes[at].name.clone();
                    return vec![SagaEvent::Suspended { step, way: Way::Back, reason }];
                }
                _ => {}
            }
        }
        if settled.iter().all(|settled| *settled) {
            return vec![SagaEvent::Compensated];
        }
        events
    }

    fn needs_undoing(&self, at: usize) -> bool {
        let step = self.step(at);
        let happened = step.forward == Stage::Done || step.uncertain;
        self.graph().undoable(at) && happened && !(step.by_hand && step.back == Stage::Waiting)
    }

    /// When something follows that does not follow yet.
    pub(crate) fn next_due(&self) -> Option<DateTime<Utc>> {
        let state = self.state;
        if !matches!(state.phase, Phase::Running | Phase::Compensating) {
            return None;
        }
        let running = state.phase == Phase::Running;
        let dues = self.graph().nodes.iter().enumerate().filter_map(|(at, place)| {
            let step = state.known(&place.name);
            match if running { &step.forward } else { &step.back } {
                Stage::Asked { until } => Some(*until),
                // What stands before it may have come there by a migration.
                Stage::Retrying { at: due } if !running || self.is_reached(at) => Some(*due),
                _ => None,
            }
        });
        let deadline = state.deadline.filter(|_| running && !state.overdue);
        dues.chain(deadline).min()
    }

    /// Whether all that it follows is done.
    fn is_reached(&self, at: usize) -> bool {
        self.graph().nodes[at].after.iter().all(|earlier| self.is_final(*earlier))
    }

    fn now(&self) -> DateTime<Utc> {
        self.world.now()
    }
}

fn ignored(step: String, result: &Result<Value, Failed>) -> SagaEvent {
    let answer = match result {
        Ok(output) => output.clone(),
        Err(failed) => Value::String(failed.reason.clone()),
    };
    SagaEvent::AnswerIgnored { step, answer }
}

/// A reason that is not too long to be recorded.
fn cut(reason: &str) -> String {
    const BYTES: usize = 4_096;
    let end = (0..=BYTES.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
    reason[..end.unwrap_or(0)].to_owned()
}

/// The time after so long, or the last there is.
pub(crate) fn after(now: DateTime<Utc>, time: std::time::Duration) -> DateTime<Utc> {
    let time = TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
    now.checked_add_signed(time).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
