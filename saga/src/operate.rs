use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    Kind, Operation, Phase, SagaError, SagaEvent, SagaId, Sagas, Stage, Way,
    definition::AnyDefinition, graph::What, live::Live,
};

/// Where a saga goes on by another version of its definition.
///
/// ```
/// use saga::Migration;
///
/// let by_flight = Migration::to(2)
///     .rename("hotel", "stay")
///     .data(|mut trip| {
///         trip["class"] = "second".into();
///         trip
///     });
/// ```
pub struct Migration {
    to: u32,
    renamed: BTreeMap<String, String>,
    data: Box<dyn Fn(Value) -> Value + Send + Sync>,
}

impl Migration {
    /// To this version, with the same data and names.
    pub fn to(version: u32) -> Self {
        Self { to: version, renamed: BTreeMap::new(), data: Box::new(|data| data) }
    }

    /// Says that a step has another name there.
    #[must_use]
    pub fn rename(mut self, old: &str, new: &str) -> Self {
        self.renamed.insert(old.to_owned(), new.to_owned());
        self
    }

    /// Sets what becomes of the data.
    #[must_use]
    pub fn data(mut self, data: impl Fn(Value) -> Value + Send + Sync + 'static) -> Self {
        self.data = Box::new(data);
        self
    }
}

impl std::fmt::Debug for Migration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migration").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Sagas {
    /// Does something with a saga that its definition does not say; who does it and why is
    /// recorded in its stream.
    ///
    /// ```
    /// # use saga::{Definition, Operation, Path, Phase, SagaId, Sagas, Step, StepError, Work};
    /// # use es_core::memory::{MemoryStore, MemoryTimers};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mail = Step::new("mail", |_: Work<()>| async { Err::<(), _>(StepError::refused("no such address")) });
    /// # let charge = Step::new("charge", |_: Work<()>| async { Ok(()) });
    /// # let order = Definition::new("order", 1, Path::of(charge.pivot()).step(mail.retriable()))?;
    /// # let sagas = Sagas::new(MemoryStore::new(), MemoryTimers::new()).with(order)?;
    /// # let running = sagas.start().await?;
    /// # let id = SagaId::new("order", 1)?;
    /// # sagas.begin(&id, &()).await?;
    /// assert_eq!(sagas.reached(&id, |phase| phase == Phase::Suspended).await?, Phase::Suspended);
    /// let skip = Operation::Skip { step: "mail".into(), output: serde_json::Value::Null };
    /// sagas.operate(&id, skip, "ada", "I called them").await?;
    /// assert_eq!(sagas.ended(&id).await?, Phase::Completed);
    /// # running.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SagaError::Refused`] if that cannot be done as the saga is now; [`SagaError`] if
    /// there is none, or a store fails.
    pub async fn operate(
        &self,
        id: &SagaId,
        operation: Operation,
        by: &str,
        why: &str,
    ) -> Result<(), SagaError> {
        self.change(id, |live, world, node| {
            if let Some(why) = refusal(live, &operation, live.sight(world, node).is_committed()) {
                return Err(SagaError::Refused { saga: id.clone(), why });
            }
            check_data(live, &operation)?;
            let (operation, by, why) = (operation.clone(), by.to_owned(), why.to_owned());
            let ends = operation == Operation::Terminate;
            let resets = resets(live, &operation);
            let mut events = vec![SagaEvent::Operated { operation, by, why, resets }];
            events.extend(ends.then_some(SagaEvent::Terminated));
            Ok(events)
        })
        .await
    }

    /// Lets a saga go on by another version of its definition. Both have to be registered.
    ///
    /// # Errors
    ///
    /// [`SagaError::Refused`] if a step that has begun is not there, or one is under way;
    /// [`SagaError`] if the data are not what that version takes, or a store fails.
    pub async fn migrate(
        &self,
        id: &SagaId,
        migration: &Migration,
        by: &str,
    ) -> Result<(), SagaError> {
        let definition = self.inner.registry.find(id.definition(), migration.to)?;
        self.change(id, |live, _, _| {
            if let Some(why) = does_not_fit(live, &*definition, migration) {
                return Err(SagaError::Refused { saga: id.clone(), why });
            }
            let broken = |what: &str| {
                let (saga, what) = (id.clone(), what.to_owned());
                move |source| SagaError::Data { saga, what, source }
            };
            let data = live.data.to_json().map_err(broken("they"))?;
            let data = (migration.data)(data);
            Arc::clone(&definition).open(&data).map_err(broken("what was migrated"))?;
            let (to, renamed, by) = (migration.to, migration.renamed.clone(), by.to_owned());
            Ok(vec![SagaEvent::Migrated { to, renamed, data, by }])
        })
        .await
    }
}

/// The steps and conditions that run again.
fn resets(live: &Live, operation: &Operation) -> Vec<String> {
    let Operation::ResumeFrom { step } = operation else { return Vec::new() };
    let graph = live.definition.graph();
    let Some(at) = graph.find(step) else { return Vec::new() };
    let all = graph.behind(at).into_iter().chain([at]);
    all.map(|at| graph.nodes[at].name.clone()).collect()
}

/// Why that cannot be done, if it cannot.
fn refusal(live: &Live, operation: &Operation, is_committed: bool) -> Option<String> {
    let state = &live.state;
    if state.phase.is_terminal() {
        return Some(format!("it is {}", state.phase));
    }
    let suspended = state.phase == Phase::Suspended;
    let at = |way: Way| state.incident.as_ref().filter(|incident| suspended && incident.way == way);
    let graph = live.definition.graph();
    let is_step = |name: &str| {
        let at = graph.find(name)?;
        matches!(graph.nodes[at].what, What::Step { .. }).then_some(at)
    };
    let at_step = |step: &str, way| at(way).is_some_and(|incident| incident.step == step);
    match operation {
        Operation::Retry if !suspended => Some("it is not suspended".to_owned()),
        Operation::Skip { step, .. } | Operation::Fail { step } if !at_step(step, Way::Forward) => {
            Some(format!("it is not suspended at {step} on its way forward"))
        }
        Operation::MarkCompensated { step } if !at_step(step, Way::Back) => {
            Some(format!("it is not suspended at {step} on its way back"))
        }
        Operation::ResumeFrom { step } => match is_step(step) {
            None => Some(format!("it has no step {step}")),
            Some(_) if !suspended => Some("it is not suspended".to_owned()),
            Some(_) if is_moving(live) => Some("steps are under way, try again".to_owned()),
            Some(_) => None,
        },
        Operation::Cancel if matches!(state.phase, Phase::Compensating) => {
            Some("it is being undone".to_owned())
        }
        // Who cancels it at a pivot of which nobody knows says that it has not happened.
        Operation::Cancel if is_committed && !is_at_pivot(live) => {
            Some("its pivot has begun, after which nothing is undone".to_owned())
        }
        _ => None,
    }
}

fn is_moving(live: &Live) -> bool {
    let mut steps = live.state.steps.values();
    steps.any(|step| step.forward.is_under_way() || step.back.is_under_way())
}

fn is_at_pivot(live: &Live) -> bool {
    let Some(incident) = &live.state.incident else { return false };
    let mut steps = live.definition.graph().steps();
    let is_pivot = steps.any(|(_, place, kind)| kind == Kind::Pivot && place.name == incident.step);
    is_pivot && live.state.known(&incident.step).forward != Stage::Done
}

fn check_data(live: &Live, operation: &Operation) -> Result<(), SagaError> {
    let taken = match operation {
        Operation::Edit { data } => Arc::clone(&live.definition).open(data).map(drop),
        Operation::Skip { step, output } => match live.definition.graph().find(step) {
            Some(at) => live.data.takes(at, output),
            None => Ok(()),
        },
        _ => Ok(()),
    };
    let what = "what was given".to_owned();
    taken.map_err(|source| SagaError::Data { saga: live.id.clone(), what, source })
}

/// Why a saga cannot go on by that version, if it cannot.
fn does_not_fit(live: &Live, to: &dyn AnyDefinition, migration: &Migration) -> Option<String> {
    if live.state.phase.is_terminal() {
        return Some(format!("it is {}", live.state.phase));
    }
    if is_moving(live) {
        return Some("steps are under way, try again".to_owned());
    }
    let steps = live.state.steps.keys().map(|name| (name, false));
    let names = steps.chain(live.state.choices.keys().map(|name| (name, true)));
    let mut taken = BTreeSet::new();
    for (old, is_choice) in names {
        let name = migration.renamed.get(old).unwrap_or(old);
        let place = to.graph().find(name).map(|at| &to.graph().nodes[at]);
        let to = migration.to;
        match place {
            None => return Some(format!("version {to} has no {name}: say how it is called there")),
            Some(place) if (place.what == What::Choice) != is_choice => {
                return Some(format!("{name} is a step in one version, a condition in the other"));
            }
            Some(_) if !taken.insert(name) => {
                return Some(format!("two steps are called {name} in version {to}"));
            }
            Some(_) => {}
        }
    }
    None
}
