//! The brokers that everybody is measured on, and what their drivers can do alone.

#![expect(clippy::disallowed_methods, reason = "a program may start tasks as it likes")]

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, PullConsumer, pull},
    context::Context as JetStream,
    message::PublishMessage,
    stream,
};
use bytes::Bytes;
use futures_util::StreamExt;
use gesta::{
    bus::{Broker, EventBus},
    memory::MemoryBroker,
    nats::NatsOptions,
    redis::{RedisBroker, RedisOptions},
};
use redis::{
    AsyncCommands,
    aio::MultiplexedConnection,
    streams::{StreamReadOptions, StreamReadReply},
};

use crate::measure::{Measured, on_runtime, timed_async};

/// Of a message.
const BYTES: usize = 200;
/// Messages that are published at once.
pub(crate) const BATCH: u32 = 200;
/// Those who publish, each of them one batch after the other.
pub(crate) const PUBLISHERS: u32 = 2;
/// Most messages that are in hand.
pub(crate) const WINDOW: usize = 1_000;
/// Who takes them.
const GROUP: &str = "bench";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Redis,
    Nats,
}

/// A place of its own for each turn, where nothing is left after it.
pub(crate) struct Place {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) bus: EventBus,
    kind: Kind,
    prefix: String,
}

impl Place {
    pub(crate) async fn new(kind: Kind) -> Result<Self> {
        let prefix = prefix();
        let (broker, bus) = match kind {
            Kind::Memory => both(MemoryBroker::new()),
            Kind::Redis => both(redis_broker(&prefix).await?),
            Kind::Nats => both(NatsOptions::new(nats_url()).prefix(&prefix).connect().await?),
        };
        Ok(Self { broker, bus, kind, prefix })
    }

    /// The broker of a Redis, as another process has it.
    pub(crate) async fn redis(&self) -> Result<RedisBroker> {
        redis_broker(&self.prefix).await
    }

    pub(crate) async fn leave(self) -> Result<()> {
        match self.kind {
            Kind::Memory => Ok(()),
            Kind::Redis => forget(&format!("{{{}}}*", self.prefix)).await,
            Kind::Nats => {
                let context = jetstream::new(async_nats::connect(nats_url()).await?);
                context.delete_stream(&self.prefix).await?;
                context.delete_stream(format!("{}_state", self.prefix)).await?;
                Ok(())
            }
        }
    }
}

fn both(broker: impl Broker + Clone) -> (Arc<dyn Broker>, EventBus) {
    (Arc::new(broker.clone()), EventBus::new(broker))
}

async fn redis_broker(prefix: &str) -> Result<RedisBroker> {
    Ok(RedisOptions::new(redis_url()).prefix(prefix).history(0).broker().await?)
}

pub(crate) fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("gesta_bench_{}_{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn redis_url() -> String {
    std::env::var("GESTA_REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into())
}

fn nats_url() -> String {
    std::env::var("GESTA_NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".into())
}

pub(crate) fn payload() -> Bytes {
    format!("{:?}", "x".repeat(BYTES - 2)).into()
}

/// What is published in a turn, in whole batches.
pub(crate) fn count(seconds: f64) -> Result<u32> {
    let milliseconds = Duration::from_secs_f64(seconds).as_millis();
    Ok(u32::try_from(milliseconds / 40)?.max(1) * PUBLISHERS * BATCH)
}

pub(crate) async fn redis() -> Result<MultiplexedConnection> {
    let client = redis::Client::open(redis_url())?;
    Ok(client.get_multiplexed_async_connection().await?)
}

/// What the Redis says of itself.
pub(crate) fn redis_facts() -> Result<String> {
    block_on(async {
        let mut redis = redis().await?;
        let said: String = redis::cmd("INFO").arg("server").query_async(&mut redis).await?;
        let version = said.lines().find_map(|line| line.strip_prefix("redis_version:"));
        let mut facts = vec![version.unwrap_or_default().to_owned()];
        for name in ["appendonly", "appendfsync"] {
            let mut ask = redis::cmd("CONFIG");
            let said: Vec<String> = ask.arg("GET").arg(name).query_async(&mut redis).await?;
            facts.push(said.join("="));
        }
        Ok(facts.join(", "))
    })
}

/// What the NATS server says of itself.
pub(crate) fn nats_facts() -> Result<String> {
    block_on(async { Ok(async_nats::connect(nats_url()).await?.server_info().version) })
}

fn block_on<T>(asked: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asked)
}

/// Deletes all keys that are like this.
pub(crate) async fn forget(like: &str) -> Result<()> {
    let mut redis = redis().await?;
    let keys: Vec<Vec<u8>> = redis.keys(like).await?;
    for some in keys.chunks(1_000) {
        let () = redis.del(some).await?;
    }
    Ok(())
}

/// Batches of `XADD` in pipelines on one side, `XREADGROUP` and `XACK` on the other.
pub(crate) fn bare_redis(seconds: f64) -> Result<Measured> {
    on_runtime(async move {
        let (name, messages) = (prefix(), count(seconds)?);
        let mut reader = redis().await?;
        let () = reader.xgroup_create_mkstream(&name, GROUP, "$").await?;
        let moved = async {
            let reads = tokio::spawn(read(reader, name.clone(), messages));
            let adds = (0..PUBLISHERS).map(|_| tokio::spawn(add(name.clone(), messages)));
            for task in adds.collect::<Vec<_>>() {
                task.await??;
            }
            reads.await?
        };
        let (elapsed, ()) = timed_async(moved).await?;
        forget(&name).await?;
        Measured::of_one(messages, elapsed)
    })
}

async fn add(name: String, messages: u32) -> Result<()> {
    let (mut redis, payload) = (redis().await?, payload().to_vec());
    for _ in 0..messages / PUBLISHERS / BATCH {
        add_batch(&mut redis, &name, (0..BATCH).map(|_| payload.as_slice())).await?;
    }
    Ok(())
}

pub(crate) async fn add_batch<'p>(
    redis: &mut MultiplexedConnection,
    name: &str,
    payloads: impl Iterator<Item = &'p [u8]>,
) -> Result<()> {
    let mut pipeline = redis::pipe();
    for payload in payloads {
        pipeline.xadd(name, "*", &[("p", payload)]).ignore();
    }
    let () = pipeline.query_async(redis).await?;
    Ok(())
}

async fn read(mut redis: MultiplexedConnection, name: String, messages: u32) -> Result<()> {
    let options = StreamReadOptions::default().group(GROUP, "one").count(WINDOW).block(100);
    let mut left = usize::try_from(messages)?;
    while left > 0 {
        let found: Option<StreamReadReply> =
            redis.xread_options(&[&name], &[">"], &options).await?;
        let Some(stream) = found.and_then(|mut found| found.keys.pop()) else { continue };
        let ids: Vec<_> = stream.ids.iter().map(|entry| entry.id.as_str()).collect();
        left -= ids.len();
        let () = redis.xack(&name, GROUP, &ids).await?;
    }
    Ok(())
}

/// Publishes with acks on one side, and a pull consumer that acknowledges on the other.
pub(crate) fn bare_nats(seconds: f64) -> Result<Measured> {
    on_runtime(async move {
        let (name, messages) = (prefix(), count(seconds)?);
        let context = jetstream::new(async_nats::connect(nats_url()).await?);
        let stream = context
            .create_stream(stream::Config {
                name: name.clone(),
                subjects: vec![format!("{name}.>")],
                ..stream::Config::default()
            })
            .await?;
        let consumer = stream
            .create_consumer(pull::Config {
                durable_name: Some(GROUP.into()),
                ack_policy: AckPolicy::Explicit,
                max_ack_pending: i64::try_from(10 * WINDOW)?,
                ..pull::Config::default()
            })
            .await?;
        let moved = async {
            let pulls = tokio::spawn(take(consumer, messages));
            let sends = (0..PUBLISHERS).map(|_| tokio::spawn(send(name.clone(), messages)));
            for task in sends.collect::<Vec<_>>() {
                task.await??;
            }
            pulls.await?
        };
        let (elapsed, ()) = timed_async(moved).await?;
        context.delete_stream(&name).await?;
        Measured::of_one(messages, elapsed)
    })
}

async fn send(name: String, messages: u32) -> Result<()> {
    let context: JetStream = jetstream::new(async_nats::connect(nats_url()).await?);
    let (subject, payload) = (format!("{name}.told"), payload());
    for _ in 0..messages / PUBLISHERS / BATCH {
        let mut sent = Vec::new();
        for _ in 0..BATCH {
            let message = PublishMessage::build().payload(payload.clone());
            sent.push(context.send_publish(subject.clone(), message).await?);
        }
        for confirmed in sent {
            confirmed.await?;
        }
    }
    Ok(())
}

async fn take(consumer: PullConsumer, messages: u32) -> Result<()> {
    let mut pulled = consumer.stream().max_messages_per_batch(WINDOW).messages().await?;
    for _ in 0..messages {
        let message = pulled.next().await.context("the stream ends")??;
        message.ack().await.map_err(|error| anyhow::anyhow!(error))?;
    }
    Ok(())
}
