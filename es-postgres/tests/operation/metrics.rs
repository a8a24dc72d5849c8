//! What is counted.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use es_core::{AppendId, EventStore, Expected, Read, Version};
use futures_util::future::join_all;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use sqlx::Executor;

use crate::scene::{on_a_log, to};

/// All that was told since the last time, by name and last label; of a histogram
/// the sum.
fn told(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let mut told = BTreeMap::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let mut labels = key.key().labels();
        assert!(labels.next().is_some_and(|label| label.key() == "schema"));
        let label = labels.next().map_or(String::new(), |label| format!(" {}", label.value()));
        let value = match value {
            DebugValue::Counter(count) => f64::from(u32::try_from(count).expect("a few")),
            DebugValue::Gauge(value) => value.0,
            DebugValue::Histogram(values) => values.iter().map(|value| value.0).sum(),
        };
        told.insert(format!("{}{label}", key.key().name()), value);
    }
    told
}

#[tokio::test]
async fn appends_are_counted_by_their_outcome() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    on_a_log("counted", async |scene| {
        let store = &scene.store;
        let id = AppendId::derive("once");
        for _ in 0..2 {
            store.append(to("a-1").append_id(id)).await.expect("an append");
        }
        let late = to("a-1").expect(Expected::Exact(Version::new(7)));
        store.append(late).await.expect_err("a conflict");
        store.append(es_core::Batch::new([])).await.expect_err("an empty batch");
        let many = (0..10).map(|n| store.append(to(&format!("b-{n}"))));
        assert!(join_all(many).await.iter().all(Result::is_ok));

        let told = told(&snapshotter);
        let count = |name: &str| told.get(name).copied().unwrap_or(-1.0);
        assert_eq!(count("gesta_appends_total appended"), 11.0);
        assert_eq!(count("gesta_appends_total repeated"), 1.0);
        assert_eq!(count("gesta_appends_total conflict"), 1.0);
        assert_eq!(count("gesta_appends_total invalid"), 1.0);
        assert_eq!(count("gesta_appends_total failed"), 0.0);
        assert_eq!(count("gesta_events_appended_total"), 11.0);
        assert_eq!(count("gesta_append_group_size"), 13.0);
        let latency = count("gesta_append_seconds");
        assert!(latency > 0.0 && latency < 60.0, "{latency}");
        for purpose in ["reading", "writing", "projecting"] {
            assert_eq!(count(&format!("gesta_connections_in_use {purpose}")), 0.0);
            assert_eq!(count(&format!("gesta_connections_lost_total {purpose}")), 0.0);
        }
    })
    .await;
}

#[tokio::test]
async fn a_stall_and_a_lost_connection_show() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    on_a_log("stalled", async |scene| {
        let _follower = scene.store.follow(Read::all());
        let first = scene.store.append(to("a-1")).await.expect("an append");
        scene.followed_to(first.position).await;
        let (mut held, _) = scene.hold("held-1").await;
        scene.store.append(to("a-1")).await.expect("an append");
        scene.clock.move_by(TimeDelta::seconds(40));
        scene.looked().await;
        let name = "gesta_horizon_held_seconds";
        let seconds = told(&snapshotter)[name];
        assert!((40.0..70.0).contains(&seconds), "{seconds}");

        held.execute("COMMIT").await.expect("a commit");
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN \
             (SELECT pid FROM pg_stat_activity WHERE application_name = 'gesta' \
             AND strpos(query, $1) > 0)";
        let kill = sqlx::query(kill).bind(&scene.schema);
        let killed = kill.fetch_all(&mut scene.session().await).await.expect("an end");
        assert!(!killed.is_empty());
        let _ = scene.store.append(to("a-1")).await;
        scene.store.append(to("a-1")).await.expect("an append");
        scene.looked().await;
        let told = told(&snapshotter);
        assert_eq!(told[name], 0.0);
        assert!(told["gesta_connections_lost_total writing"] >= 1.0, "{told:?}");
    })
    .await;
}
