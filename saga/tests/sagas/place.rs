//! Stores in memory, sagas on them, and a diary of what the steps have done.

use std::{sync::Arc, time::Duration};

use es_core::{
    World,
    memory::{MemoryStore, MemoryTimers},
};
use parking_lot::Mutex;
use saga::{Definition, Path, Phase, RunningSagas, SagaId, Sagas, Step, StepError, Work};
use serde::{Serialize, de::DeserializeOwned};

pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// How long a saga may take, on a clock that jumps.
const PATIENCE: Duration = Duration::from_secs(24 * 3_600);

#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) store: MemoryStore,
    pub(crate) timers: MemoryTimers,
    pub(crate) world: World,
    pub(crate) diary: Diary,
}

impl Place {
    pub(crate) fn new() -> Self {
        let world = saga::testing::world();
        let (store, timers) = (MemoryStore::in_world(world.clone()), MemoryTimers::new());
        Self { store, timers, world, diary: Diary::default() }
    }

    /// Waits until it is so, for as long as anything may take.
    pub(crate) async fn until<F: Future<Output = bool>>(&self, is_so: impl Fn() -> F) {
        let began = self.world.now();
        while !is_so().await {
            assert!(self.world.now() - began < chrono::TimeDelta::days(1), "it never comes");
            self.world.sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn sagas(&self) -> Sagas {
        let sagas = Sagas::new(self.store.clone(), self.timers.clone());
        sagas.in_world(self.world.clone()).lease(LEASE)
    }

    /// A process that goes on with sagas of this definition.
    pub(crate) async fn node<D>(&self, definition: Definition<D>) -> Node
    where
        D: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let sagas = self.sagas().with(definition).expect("it is registered once");
        let running = sagas.start().await.expect("it starts");
        Node { sagas, running, world: self.world.clone() }
    }

    /// A step that writes into the diary, and can be undone.
    pub(crate) fn step(&self, name: &'static str) -> Step<()> {
        let (done, undone) = (self.diary.clone(), self.diary.clone());
        Step::new(name, move |_: Work<()>| {
            let done = done.clone();
            async move {
                done.write(name);
                Ok(())
            }
        })
        .compensate(move |_| {
            let undone = undone.clone();
            async move {
                undone.write(&format!("-{name}"));
                Ok(())
            }
        })
    }

    /// A step that is refused as long as the diary does not say `open`.
    pub(crate) fn gate(&self, name: &'static str) -> Step<()> {
        let diary = self.diary.clone();
        Step::new(name, move |_: Work<()>| {
            let diary = diary.clone();
            async move {
                if !diary.lines().contains(&"open".to_owned()) {
                    return Err(StepError::refused("it is closed"));
                }
                diary.write(name);
                Ok(())
            }
        })
    }
}

pub(crate) struct Node {
    pub(crate) sagas: Sagas,
    pub(crate) running: RunningSagas,
    world: World,
}

impl Node {
    pub(crate) async fn begin<D: Serialize + Sync>(&self, name: &str, data: &D) -> SagaId {
        let id = SagaId::new(name, 1).expect("an id");
        self.sagas.begin(&id, data).await.expect("it begins");
        id
    }

    pub(crate) async fn reaches(&self, id: &SagaId, wanted: Phase) {
        let is_there = |phase: Phase| phase == wanted || phase.is_terminal();
        let reached = tokio::select! {
            phase = self.sagas.reached(id, is_there) => phase.ok(),
            () = self.world.sleep(PATIENCE) => None,
        };
        assert_eq!(reached, Some(wanted), "{}", self.sagas.story(id).await.expect("a story"));
    }
}

#[derive(Clone, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(crate) fn write(&self, line: &str) {
        self.0.lock().push(line.to_owned());
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

pub(crate) fn definition(path: Path<()>) -> Definition<()> {
    Definition::new("trip", 1, path).expect("a graph that can be run")
}
