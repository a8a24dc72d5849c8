//! What is counted for an operator.

use std::{collections::BTreeMap, time::Duration};

use cqrs::{Commands, Projection, ProjectionError, Projector, Settings};
use es_core::{
    AppendId, Position, Recorded, World,
    memory::{MemoryStore, MemoryTx, MemoryViews},
};
use es_testkit::TestClock;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tokio::sync::watch;

use crate::{
    bank::{Account, AccountEvent, deposit, rename, withdraw},
    faulty::{Faulty, with},
};

/// What was told since the last time, by name and label.
pub(crate) fn told(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let told = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        let labels = key.key().labels().map(|label| format!(" {}", label.value()));
        let value = match value {
            DebugValue::Counter(count) => f64::from(u32::try_from(count).unwrap()),
            DebugValue::Gauge(value) => value.0,
            DebugValue::Histogram(_) => f64::NAN,
        };
        (format!("{}{}", key.key().name(), labels.collect::<String>()), value)
    });
    told.collect()
}

#[tokio::test]
async fn commands_are_counted_by_their_outcome() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let store = Faulty::new(MemoryStore::new());
    let commands = with(store.clone(), Settings::<Account>::new().attempts(2));
    let once = commands.once(AppendId::derive("once"));
    for _ in 0..2 {
        once.send(deposit("ada", 1)).await.unwrap();
    }
    let other = Commands::new(store.inner.clone());
    store.race(async move { drop(other.send(deposit("ada", 1)).await) });
    commands.send(deposit("ada", 1)).await.unwrap();
    commands.send(withdraw("ada", 100)).await.unwrap_err();
    commands.send(rename("ada", "one")).await.unwrap();
    commands.send(rename("bea", "one")).await.unwrap_err();
    store.conflict_always();
    commands.send(deposit("ada", 1)).await.unwrap_err();

    let told = told(&snapshotter);
    let commands = |outcome: &str| told[&format!("gesta_commands_total {outcome}")];
    // The one that came between was sent through a bus of the same process.
    assert_eq!(commands("sent"), 4.0);
    assert_eq!(commands("repeated"), 1.0);
    assert_eq!(commands("rejected"), 1.0);
    assert_eq!(commands("claimed"), 1.0);
    assert_eq!(commands("contended"), 1.0);
    assert_eq!(commands("store"), 0.0);
    assert_eq!(told["gesta_command_retries_total"], 1.0 + 2.0);
}

/// Takes no event before it is let.
struct Gated(watch::Receiver<bool>);

impl Projection<MemoryTx> for Gated {
    const NAME: &'static str = "gated";
    type Event = AccountEvent;

    async fn project(
        &self,
        _: Recorded<'_, AccountEvent>,
        _: &mut MemoryTx,
    ) -> Result<(), ProjectionError> {
        self.0.clone().wait_for(|is_open| *is_open).await.map_err(ProjectionError::handler)?;
        Ok(())
    }

    async fn reset(&self, _: &mut MemoryTx) -> Result<(), ProjectionError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_projection_that_stands_still_tells_how_far_it_is_behind() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let clock = TestClock::new();
    let world = World::real().with_clock(clock.clone());
    let store = MemoryStore::in_world(world.clone());
    let commands = Commands::new(store.clone());
    for _ in 0..3 {
        commands.send(deposit("ada", 1)).await.unwrap();
    }
    clock.advance(Duration::from_secs(30));
    let (gate, closed) = watch::channel(false);
    let projector = Projector::new(store, MemoryViews::new()).world(world);
    let projecting = projector.projection(Gated(closed)).start();
    while clock.sleepers() == 0 {
        tokio::task::yield_now().await;
    }

    let before = told(&snapshotter);
    assert_eq!(before["gesta_projection_lag_events gated"], 3.0);
    assert_eq!(before["gesta_projection_lag_seconds gated"], 30.0);
    assert_eq!(before["gesta_events_projected_total"], 0.0);
    gate.send_replace(true);
    projecting.wait_for(Position::new(3)).await.unwrap();
    assert_eq!(told(&snapshotter)["gesta_events_projected_total"], 3.0);
    projecting.stop().await.unwrap();
}
