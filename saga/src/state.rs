use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Effect, Operation, SagaEvent, Way};

/// Where a saga is: a fold of its events.
///
/// ```
/// use saga::{Phase, SagaState};
///
/// assert_eq!(SagaState::default().phase, Phase::Running);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SagaState {
    /// The version of its definition.
    pub version: u32,
    /// Where it stands as a whole.
    pub phase: Phase,
    /// What is known of its steps; those of which nothing is known wait.
    pub steps: BTreeMap<String, StepState>,
    /// What its conditions have said.
    pub choices: BTreeMap<String, bool>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it is to be undone if it has not ended.
    pub deadline: Option<DateTime<Utc>>,
    /// Whether that has passed after its pivot.
    pub overdue: bool,
    /// Why it stands still, or is undone.
    pub reason: Option<String>,
    /// Where it stands still.
    pub incident: Option<Incident>,
}

/// Where a saga stands as a whole.
///
/// ```
/// assert!(saga::Phase::Completed.is_terminal());
/// assert_eq!(saga::Phase::Suspended.to_string(), "suspended");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// It goes forward.
    Running,
    /// It undoes what it has done.
    Compensating,
    /// It waits for somebody to say what to do.
    Suspended,
    /// All is done.
    Completed,
    /// All is undone.
    Compensated,
    /// Somebody has ended it.
    Terminated,
}

impl Phase {
    /// Whether nothing happens any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Compensated | Self::Terminated)
    }

    /// Its name in lists and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Suspended => "suspended",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Terminated => "terminated",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step that cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Which.
    pub step: String,
    /// Which way.
    pub way: Way,
}

/// What is known of a step.
///
/// ```
/// use saga::{Stage, StepState};
///
/// assert_eq!(StepState::default().forward, Stage::Waiting);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StepState {
    /// How far it is done.
    pub forward: Stage,
    /// How far it is undone.
    pub back: Stage,
    /// Whether a failed try may have happened all the same.
    pub uncertain: bool,
    /// Whether somebody has done it by hand.
    pub by_hand: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// How often its compensation was tried.
    pub undo_attempts: u32,
    /// Tries that count, since somebody last said to try again.
    pub(crate) tries: u32,
    pub(crate) undo_tries: u32,
    pub(crate) lost: u32,
    /// How often it was taken up again after it was undone.
    pub(crate) round: u32,
    /// What it was called when it began, if it has another name now: its keys stay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) called: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// How far a step is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// It has not begun.
    #[default]
    Waiting,
    /// Somebody does it.
    Running {
        /// Which process.
        by: String,
    },
    /// It waits for its answer.
    Asked {
        /// How long.
        until: DateTime<Utc>,
    },
    /// It is tried again.
    Retrying {
        /// When.
        at: DateTime<Utc>,
    },
    /// It is done, or undone.
    Done,
    /// It is not tried any more.
    Failed,
}

impl Stage {
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Asked { .. })
    }
}

impl Default for SagaState {
    fn default() -> Self {
        Self {
            version: 0,
            phase: Phase::Running,
            steps: BTreeMap::new(),
            choices: BTreeMap::new(),
            started: DateTime::UNIX_EPOCH,
            deadline: None,
            overdue: false,
            reason: None,
            incident: None,
        }
    }
}

impl SagaState {
    /// What is known of this step.
    pub fn step(&self, name: &str) -> StepState {
        self.steps.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn known(&self, name: &str) -> &StepState {
        const NOTHING: &StepState = &StepState {
            forward: Stage::Waiting,
            back: Stage::Waiting,
            uncertain: false,
            by_hand: false,
            attempts: 0,
            undo_attempts: 0,
            tries: 0,
            undo_tries: 0,
            lost: 0,
            round: 0,
            called: None,
            reason: None,
        };
        self.steps.get(name).unwrap_or(NOTHING)
    }

    fn of(&mut self, step: &str) -> &mut StepState {
        if !self.steps.contains_key(step) {
            self.steps.insert(step.to_owned(), StepState::default());
        }
        self.steps.get_mut(step).expect("it was inserted")
    }

    /// Changes it by this event.
    pub(crate) fn apply(&mut self, event: &SagaEvent) {
        match event {
            SagaEvent::Started { version, at, deadline, .. } => {
                (self.version, self.started, self.deadline) = (*version, *at, *deadline);
            }
            SagaEvent::Chosen { choice, holds } => {
                self.choices.insert(choice.clone(), *holds);
            }
            SagaEvent::StepBegan { step, way, by, .. } => self.of(step).begin(*way, by),
            SagaEvent::StepAsked { step, until } => {
                self.of(step).forward = Stage::Asked { until: *until };
            }
            SagaEvent::StepSucceeded { step, .. } => self.of(step).forward = Stage::Done,
            SagaEvent::StepFailed { step, way, effect, reason, again, lost } => {
                self.of(step).fail(*way, *effect, reason, *again, *lost);
            }
            SagaEvent::StepCompensated { step } => self.of(step).back = Stage::Done,
            SagaEvent::AnswerIgnored { .. } => {}
            SagaEvent::CompensationStarted { cause } => {
                self.phase = Phase::Compensating;
                self.reason = Some(cause.clone());
            }
            SagaEvent::Suspended { step, way, reason } => {
                self.phase = Phase::Suspended;
                self.reason = Some(reason.clone());
                self.incident = Some(Incident { step: step.clone(), way: *way });
            }
            SagaEvent::Overdue => self.overdue = true,
            SagaEvent::Operated { operation, resets, .. } => self.operate(operation, resets),
            SagaEvent::Migrated { to, renamed, .. } => {
                self.version = *to;
                self.rename(renamed);
            }
            SagaEvent::Completed => self.phase = Phase::Completed,
            SagaEvent::Compensated => self.phase = Phase::Compensated,
            SagaEvent::Terminated => self.phase = Phase::Terminated,
        }
    }

    /// All at once: two may change their names with each other.
    fn rename(&mut self, renamed: &BTreeMap<String, String>) {
        let new = |old: &String| renamed.get(old).unwrap_or(old).clone();
        let steps = std::mem::take(&mut self.steps).into_iter().map(|(old, mut step)| {
            let name = new(&old);
            if name != old {
                step.called.get_or_insert(old);
            }
            (name, step)
        });
        self.steps = steps.collect();
        let choices = std::mem::take(&mut self.choices).into_iter();
        self.choices = choices.map(|(old, holds)| (new(&old), holds)).collect();
        if let Some(incident) = &mut self.incident {
            incident.step = new(&incident.step);
        }
    }

    fn operate(&mut self, operation: &Operation, resets: &[String]) {
        match operation {
            Operation::Retry => self.retry(),
            Operation::Skip { step, .. } => {
                let step = self.of(step);
                (step.forward, step.by_hand, step.uncertain) = (Stage::Done, true, false);
                self.go_on(Phase::Running);
            }
            Operation::Fail { step } => {
                let step = self.of(step);
                (step.forward, step.uncertain) = (Stage::Failed, false);
                self.go_on(Phase::Running);
            }
            Operation::MarkCompensated { step } => {
                let step = self.of(step);
                (step.back, step.by_hand) = (Stage::Done, true);
                self.go_on(Phase::Compensating);
            }
            Operation::ResumeFrom { .. } => self.resume(resets),
            Operation::Edit { .. } => {}
            Operation::Cancel => {
                self.reason = Some("it was cancelled".to_owned());
                self.go_on(Phase::Compensating);
            }
            Operation::Terminate => self.phase = Phase::Terminated,
        }
    }

    fn go_on(&mut self, phase: Phase) {
        self.phase = phase;
        self.incident = None;
    }

    fn retry(&mut self) {
        let Some(Incident { step, way }) = self.incident.take() else { return };
        let step = self.of(&step);
        match way {
            Way::Forward => {
                (step.forward, step.tries, step.lost) = (Stage::Waiting, 0, 0);
                self.phase = Phase::Running;
            }
            Way::Back => {
                (step.back, step.undo_tries, step.lost) = (Stage::Waiting, 0, 0);
                self.phase = Phase::Compensating;
            }
        }
    }

    /// What was undone, has failed, or is among these waits once more. What has happened and
    /// is not undone stays known.
    fn resume(&mut self, resets: &[String]) {
        for (name, step) in &mut self.steps {
            let undone = step.back == Stage::Done;
            step.back = Stage::Waiting;
            step.undo_tries = 0;
            if undone || resets.contains(name) || step.forward != Stage::Done {
                step.uncertain = !undone && (step.uncertain || step.forward == Stage::Done);
                step.round += u32::from(undone);
                (step.forward, step.by_hand) = (Stage::Waiting, false);
                (step.tries, step.lost) = (0, 0);
            }
        }
        self.choices.retain(|name, _| !resets.contains(name));
        self.go_on(Phase::Running);
    }
}

impl StepState {
    fn begin(&mut self, way: Way, by: &str) {
        let running = Stage::Running { by: by.to_owned() };
        match way {
            Way::Forward => {
                self.forward = running;
                self.attempts += 1;
                self.tries += 1;
            }
            Way::Back => {
                self.back = running;
                self.undo_attempts += 1;
                self.undo_tries += 1;
            }
        }
    }

    fn fail(
        &mut self,
        way: Way,
        effect: Effect,
        reason: &str,
        again: Option<DateTime<Utc>>,
        lost: bool,
    ) {
        let stage = again.map_or(Stage::Failed, |at| Stage::Retrying { at });
        self.reason = Some(reason.to_owned());
        let tries = match way {
            Way::Forward => {
                self.forward = stage;
                self.uncertain = effect == Effect::Unknown;
                &mut self.tries
            }
            Way::Back => {
                self.back = stage;
                &mut self.undo_tries
            }
        };
        if lost {
            *tries = tries.saturating_sub(1);
            self.lost += 1;
        }
    }

    pub(crate) fn stage(&self, way: Way) -> &Stage {
        match way {
            Way::Forward => &self.forward,
            Way::Back => &self.back,
        }
    }

    pub(crate) fn tries(&self, way: Way) -> u32 {
        match way {
            Way::Forward => self.tries,
            Way::Back => self.undo_tries,
        }
    }

    pub(crate) fn attempts(&self, way: Way) -> u32 {
        match way {
            Way::Forward => self.attempts,
            Way::Back => self.undo_attempts,
        }
    }
}
