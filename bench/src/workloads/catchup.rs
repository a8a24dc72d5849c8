//! 100,000 events of 1,000 accounts in turn become a view of balances.

use std::{path::Path, sync::Arc};

use anyhow::{Result, ensure};
use gesta::{
    Batch, Codec, EventStore, NewEvent, Projector, Views, World, Write,
    memory::{MemoryStore, MemoryViews},
    stream_of,
};

use crate::{
    contest::{Role, Unit, Workload},
    domain::{ACCOUNTS, Account, AccountEvent, Balance, account, amount},
    limits,
    measure::{Measured, on_runtime, timed_async},
    peers::{self, CQRS_ES, EVENTCORE, Order},
    stores::Kind,
};

const ROUNDS: u64 = 100;
const EVENTS: u32 = 100_000;

pub(crate) fn in_memory(name: &'static str) -> Workload {
    let workload = Workload::new(name, Unit::PerSecond).with(Role::Gesta, "view", |_| {
        on_runtime(async {
            let store = MemoryStore::new();
            fill(&store).await?;
            catch_up(store, MemoryViews::new()).await
        })
    });
    with_peers(workload, Kind::Memory, "catchup", &[EVENTCORE])
}

pub(crate) fn mixed(name: &'static str) -> Workload {
    let workload = with_limit(name).with(Role::Gesta, "view", |turn| {
        let file = turn.file.clone();
        on_runtime(async move {
            let store = filled(&file).await?;
            let measured = catch_up(store.clone(), MemoryViews::new()).await;
            store.close().await;
            measured
        })
    });
    with_peers(workload, Kind::Full, "catchup", &[CQRS_ES, EVENTCORE])
}

pub(crate) fn durable(name: &'static str) -> Workload {
    let workload = with_limit(name).with(Role::Gesta, "view", |turn| {
        let file = turn.file.clone();
        on_runtime(async move {
            let store = filled(&file).await?;
            let measured = catch_up(store.clone(), store.clone()).await;
            store.close().await;
            measured
        })
    });
    with_peers(workload, Kind::Full, "catchup-durable", &[EVENTCORE])
}

fn with_limit(name: &'static str) -> Workload {
    Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "raw read, decode, fold", |turn| limits::read_log(&turn.file, EVENTS))
}

fn with_peers(
    mut workload: Workload,
    kind: Kind,
    order: &'static str,
    who: &[&'static str],
) -> Workload {
    for peer in who.iter().copied() {
        workload = workload.with(Role::Peer, peer, move |turn| {
            peers::run(turn, peer, Order { workload: order, kind, clients: 1, seconds: 1.0 })
        });
    }
    workload
}

async fn filled(file: &Path) -> Result<gesta::sqlite::SqliteStore> {
    let store = Kind::Full.open_sqlite(file).await?;
    fill(&store).await?;
    Ok(store)
}

/// One deposit for each account in turn, and again.
async fn fill(store: &impl EventStore) -> Result<()> {
    let world = World::real();
    for round in 0..ROUNDS {
        let write = |number| {
            let event = AccountEvent::deposited(round);
            let event = NewEvent::encode(&event, world.event_id(), Codec::Json)?;
            anyhow::Ok(Write::new(stream_of::<Account>(&account(number))?).events([event]))
        };
        let writes = (0..ACCOUNTS).map(write).collect::<Result<Vec<_>>>()?;
        store.append(Batch::new(writes).append_id(world.append_id())).await?;
    }
    Ok(())
}

async fn catch_up(store: impl EventStore, views: impl Views) -> Result<Measured> {
    let projector = Projector::new(Arc::new(store), views).view::<Balance>();
    let (elapsed, progress) = timed_async(async { Ok(projector.catch_up().await?) }).await?;
    let expected: u64 = (0..ROUNDS).map(amount).sum();
    let rows = projector.all::<Balance>().await?;
    ensure!(progress.events == u64::from(EVENTS), "{} events were seen", progress.events);
    ensure!(rows.len() == ACCOUNTS, "{} accounts are there", rows.len());
    ensure!(rows.iter().all(|(_, row)| row.balance == expected), "a balance is wrong");
    Measured::of_one(EVENTS, elapsed)
}
