use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{
    Phase, SagaError, SagaEvent, SagaId, SagaState, Stage, Way,
    drawing::Drawing,
    live::{Live, read},
    sagas::Inner,
};

/// All that has happened to one saga.
///
/// ```
/// use saga::{Definition, Path, SagaId, Sagas, Step, Work};
/// use es_core::memory::{MemoryStore, MemoryTimers};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hello = Step::new("hello", |_: Work<()>| async { Ok("world".to_owned()) });
/// let greeting = Definition::new("greeting", 1, Path::of(hello))?;
/// let sagas = Sagas::new(MemoryStore::new(), MemoryTimers::new()).with(greeting)?;
/// let running = sagas.start().await?;
/// let id = SagaId::new("greeting", 1)?;
/// sagas.begin(&id, &()).await?;
/// sagas.ended(&id).await?;
///
/// let story = sagas.story(&id).await?;
/// println!("{story}");
/// assert!(story.to_string().contains("hello succeeded: \"world\""));
/// assert!(story.drawing().mermaid().contains("hello"));
/// # running.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Story {
    /// Whose it is.
    pub id: SagaId,
    /// Where it is now.
    pub state: SagaState,
    /// What its data are now.
    pub data: Value,
    /// What has happened, and when.
    pub events: Vec<(DateTime<Utc>, SagaEvent)>,
    drawing: Drawing,
}

impl Story {
    pub(crate) async fn read(inner: &Inner, id: &SagaId) -> Result<Self, SagaError> {
        let live = Live::load(&*inner.store, &inner.registry, id).await?;
        let (recorded, events) = read(&*inner.store, id).await?;
        let broken = |source| SagaError::Data { saga: id.clone(), what: "they".into(), source };
        let data = live.data.to_json().map_err(broken)?;
        let drawing = Drawing::of(live.definition.graph(), Some(&live.state));
        let events = recorded.iter().map(|one| one.recorded_at).zip(events).collect();
        Ok(Self { id: id.clone(), state: live.state, data, events, drawing })
    }

    /// Its graph, with how far each step is.
    pub fn drawing(&self) -> &Drawing {
        &self.drawing
    }
}

/// One line for each event.
impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, version {}, {}", self.id, self.state.version, self.state.phase)?;
        for (at, event) in &self.events {
            writeln!(f, "{}  {}", at.format("%F %T%.3f"), Line(event))?;
        }
        Ok(())
    }
}

struct Line<'e>(&'e SagaEvent);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            SagaEvent::Started { version, input, .. } => {
                write!(f, "started, version {version}: {input}")
            }
            SagaEvent::Chosen { choice, holds } => write!(f, "{choice} is {holds}"),
            SagaEvent::StepBegan { step, way: Way::Forward, attempt, by } => {
                write!(f, "{step} began, try {attempt} by {by}")
            }
            SagaEvent::StepBegan { step, attempt, by, .. } => {
                write!(f, "{step} is being undone, try {attempt} by {by}")
            }
            SagaEvent::StepAsked { step, until } => {
                write!(f, "{step} waits for its answer until {until}")
            }
            SagaEvent::StepSucceeded { step, output } => write!(f, "{step} succeeded: {output}"),
            SagaEvent::StepFailed { step, way, reason, again, .. } => {
                write!(f, "{step} failed {way}: {reason}")?;
                again.map_or(Ok(()), |at| write!(f, ", again at {}", at.format("%T%.3f")))
            }
            SagaEvent::StepCompensated { step } => write!(f, "{step} is undone"),
            SagaEvent::AnswerIgnored { step, answer } => {
                write!(f, "{step} waits for no answer: {answer}")
            }
            SagaEvent::CompensationStarted { cause } => write!(f, "is undone: {cause}"),
            SagaEvent::Suspended { step, way, reason } => {
                write!(f, "suspended at {step}, {way}: {reason}")
            }
            SagaEvent::Overdue => f.write_str("its deadline has passed after its pivot"),
            SagaEvent::Operated { operation, by, why, .. } => {
                write!(f, "{by}: {operation:?}, as {why}")
            }
            SagaEvent::Migrated { to, by, .. } => write!(f, "{by}: goes on by version {to}"),
            SagaEvent::Completed => f.write_str("completed"),
            SagaEvent::Compensated => f.write_str("compensated"),
            SagaEvent::Terminated => f.write_str("terminated"),
        }
    }
}

/// How a step is shown.
pub(crate) fn word(state: &SagaState, step: &str) -> &'static str {
    let step = state.known(step);
    match (&step.back, &step.forward) {
        (Stage::Done, _) => "undone",
        (Stage::Failed, _) | (Stage::Waiting, Stage::Failed) => "failed",
        (Stage::Running { .. } | Stage::Retrying { .. }, _) => "undoing",
        (_, Stage::Done) => "done",
        (_, Stage::Running { .. }) => "running",
        (_, Stage::Asked { .. }) => "asked",
        (_, Stage::Retrying { .. }) => "retrying",
        _ if state.phase == Phase::Completed => "skipped",
        _ => "waiting",
    }
}
