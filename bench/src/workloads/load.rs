//! One stream is loaded and folded, again and again.

use std::{path::Path, sync::Arc};

use anyhow::{Result, ensure};
use gesta::{
    AggregateStoreExt, EventStore, SnapshotPolicy, Snapshots, Snapshotting, StreamId, World,
    postgres::PostgresStore, stream_of,
};

use crate::{
    contest::{Against, Role, Unit, Workload},
    domain::{Account, account},
    limits::{self, Then},
    measure::{Client, Measured, drive, on_runtime, timed_async},
    peers::{self, Order},
    postgres::{self, Schema},
    stores::Kind,
    workloads::bulk::append,
};

const BATCH: u32 = 1_000;
/// Events before the snapshot, and after it.
const BEFORE: u32 = 10_000;
const AFTER: u32 = 10;

pub(crate) fn load(name: &'static str, kind: Kind, events: u32) -> Workload {
    let mut workload = Workload::new(name, Unit::Milliseconds);
    if kind == Kind::Postgres {
        workload = workload.with(Role::Limit, "raw read, all columns", move |turn| {
            postgres::read_whole_rows(events, turn.seconds, async |store| {
                append_all(store, events).await
            })
        });
    } else if kind != Kind::Memory {
        // First the same rows, then a table that holds no more than it must.
        workload = workload.with(Role::Limit, "raw read, all columns", move |turn| {
            fill(kind, &turn.file, events)?;
            limits::read_whole_rows(&turn.file, events, turn.seconds)
        });
        for (what, then) in [
            ("raw read, 4 columns", Then::Copy),
            ("raw read, 4 columns, decode, fold", Then::DecodeAndFold),
        ] {
            workload = workload.with(Role::Limit, what, move |turn| {
                limits::read_stream(&turn.file, events, then, turn.seconds)
            });
        }
    }
    workload = workload.with(Role::Gesta, "load", move |turn| {
        let (file, seconds) = (turn.file.clone(), turn.seconds);
        on_runtime(async move { measure(kind, &file, events, seconds).await })
    });
    if kind != Kind::Memory {
        workload = workload.goal(Against::Limit, 1.3);
    }
    for &peer in peers::with(kind) {
        workload = workload.with(Role::Peer, peer, move |turn| {
            let order = Order { events, ..Order::new("load", kind, turn.seconds) };
            peers::run(turn, peer, order)
        });
    }
    workload
}

/// 10,000 events, then a snapshot, then a few more.
pub(crate) fn with_snapshot(name: &'static str) -> Workload {
    Workload::new(name, Unit::Milliseconds)
        .with(Role::Limit, "a bare round trip", |turn| postgres::round_trip(turn.seconds))
        .with(Role::Gesta, "load", |turn| {
            let seconds = turn.seconds;
            on_runtime(async move { measure_snapshot(seconds).await })
        })
        .goal(Against::Limit, 1.3)
}

async fn measure_snapshot(seconds: f64) -> Result<Measured> {
    let schema = Schema::new().await?;
    let store = Arc::new(schema.store().await?);
    append_all(&*store, BEFORE).await?;
    let snapshots: Arc<dyn Snapshots> = Arc::clone(&store) as _;
    let snapshotting =
        Snapshotting::new(snapshots, SnapshotPolicy::every(u64::from(BEFORE)), World::real());
    let stream = stream_of::<Account>(&account(0))?;
    snapshotting.load::<Account, _>(&*store, &stream).await?;
    while snapshotting.counts().written == 0 {
        tokio::task::yield_now().await;
    }
    append(&*store, 0, u64::from(BEFORE), AFTER).await?;
    let loader = Snapped { snapshotting, store: Arc::clone(&store), stream };
    let (measured, _) = drive(vec![loader], seconds).await?;
    store.close().await;
    schema.leave().await;
    Ok(measured)
}

/// Makes a file with the stream in it.
fn fill(kind: Kind, file: &Path, events: u32) -> Result<()> {
    let file = file.to_owned();
    on_runtime(async move {
        let opened = kind.open(&file).await?;
        let (elapsed, ()) = timed_async(append_all(&*opened.store, events)).await?;
        opened.close().await;
        Measured::of_one(events, elapsed)
    })
    .map(drop)
}

async fn measure(kind: Kind, file: &Path, events: u32, seconds: f64) -> Result<Measured> {
    let opened = kind.open(file).await?;
    append_all(&*opened.store, events).await?;
    let loader = Loader { store: Arc::clone(&opened.store), events };
    let (measured, _) = drive(vec![loader], seconds).await?;
    opened.close().await;
    Ok(measured)
}

async fn append_all(store: &dyn EventStore, events: u32) -> Result<()> {
    for batch in 0..events / BATCH {
        append(store, 0, u64::from(batch * BATCH), BATCH).await?;
    }
    Ok(())
}

struct Loader {
    store: Arc<dyn EventStore>,
    events: u32,
}

impl Client for Loader {
    async fn send(&mut self) -> Result<()> {
        let loaded = self.store.load::<Account>(&account(0)).await?;
        ensure!(loaded.state.deposits == u64::from(self.events), "{:?} is not whole", loaded.state);
        Ok(())
    }
}

struct Snapped {
    snapshotting: Snapshotting,
    store: Arc<PostgresStore>,
    stream: StreamId,
}

impl Client for Snapped {
    async fn send(&mut self) -> Result<()> {
        let loaded = self.snapshotting.load::<Account, _>(&*self.store, &self.stream).await?;
        ensure!(loaded.state.deposits == u64::from(BEFORE + AFTER), "the account is not whole");
        Ok(())
    }
}
