use std::{fmt, sync::Arc, time::Duration};

use es_core::{
    EventStore, World,
    memory::{MemoryStore, MemoryTimers},
};
use futures_util::TryStreamExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::play::{Mortal, Play};
use crate::{
    Definition, Kind, Phase, RunningSagas, SagaError, SagaEvent, SagaId, SagaState, Sagas, Way,
    graph::Graph, live::decode,
};

/// How long a saga may take, on a clock that jumps.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3_600);
const LEASE: Duration = Duration::from_secs(5);

/// What goes wrong, once or twice.
///
/// ```
/// assert!(saga::testing::Fault::ALL.contains(&saga::testing::Fault::CrashAfter));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The step is refused.
    Refused,
    /// It fails, and has had no effect.
    Error,
    /// It does not answer, and has had no effect.
    Timeout,
    /// It has had its effect, and the answer is lost.
    LostAnswer,
    /// It is done twice with one key.
    Twice,
    /// The process dies before it is done.
    CrashBefore,
    /// The process dies when it is done.
    CrashAfter,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Refused,
        Self::Error,
        Self::Timeout,
        Self::LostAnswer,
        Self::Twice,
        Self::CrashBefore,
        Self::CrashAfter,
    ];

    pub(super) fn times(self) -> u32 {
        match self {
            Self::Refused => u32::MAX,
            Self::Error => 2,
            _ => 1,
        }
    }
}

/// Every failure at every step of a definition, forwards and backwards, each in a run of its
/// own: it has to end completed or compensated, with each effect once, at receivers that know
/// a key that they have seen.
///
/// The steps run with their own actions, in memory, on tokio's paused clock; see the
/// [module](super) for an example.
pub struct Matrix<D> {
    define: Box<dyn Fn() -> Definition<D> + Send + Sync>,
    input: D,
    answers: Vec<(String, Value)>,
}

impl<D> Matrix<D>
where
    D: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    /// The failures of this definition, for sagas that begin with these data.
    pub fn of(define: impl Fn() -> Definition<D> + Send + Sync + 'static, input: D) -> Self {
        Self { define: Box::new(define), input, answers: Vec::new() }
    }

    /// Sets what comes for a step that waits for an answer.
    #[must_use]
    pub fn answer(mut self, step: &str, output: impl Into<Value>) -> Self {
        self.answers.push((step.to_owned(), output.into()));
        self
    }

    /// Runs all of them.
    pub async fn run(&self) -> Report {
        let (definition, mut cases) = ((self.define)(), Vec::new());
        let graph = definition.graph();
        cases.push(self.case(graph, None, None).await);
        for (at, place, kind) in graph.steps() {
            for fault in Fault::ALL {
                if kind != Kind::Retriable || fault != Fault::Refused {
                    let strike = Some((place.name.clone(), Way::Forward, fault));
                    cases.push(self.case(graph, strike, None).await);
                }
                let Some(turns) = turns(graph, at) else { continue };
                if graph.undoable(at) && fault != Fault::Refused {
                    let strike = Some((place.name.clone(), Way::Back, fault));
                    cases.push(self.case(graph, strike, Some(turns)).await);
                }
            }
        }
        Report { cases }
    }

    async fn case(
        &self,
        graph: &Graph,
        fault: Option<(String, Way, Fault)>,
        turns: Option<String>,
    ) -> Case {
        let play = Arc::new(Play::new(fault.clone(), turns));
        let (phase, problem) = match self.play(&play).await {
            Ok(state) => (Some(state.phase), wrong(graph, &play, &state)),
            Err(problem) => (None, Some(problem)),
        };
        Case { fault, phase, problem }
    }

    async fn play(&self, play: &Arc<Play>) -> Result<SagaState, String> {
        let (store, timers) = (MemoryStore::new(), MemoryTimers::new());
        let world = super::world();
        let id = SagaId::new((self.define)().name(), "1").map_err(|error| error.to_string())?;
        let mut node = self.start(play, &store, &timers, &world).await.map_err(text)?;
        let begun = node.sagas.begin(&id, &self.input).await.map_err(text)?;
        let _ = begun;
        let mut late = world.sleep(PATIENCE);
        loop {
            tokio::select! {
                ended = self.attend(&node.sagas, &id) => return ended.map_err(text),
                () = play.crash.notified() => {
                    node.mortal.kill();
                    node = self.start(play, &store, &timers, &world).await.map_err(text)?;
                }
                () = &mut late => {
                    let story = node.sagas.story(&id).await.map_err(text)?;
                    return Err(format!("it does not end:\n{story}"));
                }
            }
        }
    }

    async fn start(
        &self,
        play: &Arc<Play>,
        store: &MemoryStore,
        timers: &MemoryTimers,
        world: &World,
    ) -> Result<Node, SagaError> {
        let mortal = Mortal::default();
        let definition = (self.define)().map_steps(|node| play.stage(node));
        let sagas = Sagas::new(store.clone(), timers.clone())
            .in_world(world.clone().with_spawner(mortal.clone()))
            .lease(LEASE)
            .with(definition)?;
        let running = sagas.start().await?;
        Ok(Node { sagas, mortal, _running: running })
    }

    /// Answers what waits for an answer, until the saga ends or stands still.
    async fn attend(&self, sagas: &Sagas, id: &SagaId) -> Result<SagaState, SagaError> {
        let read = es_core::Read::stream(id.stream());
        let mut pages = sagas.inner.store.follow(read);
        let mut state = SagaState::default();
        while let Some(page) = pages.try_next().await? {
            for event in &page.events {
                let event = decode(event)?;
                state.apply(&event);
                if state.phase.is_terminal() || state.phase == Phase::Suspended {
                    return Ok(state);
                }
                let SagaEvent::StepAsked { step, .. } = event else { continue };
                let answer = self.answers.iter().find(|(known, _)| *known == step);
                let answer = answer.map_or(&Value::Null, |(_, output)| output);
                // Twice, as brokers do.
                for _ in 0..2 {
                    sagas.answer(id, &step, answer).await?;
                }
            }
        }
        Ok(state)
    }
}

struct Node {
    sagas: Sagas,
    mortal: Mortal,
    _running: RunningSagas,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.mortal.kill();
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

/// A step behind this one whose refusal undoes it.
fn turns(graph: &Graph, at: usize) -> Option<String> {
    let behind = graph.behind(at);
    let mut steps =
        graph.steps().filter(|(step, _, kind)| behind.contains(step) && *kind != Kind::Retriable);
    steps.next().map(|(_, place, _)| place.name.clone())
}

/// What is wrong about the effects of a saga that has ended so.
fn wrong(graph: &Graph, play: &Play, state: &SagaState) -> Option<String> {
    let (effects, phase) = (play.effects(), state.phase);
    let ends = match play.is_final() {
        true => Phase::Compensated,
        false => Phase::Completed,
    };
    if phase != ends {
        return Some(format!("it is {phase}, and must be {ends}, after {effects:?}"));
    }
    let count = |step: &str, way: Way| {
        effects.iter().filter(|(known, on)| known == step && *on == way).count()
    };
    for (at, place, _) in graph.steps() {
        let name = &place.name;
        let is_off = |(choice, holds): &(usize, bool)| {
            state.choices.get(&graph.nodes[*choice].name) != Some(holds)
        };
        let (done, undone) = (count(name, Way::Forward), count(name, Way::Back));
        let (must, may) = match phase {
            Phase::Completed => (usize::from(!place.within.iter().any(is_off)), 0),
            _ => (done.min(1), if graph.undoable(at) { done } else { 0 }),
        };
        if done != must || undone != may {
            return Some(format!("{phase}, but {name} was done {done} and undone {undone} times"));
        }
    }
    turned(graph, &effects)
}

/// What was undone before something that follows it.
fn turned(graph: &Graph, effects: &[(String, Way)]) -> Option<String> {
    let at =
        |step: &str| effects.iter().position(|(known, way)| known == step && *way == Way::Back);
    for (place_at, place, _) in graph.steps() {
        for later in graph.behind(place_at) {
            let later = &graph.nodes[later].name;
            if let (Some(this), Some(that)) = (at(&place.name), at(later))
                && that > this
            {
                return Some(format!("{} was undone before {later}, which follows it", place.name));
            }
        }
    }
    None
}

/// What has become of one failure.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Case {
    /// What failed where, if anything did.
    pub fault: Option<(String, Way, Fault)>,
    /// How the saga has ended; nothing if it has not.
    pub phase: Option<Phase>,
    /// What is wrong about that.
    pub problem: Option<String>,
}

/// What has become of all failures.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// One after the other.
    pub cases: Vec<Case>,
}

impl Report {
    /// Those that went wrong.
    pub fn problems(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| case.problem.is_some())
    }

    /// Asserts that none went wrong.
    ///
    /// # Panics
    ///
    /// If one did; the message says which.
    pub fn assert_all_right(&self) {
        let wrong = self.problems().map(ToString::to_string).collect::<Vec<_>>();
        assert!(
            wrong.is_empty(),
            "{} of {} went wrong:\n{}",
            wrong.len(),
            self.cases.len(),
            wrong.join("\n")
        );
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Some((step, way, fault)) => write!(f, "{fault:?} at {step}, {way}: ")?,
            None => f.write_str("nothing fails: ")?,
        }
        match (&self.phase, &self.problem) {
            (_, Some(problem)) => f.write_str(problem),
            (Some(phase), None) => write!(f, "{phase}"),
            (None, None) => f.write_str("it has not ended"),
        }
    }
}

impl<D> fmt::Debug for Matrix<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matrix").finish_non_exhaustive()
    }
}
