//! The workloads, each through Gesta's public path, beside peers and limits.

mod bulk;
mod catchup;
mod commands;
mod hot;
mod load;
mod memory;

use crate::{contest::Workload, stores::Kind};

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
        load::load("load 10,000, SQLite", Kind::Full),
        load::load("load 10,000, memory", Kind::Memory),
        bulk::bulk("bulk, SQLite FULL", Kind::Full),
        bulk::bulk("bulk, SQLite NORMAL", Kind::Normal),
        bulk::bulk("bulk, memory", Kind::Memory),
        catchup::in_memory("catch-up, all in memory"),
        catchup::mixed("catch-up, SQLite to memory"),
        catchup::durable("catch-up, SQLite with checkpoint"),
        memory::append("memory append, 1 task", 1),
        memory::append("memory append, 2 tasks", 2),
    ]
}
