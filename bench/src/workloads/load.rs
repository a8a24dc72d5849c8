//! One stream of 10,000 events is loaded and folded, again and again.

use std::{path::Path, sync::Arc};

use anyhow::{Result, ensure};
use gesta::{AggregateStoreExt, EventStore};

use crate::{
    contest::{Against, Role, Unit, Workload},
    domain::{Account, account},
    limits::{self, Then},
    measure::{Client, Measured, drive, on_runtime, timed_async},
    peers::{self, BOTH, Order},
    stores::Kind,
    workloads::bulk::append,
};

const EVENTS: u32 = 10_000;
const BATCH: u32 = 1_000;

pub(crate) fn load(name: &'static str, kind: Kind) -> Workload {
    let mut workload = Workload::new(name, Unit::Milliseconds);
    if kind != Kind::Memory {
        // First the same rows, then a table that holds no more than it must.
        workload = workload
            .with(Role::Limit, "raw read, all columns", move |turn| {
                fill(kind, &turn.file)?;
                limits::read_whole_rows(&turn.file, EVENTS, turn.seconds)
            })
            .goal(Against::Limit, 1.3);
        for (what, then) in [
            ("raw read, 4 columns", Then::Copy),
            ("raw read, 4 columns, decode, fold", Then::DecodeAndFold),
        ] {
            workload = workload.with(Role::Limit, what, move |turn| {
                limits::read_stream(&turn.file, EVENTS, then, turn.seconds)
            });
        }
    }
    workload = workload.with(Role::Gesta, "load", move |turn| {
        let (file, seconds) = (turn.file.clone(), turn.seconds);
        on_runtime(async move { measure(kind, &file, seconds).await })
    });
    for peer in BOTH {
        workload = workload.with(Role::Peer, peer, move |turn| {
            let seconds = turn.seconds;
            peers::run(turn, peer, Order { workload: "load", kind, clients: 1, seconds })
        });
    }
    workload
}

/// Makes a file with the stream in it.
fn fill(kind: Kind, file: &Path) -> Result<()> {
    let file = file.to_owned();
    on_runtime(async move {
        let opened = kind.open(&file).await?;
        let (elapsed, ()) = timed_async(append_all(&*opened.store)).await?;
        opened.close().await;
        Measured::of_one(EVENTS, elapsed)
    })
    .map(drop)
}

async fn measure(kind: Kind, file: &Path, seconds: f64) -> Result<Measured> {
    let opened = kind.open(file).await?;
    append_all(&*opened.store).await?;
    let loader = Loader(Arc::clone(&opened.store));
    let (measured, _) = drive(vec![loader], seconds).await?;
    opened.close().await;
    Ok(measured)
}

async fn append_all(store: &dyn EventStore) -> Result<()> {
    for batch in 0..EVENTS / BATCH {
        append(store, 0, u64::from(batch * BATCH), BATCH).await?;
    }
    Ok(())
}

struct Loader(Arc<dyn EventStore>);

impl Client for Loader {
    async fn send(&mut self) -> Result<()> {
        let loaded = self.0.load::<Account>(&account(0)).await?;
        ensure!(loaded.state.deposits == u64::from(EVENTS), "{:?} is not whole", loaded.state);
        Ok(())
    }
}
