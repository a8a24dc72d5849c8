//! The workloads, each through Gesta's public path, beside peers and limits.

mod broker;
mod bulk;
mod catchup;
pub(crate) mod commands;
mod hot;
mod latency;
mod load;
mod memory;
mod relay;
mod sagas;
pub(crate) mod spread;

use crate::{brokers::Kind as Broker, contest::Workload, stores::Kind};
use commands::Cache;

/// All of them, in the order of the table.
pub(crate) fn all() -> Vec<Workload> {
    vec![
        commands::one("SQLite FULL, 1 client", Kind::Full),
        commands::many("SQLite FULL, 16 clients", Kind::Full, 16),
        commands::goal("SQLite FULL, 64 clients", Kind::Full, 64),
        commands::one("SQLite NORMAL, 1 client", Kind::Normal),
        commands::many("SQLite NORMAL, 16 clients", Kind::Normal, 16),
        commands::many("SQLite NORMAL, 64 clients", Kind::Normal, 64),
        commands::one("memory, 1 client", Kind::Memory),
        commands::many("memory, 16 clients", Kind::Memory, 16),
        commands::many("memory, 64 clients", Kind::Memory, 64),
        hot::hot("hot, SQLite FULL", Kind::Full),
        hot::hot("hot, memory", Kind::Memory),
        commands::inline("inline view, SQLite FULL, 1 client", Kind::Full, 1),
        commands::inline("inline view, SQLite FULL, 64 clients", Kind::Full, 64),
        load::load("load 10,000, SQLite", Kind::Full, 10_000),
        load::load("load 10,000, memory", Kind::Memory, 10_000),
        bulk::bulk("bulk, SQLite FULL", Kind::Full),
        bulk::bulk("bulk, SQLite NORMAL", Kind::Normal),
        bulk::bulk("bulk, memory", Kind::Memory),
        catchup::in_memory("catch-up, all in memory"),
        catchup::mixed("catch-up, SQLite to memory"),
        catchup::durable("catch-up, SQLite with checkpoint"),
        commands::on_postgres("Postgres, 1 client", 1, (2.7, Some(0.85)), (1.7, None)),
        commands::on_postgres("Postgres, 16 clients", 16, (4.5, None), (3.5, None)),
        commands::on_postgres("Postgres, 64 clients", 64, (9.0, Some(1.8)), (6.0, Some(1.2))),
        spread::spread("four processes, Postgres", Cache::Off),
        spread::spread("four processes with caches, Postgres", Cache::On),
        latency::latency("append to follower, Postgres"),
        hot::hot("hot, Postgres", Kind::Postgres),
        commands::inline("inline view, Postgres, 1 client", Kind::Postgres, 1),
        commands::inline("inline view, Postgres, 64 clients", Kind::Postgres, 64),
        load::load("load 1,000, Postgres", Kind::Postgres, 1_000),
        load::load("load 10,000, Postgres", Kind::Postgres, 10_000),
        load::with_snapshot("load with a snapshot, Postgres"),
        bulk::bulk("bulk, Postgres", Kind::Postgres),
        catchup::postgres("catch-up, Postgres"),
        catchup::ten("catch-up of ten models, Postgres"),
        memory::append("memory append, 1 task", 1),
        memory::append("memory append, 2 tasks", 2),
        broker::messages("broker, memory", Broker::Memory),
        broker::messages("broker, Redis", Broker::Redis),
        broker::messages("broker, NATS", Broker::Nats),
        relay::events("relay, Postgres to Redis"),
        relay::lag("relay lag, Postgres to Redis"),
        sagas::memory("sagas, memory"),
        sagas::postgres("sagas, Postgres"),
    ]
}
