//! Messages of 200 bytes from publishers to one consumer, until the last is
//! acknowledged.

#![expect(clippy::disallowed_methods, reason = "a program may start tasks as it likes")]

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering as Counting},
};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt};
use gesta::{
    ContentType, Group, Message, Name, Order, Subscription, Topic, TopicPattern, World,
    bus::{Broker, Endpoint, Received},
};
use tokio::sync::Notify;

use crate::{
    brokers::{BATCH, Kind, PUBLISHERS, Place, WINDOW, bare_nats, bare_redis, count, payload},
    contest::{Role, Unit, Workload},
    domain::ACCOUNTS,
    measure::{Measured, on_runtime, timed_async},
};

pub(crate) fn messages(name: &'static str, kind: Kind) -> Workload {
    let mut workload = Workload::new(name, Unit::PerSecond);
    workload = match kind {
        Kind::Memory => workload,
        Kind::Redis => {
            workload.with(Role::Limit, "XADD, XREADGROUP, XACK", |turn| bare_redis(turn.seconds))
        }
        Kind::Nats => {
            workload.with(Role::Limit, "JetStream, pull, ack", |turn| bare_nats(turn.seconds))
        }
    };
    for (who, way) in [
        ("without an order", Way::Port(Order::None)),
        ("in the order of 1,000 keys", Way::Port(Order::Key)),
        ("the same through an endpoint", Way::Endpoint),
    ] {
        workload = workload.with(Role::Gesta, who, move |turn| {
            let seconds = turn.seconds;
            on_runtime(async move {
                let place = Place::new(kind).await?;
                let measured = measure(&place, way, count(seconds)?).await;
                place.leave().await?;
                measured
            })
        });
    }
    workload
}

/// How messages are taken.
#[derive(Debug, Clone, Copy)]
enum Way {
    Port(Order),
    Endpoint,
}

async fn measure(place: &Place, way: Way, messages: u32) -> Result<Measured> {
    let take = match way {
        Way::Port(order) => take(place, order, messages).await?,
        Way::Endpoint => handle(place, messages).await?,
    };
    let moved = async {
        let taken = tokio::spawn(take);
        let publish = |_| tokio::spawn(publish(Arc::clone(&place.broker), messages / PUBLISHERS));
        for task in (0..PUBLISHERS).map(publish).collect::<Vec<_>>() {
            task.await??;
        }
        taken.await?
    };
    let (elapsed, ()) = timed_async(moved).await?;
    Measured::of_one(messages, elapsed)
}

type Taking = futures_util::future::BoxFuture<'static, Result<()>>;

/// A member of a group that acknowledges at once.
async fn take(place: &Place, order: Order, messages: u32) -> Result<Taking> {
    let asks = Subscription::of(group()?).to(TopicPattern::new("bench.*")?);
    let deliveries = place.broker.consume(asks.in_order(order).window(WINDOW)).await?;
    let messages = usize::try_from(messages)?;
    Ok(Box::pin(async move {
        let acks = deliveries.map_ok(|delivery| delivery.ack()).take(messages);
        acks.try_buffer_unordered(WINDOW).try_collect::<()>().await?;
        Ok(())
    }))
}

/// An endpoint whose handler does nothing.
async fn handle(place: &Place, messages: u32) -> Result<Taking> {
    let (left, done) = (AtomicU32::new(messages), Arc::new(Notify::new()));
    let all = Arc::clone(&done);
    let endpoint = Endpoint::new(group()?.as_str())?.to("bench.*")?.concurrency(WINDOW);
    let endpoint = endpoint.window(WINDOW).handle_message(move |_: Received<()>| {
        if left.fetch_sub(1, Counting::Relaxed) == 1 {
            all.notify_one();
        }
        std::future::ready(Ok(()))
    });
    let running = place.bus.subscribe(endpoint).await?;
    Ok(Box::pin(async move {
        done.notified().await;
        running.drain().await.is_clean().then_some(()).context("it was not drained")
    }))
}

async fn publish(broker: Arc<dyn Broker>, messages: u32) -> Result<()> {
    let (world, topic) = (World::real(), Topic::new("bench.told")?.into());
    let (kind, payload) = (Name::new("bench.told")?, payload());
    for batch in 0..messages / BATCH {
        let message = |number| {
            let id = world.event_id().to_string();
            let message = Message::new(id, kind.clone(), ContentType::JSON, payload.clone());
            message.with_key((number as usize % ACCOUNTS).to_string())
        };
        let some = (batch * BATCH..(batch + 1) * BATCH).map(message).collect();
        broker.publish(&topic, some).await?;
    }
    Ok(())
}

fn group() -> Result<Group> {
    Ok(Group::new("bench")?)
}
