//! The log as outbox: how many events a second come from Postgres to Redis, and how long
//! after its append was acknowledged each of them is handed out.

#![expect(clippy::disallowed_methods, reason = "a program may start tasks as it likes")]

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt, TryStreamExt};
use gesta::{
    Batch, Codec, Deliveries, Event, EventStore, Group, NewEvent, Projector, Relay, StartAt,
    Subscription, TopicPattern, World, postgres::PostgresStore, stream_of,
};

use crate::{
    brokers::{Kind, Place, WINDOW, add_batch, forget, prefix, redis},
    contest::{Against, Role, Unit, Workload},
    domain::{ACCOUNTS, Account, AccountEvent, account},
    measure::{Measured, Schedule, Stamp, on_runtime, percentile_of, timed_async},
    postgres::Schema,
    workloads::catchup::deposit,
};

/// Rounds of a deposit to each account.
const ROUNDS: u64 = 20;
const EVENTS: u32 = 20_000;
/// Of the limit.
const PAGE: i64 = 1_000;
/// Between two appends.
const INTERVAL: Duration = Duration::from_millis(1);
/// What 99 of 100 events are to stay below.
const GOAL_MS: f64 = 50.0;

pub(crate) fn events(name: &'static str) -> Workload {
    Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "SELECT of 1,000, XADD", |_| {
            on_runtime(async {
                let (schema, store) = filled().await?;
                store.close().await;
                let stream = prefix();
                let (elapsed, ()) = timed_async(copy(&schema, &stream)).await?;
                forget(&stream).await?;
                schema.leave().await;
                Measured::of_one(EVENTS, elapsed)
            })
        })
        .with(Role::Gesta, "relay", |_| {
            on_runtime(async {
                let (schema, store) = filled().await?;
                let place = Place::new(Kind::Redis).await?;
                // Somebody listens, and does not take anything.
                drop(listen(&place).await?);
                let relay = relay(&store, &place).await?;
                let told = async { Ok(relay.catch_up().await?) };
                let (elapsed, progress) = timed_async(told).await?;
                ensure!(progress.events == u64::from(EVENTS), "{} events", progress.events);
                store.close().await;
                place.leave().await?;
                schema.leave().await;
                Measured::of_one(EVENTS, elapsed)
            })
        })
}

async fn filled() -> Result<(Schema, PostgresStore)> {
    let schema = Schema::new().await?;
    let store = schema.store().await?;
    deposit(&store, ROUNDS).await?;
    Ok((schema, store))
}

async fn listen(place: &Place) -> Result<Deliveries> {
    let asks = Subscription::of(Group::new("bench")?).to(TopicPattern::new("account.*")?);
    Ok(place.broker.consume(asks.window(WINDOW)).await?)
}

async fn relay(store: &PostgresStore, place: &Place) -> Result<Projector<PostgresStore>> {
    let relay = Relay::new("told", place.redis().await?).of::<AccountEvent>();
    Ok(Projector::new(store.clone(), store.clone()).relay(relay, StartAt::Beginning))
}

async fn copy(schema: &Schema, stream: &str) -> Result<()> {
    let (mut redis, mut after) = (redis().await?, 0);
    loop {
        let page = schema.page(after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        let payloads = page.iter().map(|(_, payload)| payload.as_slice());
        add_batch(&mut redis, stream, payloads).await?;
    }
}

/// At 1,000 events a second, from another process.
pub(crate) fn lag(name: &'static str) -> Workload {
    Workload::new(name, Unit::Milliseconds)
        .with(Role::Gesta, "p99", |turn| {
            let seconds = turn.seconds;
            on_runtime(async move { measure(seconds).await })
        })
        .goal(Against::Nothing, GOAL_MS)
}

async fn measure(seconds: f64) -> Result<Measured> {
    let (schema, place) = (Schema::new().await?, Place::new(Kind::Redis).await?);
    let (store, followed) = (schema.store().await?, schema.store().await?);
    let deliveries = listen(&place).await?;
    let running = relay(&followed, &place).await?.start();
    let count = Duration::from_secs_f64(seconds).as_millis() / INTERVAL.as_millis();
    let schedule = Arc::new(Schedule::new(usize::try_from(count)?));
    let appending = tokio::spawn(append_all(store.clone(), Arc::clone(&schedule)));
    let taking = tokio::spawn(take_all(deliveries, Arc::clone(&schedule)));
    appending.await??;
    let handed = taking.await??;
    running.stop().await?;
    followed.close().await;
    store.close().await;
    place.leave().await?;
    schema.leave().await;
    let lags = handed.into_iter().map(|(number, stamp)| schedule.until(number, stamp));
    percentile_of(lags.collect::<Result<_>>()?, 99)
}

/// Each append is a task of its own, so that a slow one does not delay the next.
async fn append_all(store: PostgresStore, schedule: Arc<Schedule>) -> Result<()> {
    let world = World::real();
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut appends = Vec::new();
    for number in 0..schedule.len() {
        ticks.tick().await;
        let event = AccountEvent::deposited(number as u64);
        let event = NewEvent::encode(&event, world.event_id(), Codec::Json)?;
        let batch = Batch::to(stream_of::<Account>(&account(number % ACCOUNTS))?).event(event);
        let (store, schedule) = (store.clone(), Arc::clone(&schedule));
        appends.push(tokio::spawn(async move {
            store.append(batch).await?;
            schedule.begin(number);
            anyhow::Ok(())
        }));
    }
    for append in appends {
        append.await??;
    }
    Ok(())
}

/// When each was handed out.
async fn take_all(deliveries: Deliveries, schedule: Arc<Schedule>) -> Result<Vec<(usize, Stamp)>> {
    let handed = deliveries.map(|delivery| {
        let (delivery, stamp) = (delivery?, schedule.stamp());
        let index = AccountEvent::index_of(delivery.message.kind.as_str()).context("a deposit")?;
        let event = Codec::Json.decode(index, &delivery.message.payload)?;
        let AccountEvent::Deposited { reference, .. } = event else { bail!("no deposit") };
        let number = reference.trim_start_matches("REF-").parse()?;
        anyhow::Ok(async move {
            delivery.ack().await?;
            anyhow::Ok((number, stamp))
        })
    });
    handed.take(schedule.len()).try_buffer_unordered(WINDOW).try_collect().await
}
