//! How long after an append began a follower has its event, at 1,000 appends a
//! second.

#![expect(clippy::disallowed_methods, reason = "a program may start tasks as it likes")]

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use gesta::{Batch, Codec, EventStore, EventStoreExt, NewEvent, Read, World, stream_of};

use crate::{
    contest::{Against, Role, Unit, Workload},
    domain::{ACCOUNTS, Account, AccountEvent, account},
    measure::{Measured, Schedule, on_runtime, percentile_of},
    postgres::Schema,
};

/// Between two appends.
const INTERVAL: Duration = Duration::from_millis(1);
/// What 99 of 100 events are to stay below.
const GOAL_MS: f64 = 20.0;
const STRANGER_MS: f64 = 100.0;

#[derive(Debug, Clone, Copy)]
enum Follower {
    SameProcess,
    /// With connections of its own, as in another process.
    Other,
    /// The same, while somebody else has a transaction open that has written.
    BesideStranger,
}

pub(crate) fn latency(name: &'static str) -> Workload {
    let mut workload = Workload::new(name, Unit::Milliseconds);
    for (who, follower, goal) in [
        ("p99, another process", Follower::Other, GOAL_MS),
        ("p99, same process", Follower::SameProcess, GOAL_MS),
        ("p99, beside a stranger's transaction", Follower::BesideStranger, STRANGER_MS),
    ] {
        workload = workload
            .with(Role::Gesta, who, move |turn| {
                let seconds = turn.seconds;
                on_runtime(async move { measure(follower, seconds).await })
            })
            .goal(Against::Nothing, goal);
    }
    workload
}

async fn measure(follower: Follower, seconds: f64) -> Result<Measured> {
    let schema = Schema::new().await?;
    let store = schema.store().await?;
    let followed = match follower {
        Follower::SameProcess => store.clone(),
        Follower::Other | Follower::BesideStranger => schema.store().await?,
    };
    let stranger = Schema::named(schema.name().to_owned()).await?;
    if matches!(follower, Follower::BesideStranger) {
        let write = format!(
            "BEGIN; CREATE TABLE {}.strange (); INSERT INTO {0}.strange DEFAULT VALUES",
            schema.name()
        );
        stranger.run(&write).await?;
    }
    let count = Duration::from_secs_f64(seconds).as_millis() / INTERVAL.as_millis();
    let count = usize::try_from(count)?;
    let schedule = Arc::new(Schedule::new(count));
    let appending = append_all(store.clone(), Arc::clone(&schedule));
    let following = follow(followed.clone(), Arc::clone(&schedule));
    let (appended, latencies) = tokio::join!(tokio::spawn(appending), tokio::spawn(following));
    appended??;
    let latencies = latencies??;
    stranger.run("ROLLBACK").await?;
    followed.close().await;
    store.close().await;
    schema.leave().await;
    percentile_of(latencies, 99)
}

/// Each append is a task of its own, so that a slow one does not delay the next.
async fn append_all(store: impl EventStore + Clone, schedule: Arc<Schedule>) -> Result<()> {
    let world = World::real();
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut appends = Vec::new();
    for number in 0..schedule.len() {
        ticks.tick().await;
        let event = AccountEvent::deposited(number as u64);
        let event = NewEvent::encode(&event, world.event_id(), Codec::Json)?;
        let stream = stream_of::<Account>(&account(number % ACCOUNTS))?;
        let batch = Batch::to(stream).event(event).append_id(world.append_id());
        schedule.begin(number);
        let store = store.clone();
        appends.push(tokio::spawn(async move { store.append(batch).await }));
    }
    for append in appends {
        append.await??;
    }
    Ok(())
}

async fn follow(store: impl EventStore, schedule: Arc<Schedule>) -> Result<Vec<Duration>> {
    let mut events = store.tail(Read::all());
    let mut latencies = Vec::new();
    while latencies.len() < schedule.len() {
        let event = events.next().await.context("the log ends")??;
        let deposit: AccountEvent = event.decode()?.context("a deposit")?;
        let AccountEvent::Deposited { reference, .. } = deposit else { continue };
        let number = reference.trim_start_matches("REF-").parse()?;
        latencies.push(schedule.since(number)?);
    }
    ensure!(latencies.len() == schedule.len(), "{} events came", latencies.len());
    Ok(latencies)
}
