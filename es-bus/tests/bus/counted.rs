//! What is counted for an operator.

use std::{collections::BTreeMap, time::Duration};

use es_bus::{Endpoint, RetryPolicy};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::world::{Scene, Then, settled, until};

/// What was told since the last time, by name and labels.
fn told(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let told = snapshotter.snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
        let labels = key.key().labels().map(|label| format!(" {}", label.value()));
        let value = match value {
            DebugValue::Counter(count) => f64::from(u32::try_from(count).unwrap()),
            DebugValue::Gauge(value) => value.0,
            DebugValue::Histogram(all) => f64::from(u32::try_from(all.len()).unwrap()),
        };
        (format!("{}{}", key.key().name(), labels.collect::<String>()), value)
    });
    told.collect()
}

#[tokio::test]
async fn messages_are_counted_by_what_becomes_of_them() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let scene = Scene::new();
    let policy = RetryPolicy::new(2).jitter(0.0);
    let set = |e: Endpoint| {
        let wanted = |message: &es_core::Message| !message.payload.ends_with(b":4}");
        e.retry(policy).dedupe(Duration::from_secs(60)).filter(wanted)
    };
    let running = scene.bus.subscribe(scene.endpoint(set)).await.unwrap();
    scene.clerk.tell(1, [Then::Fail]);
    scene.clerk.tell(2, [Then::Fail, Then::Fail]);
    scene.clerk.tell(3, [Then::FailForGood]);
    scene.publish(0..5).await;
    settled().await;
    scene.clock.advance(Duration::from_secs(1));
    until(|| running.stats().dead_lettered == 2).await;
    // The letters are counted each minute.
    scene.clock.advance(Duration::from_secs(60));
    settled().await;

    let told = told(&snapshotter);
    for (name, count) in [
        ("event_bus_events_published_total confirmed", 5.0),
        ("event_bus_events_published_total failed", 0.0),
        ("event_bus_events_processed_total billing handled", 2.0),
        ("event_bus_events_processed_total billing passed", 1.0),
        ("event_bus_events_processed_total billing repeated", 0.0),
        ("event_bus_events_processed_total billing expired", 0.0),
        ("event_bus_events_failed_total billing", 4.0),
        ("event_bus_events_retried_total billing", 2.0),
        ("event_bus_events_dead_lettered_total billing", 2.0),
        ("event_bus_processing_duration_seconds billing", 6.0),
        ("event_bus_dlq_size billing", 2.0),
    ] {
        assert_eq!(told.get(name), Some(&count), "{name} of {told:?}");
    }
    assert!(running.drain().await.is_clean());
}
