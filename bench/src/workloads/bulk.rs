//! 100,000 events in batches of 1,000, each to a new stream, with the expected
//! version; making and encoding the events counts.

use std::sync::Arc;

use anyhow::Result;
use gesta::{AggregateStoreExt, EventStore, Version};

use crate::{
    contest::{Against, Role, Turn, Unit, Workload},
    domain::{Account, AccountEvent, account},
    limits,
    measure::{Measured, all_at_once, on_runtime, timed_async},
    peers::{self, Order},
    postgres,
    stores::Kind,
};

const BATCHES: usize = 100;
const BATCH: u32 = 1_000;
const EVENTS: u32 = 100_000;
/// More than any peer needs for all batches.
const PEER_SECONDS: f64 = 60.0;

pub(crate) fn bulk(name: &'static str, kind: Kind) -> Workload {
    let mut workload = Workload::new(name, Unit::PerSecond);
    if kind == Kind::Postgres {
        workload = workload.with(Role::Limit, "unnest of 1,000 rows", |_| postgres::unnest());
    } else if kind != Kind::Memory {
        workload = workload.with(Role::Limit, "raw insert, 1,000 a tx", move |turn| {
            limits::bulk(&turn.file, kind)
        });
    }
    workload = workload.with(Role::Gesta, "one at a time", move |turn| run(turn, kind, 1));
    workload = match kind {
        Kind::Memory => workload,
        Kind::Postgres => workload.goal(Against::BestPeer, 2.0).goal(Against::Limit, 0.6),
        Kind::Full | Kind::Normal => workload.goal(Against::BestPeer, 2.5),
    };
    workload = workload.with(Role::Gesta, "two at a time", move |turn| run(turn, kind, 2));
    for &peer in peers::with(kind) {
        workload = workload.with(Role::Peer, peer, move |turn| {
            peers::run(turn, peer, Order::new("bulk", kind, PEER_SECONDS))
        });
    }
    workload
}

fn run(turn: &Turn<'_>, kind: Kind, writers: usize) -> Result<Measured> {
    let file = turn.file.clone();
    on_runtime(async move {
        let opened = kind.open(&file).await?;
        let writer = |first| write(Arc::clone(&opened.store), first, writers);
        let (elapsed, ()) = timed_async(all_at_once((0..writers).map(writer))).await?;
        opened.close().await;
        Measured::of_one(EVENTS, elapsed)
    })
}

async fn write(store: Arc<dyn EventStore>, first: usize, writers: usize) -> Result<()> {
    for number in (first..BATCHES).step_by(writers) {
        append(&*store, number, 0, BATCH).await?;
    }
    Ok(())
}

/// Appends deposits to an account that has so many already.
pub(crate) async fn append(
    store: &dyn EventStore,
    number: usize,
    before: u64,
    events: u32,
) -> Result<()> {
    let numbers = before..before + u64::from(events);
    let events: Vec<_> = numbers.map(AccountEvent::deposited).collect();
    store.commit::<Account>(&account(number), Version::new(before), &events).await?;
    Ok(())
}
