//! Sagas of five steps that do nothing: what a step costs.

use std::sync::Arc;

use anyhow::{Result, ensure};
use gesta::{
    EventStore, Timers,
    memory::{MemoryStore, MemoryTimers},
    saga::{Definition, Path, Phase, SagaId, Sagas, Step, Work},
};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    contest::{Against, Role, Unit, Workload},
    measure::{Measured, on_runtime, timed_async},
    postgres::Schema,
};

const STEPS: u32 = 5;
/// Sagas that are begun at once, each after the end of another.
const AT_ONCE: usize = 64;
/// What a second has to have, in memory and on Postgres.
const IN_MEMORY: f64 = 100_000.0;
const ON_POSTGRES: f64 = 1_500.0;

pub(crate) fn memory(name: &'static str) -> Workload {
    Workload::new(name, Unit::PerSecond)
        .with(Role::Gesta, "sagas", |turn| {
            let sagas = sagas_for(turn.seconds, 20_000.0);
            on_runtime(async move {
                let (elapsed, ()) =
                    timed_async(run(MemoryStore::new(), MemoryTimers::new(), sagas)).await?;
                Measured::of_one(sagas * STEPS, elapsed)
            })
        })
        .goal(Against::Nothing, IN_MEMORY)
}

pub(crate) fn postgres(name: &'static str) -> Workload {
    Workload::new(name, Unit::PerSecond)
        .with(Role::Gesta, "sagas", |turn| {
            let sagas = sagas_for(turn.seconds, 1_000.0);
            on_runtime(async move {
                let schema = Schema::new().await?;
                let store = schema.store().await?;
                let (elapsed, ()) = timed_async(run(store.clone(), store.clone(), sagas)).await?;
                store.close().await;
                schema.leave().await;
                Measured::of_one(sagas * STEPS, elapsed)
            })
        })
        .goal(Against::Nothing, ON_POSTGRES)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
fn sagas_for(seconds: f64, a_second: f64) -> u32 {
    (seconds * a_second).max(100.0) as u32
}

async fn run(store: impl EventStore, timers: impl Timers, sagas: u32) -> Result<()> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let step = |at: u32| {
        let ends = (at + 1 == STEPS).then(|| Arc::clone(&room));
        Step::new(&format!("step{at}"), move |_: Work<u32>| {
            ends.iter().for_each(|room| room.add_permits(1));
            async { Ok(()) }
        })
    };
    let path = (0..STEPS).fold(Path::new(), |path, at| path.step(step(at)));
    let running = Sagas::new(store, timers).with(Definition::new("bench", 1, path)?)?;
    let worker = running.start().await?;
    let mut begun = JoinSet::new();
    for number in 0..sagas {
        room.acquire().await?.forget();
        let sagas = running.clone();
        begun.spawn(
            async move { sagas.begin(&SagaId::new("bench", number)?, &number).await.map(drop) },
        );
        while let Some(one) = begun.try_join_next() {
            one??;
        }
    }
    while let Some(one) = begun.join_next().await {
        one??;
    }
    let _all = room.acquire_many(u32::try_from(AT_ONCE)?).await?;
    worker.stop().await;
    let last = SagaId::new("bench", sagas - 1)?;
    ensure!(running.state(&last).await?.phase == Phase::Completed, "{last} has not ended");
    Ok(())
}
