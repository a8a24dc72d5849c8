//! One stream of 10,000 events is loaded and folded, again and again.

use std::{path::Path, sync::Arc};

use anyhow::{Result, ensure};
use gesta::{AggregateStoreExt, EventStore};

use crate::{
    contest::{Against, Role, Unit, Workload},
    domain::{Account, account},
    limits::{self, Then},
    measure::{Client, Measured, drive, on_runtime},
    peers::{self, BOTH, Order},
    stores::Kind,
    workloads::bulk::append,
};

const EVENTS: u32 = 10_000;
const BATCH: u32 = 1_000;

pub(crate) fn load(name: &'static str, kind: Kind) -> Workload {
    let mut workload = Workload::new(name, Unit::Milliseconds);
    if kind != Kind::Memory {
        for (what, then) in
            [("raw read", Then::Copy), ("raw read, decode, fold", Then::DecodeAndFold)]
        {
            workload = workload.with(Role::Limit, what, move |turn| {
                limits::read_stream(&turn.file, EVENTS, then, turn.seconds)
            });
        }
        workload = workload.goal(Against::Limit, 1.3);
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

async fn measure(kind: Kind, file: &Path, seconds: f64) -> Result<Measured> {
    let opened = kind.open(file).await?;
    for batch in 0..EVENTS / BATCH {
        append(&*opened.store, 0, u64::from(batch * BATCH), BATCH).await?;
    }
    let loader = Loader(Arc::clone(&opened.store));
    let (measured, _) = drive(vec![loader], seconds).await?;
    opened.close().await;
    Ok(measured)
}

struct Loader(Arc<dyn EventStore>);

impl Client for Loader {
    async fn send(&mut self) -> Result<()> {
        let loaded = self.0.load::<Account>(&account(0)).await?;
        ensure!(loaded.state.deposits == u64::from(EVENTS), "{:?} is not whole", loaded.state);
        Ok(())
    }
}
