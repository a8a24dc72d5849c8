use std::{collections::BTreeMap, fmt};

use chrono::{DateTime, Utc};
use es_core::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is recorded of a saga, in its stream: all that is known of it is a fold of these.
///
/// ```
/// use es_core::Event;
/// use saga::SagaEvent;
///
/// assert_eq!(SagaEvent::Completed.event_type().name, "saga.completed");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "saga")]
#[non_exhaustive]
pub enum SagaEvent {
    /// It began, by this version of its definition.
    Started {
        /// The version to which it is pinned.
        version: u32,
        /// What its data began with.
        input: Value,
        /// When it began.
        at: DateTime<Utc>,
        /// When it is to be compensated if it has not ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<DateTime<Utc>>,
    },
    /// A condition of its graph was looked at.
    Chosen {
        /// Which.
        choice: String,
        /// Whether it held.
        holds: bool,
    },
    /// A step is about to be tried: recorded before it is.
    StepBegan {
        /// Which.
        step: String,
        /// Whether it is done or undone.
        way: Way,
        /// The how manieth try it is, from 1.
        attempt: u32,
        /// Which process tries.
        by: String,
    },
    /// A step has asked, and waits for its answer.
    StepAsked {
        /// Which.
        step: String,
        /// How long it waits.
        until: DateTime<Utc>,
    },
    /// A step is done.
    StepSucceeded {
        /// Which.
        step: String,
        /// What it has brought, by which the data are extended.
        output: Value,
    },
    /// A try has failed.
    StepFailed {
        /// Which step.
        step: String,
        /// Of what it was a try.
        way: Way,
        /// What is known of its effect.
        effect: Effect,
        /// Why.
        reason: String,
        /// When it is tried again; without, it has failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        again: Option<DateTime<Utc>>,
        /// Whether whoever tried it is gone.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        lost: bool,
    },
    /// A step is undone.
    StepCompensated {
        /// Which.
        step: String,
    },
    /// What came for a step that did not wait for it any more: nothing follows.
    AnswerIgnored {
        /// Which step.
        step: String,
        /// What it was.
        answer: Value,
    },
    /// It begins to undo what it has done.
    CompensationStarted {
        /// Why.
        cause: String,
    },
    /// It goes neither forward nor back until somebody says what to do.
    Suspended {
        /// Which step cannot go on.
        step: String,
        /// Which way.
        way: Way,
        /// Why.
        reason: String,
    },
    /// Its deadline has passed after its pivot: it goes on, and somebody should know.
    Overdue,
    /// Somebody has said what to do.
    Operated {
        /// What.
        operation: Operation,
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// The steps and conditions that it lets run again, if it does.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        resets: Vec<String>,
    },
    /// It goes on by another version of its definition.
    Migrated {
        /// Which.
        to: u32,
        /// The steps that have another name there.
        renamed: BTreeMap<String, String>,
        /// Its data from there on.
        data: Value,
        /// Who wanted it.
        by: String,
    },
    /// All its steps are done.
    Completed,
    /// What it had done is undone.
    Compensated,
    /// Somebody has ended it, and nothing was undone.
    Terminated,
}

/// Which way a step is tried.
///
/// ```
/// assert_eq!(saga::Way::Back.to_string(), "back");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// It is done.
    Forward,
    /// It is undone.
    Back,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Back => "back",
        })
    }
}

/// What is known of the effect of a step that has failed.
///
/// ```
/// assert_ne!(saga::Effect::Absent, saga::Effect::Unknown);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// This try may have had one.
    Unknown,
    /// No try has had one: the other side has said so.
    Absent,
}

/// What somebody who watches over sagas may do with one; see
/// [`Sagas::operate`](crate::Sagas::operate).
///
/// ```
/// use saga::Operation;
///
/// let told = Operation::Skip { step: "hotel".into(), output: serde_json::json!("room 7") };
/// assert_ne!(told, Operation::Retry);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// Tries the step once more at which it is suspended.
    Retry,
    /// Takes the step as done by hand, with this output. It is not undone later.
    Skip {
        /// Which step.
        step: String,
        /// What it has brought.
        output: Value,
    },
    /// Takes the step as one that has no effect, and undoes the others.
    Fail {
        /// Which step.
        step: String,
    },
    /// Takes the step as undone by hand.
    MarkCompensated {
        /// Which step.
        step: String,
    },
    /// Goes forward from this step: it and what follows it run again, and what was undone,
    /// with a new key. What could not be undone counts as done.
    ResumeFrom {
        /// Which step.
        step: String,
    },
    /// Goes on with other data.
    Edit {
        /// Which.
        data: Value,
    },
    /// Undoes what was done.
    Cancel,
    /// Ends it as it is; nothing is undone.
    Terminate,
}
