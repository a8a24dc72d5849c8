//! What the log of the program says of an append that keeps followers waiting.

use std::{fmt, sync::Arc};

use chrono::TimeDelta;
use es_core::{EventStore, Read};
use parking_lot::Mutex;
use sqlx::Executor;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::scene::{on_a_log, to};

/// Notes each line of es-postgres.
#[derive(Debug, Clone, Default)]
struct Lines {
    noted: Arc<Mutex<Vec<String>>>,
}

struct Line(String);

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.0.insert_str(0, &format!("{value:?}")),
            name => self.0 += &format!(" {name}={value:?}"),
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("es_postgres")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.noted.lock().push(format!("{} {}", event.metadata().level(), line.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
}

/// The clock is moved, so that a stall of minutes takes as long as a few looks.
#[tokio::test]
async fn a_stall_is_one_line_that_names_its_session_and_another_one_each_minute() {
    let lines = Lines::default();
    let _told = tracing::subscriber::set_default(lines.clone());
    on_a_log("stall", async |scene| {
        let _follower = scene.store.follow(Read::all());
        let first = scene.store.append(to("a-1")).await.expect("an append");
        scene.followed_to(first.position).await;
        let (mut held, pid) = scene.hold("held-1").await;
        let last = scene.store.append(to("a-1")).await.expect("an append");

        let told = || lines.noted.lock().clone();
        for (moved, count) in [(2, 0), (4, 1), (10, 1), (60, 2)] {
            scene.clock.move_by(TimeDelta::seconds(moved));
            scene.looked().await;
            assert_eq!(told().len(), count, "{:?}", told());
        }
        let begin = format!(
            "WARN followers wait for an append that is under way pid={pid} application= \
             state=idle in transaction seconds="
        );
        assert!(told().iter().all(|line| line.starts_with(&begin)), "{:?}", told());

        held.execute("COMMIT").await.expect("a commit");
        scene.followed_to(last.position).await;
        scene.clock.move_by(TimeDelta::minutes(10));
        scene.looked().await;
        assert_eq!(told().len(), 2, "{:?}", told());
    })
    .await;
}

/// A log that stands still, with a position that nobody will write, is no stall.
#[tokio::test]
async fn a_position_that_was_drawn_in_vain_makes_no_line() {
    let lines = Lines::default();
    let _told = tracing::subscriber::set_default(lines.clone());
    on_a_log("vain", async |scene| {
        let _follower = scene.store.follow(Read::all());
        let first = scene.store.append(to("a-1")).await.expect("an append");
        scene.followed_to(first.position).await;
        for _ in 0..3 {
            let (mut held, _) = scene.hold("held-1").await;
            held.execute("ROLLBACK").await.expect("a rollback");
            scene.looked().await;
            scene.clock.move_by(TimeDelta::minutes(10));
            scene.looked().await;
        }
        let (mut held, _) = scene.hold("held-1").await;
        scene.clock.move_by(TimeDelta::seconds(2));
        scene.looked().await;
        assert!(lines.noted.lock().is_empty(), "{:?}", lines.noted.lock());
        held.execute("ROLLBACK").await.expect("a rollback");
    })
    .await;
}
