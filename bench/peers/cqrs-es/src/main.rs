//! Measures cqrs-es: one workload, one line of JSON.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and starts tasks itself"
)]

#[path = "../../common/args.rs"]
mod args;
mod catchup;
mod domain;
#[path = "../../common/measure.rs"]
mod measure;
#[path = "../../common/postgres.rs"]
mod postgres;
#[path = "../../common/program.rs"]
mod program;
mod store;
mod workloads;

use std::fs::File;
use std::process::ExitCode;

use anyhow::Result;

use crate::args::{Options, StoreKind};
use crate::measure::Report;

const SQLITE_PEER: &str = "cqrs-es 0.5.0 / sqlite-es 0.5.0";
const POSTGRES_PEER: &str = "cqrs-es 0.5.0 / postgres-es 0.5.0";
const MEMORY_PEER: &str = "cqrs-es 0.5.0 / mem_store";

fn main() -> ExitCode {
    program::measure(peer, in_silence)
}

fn peer(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Sqlite => SQLITE_PEER,
        StoreKind::Memory => MEMORY_PEER,
        StoreKind::Postgres => POSTGRES_PEER,
    }
}

/// `MemStore` prints a line for every load and every commit.
async fn in_silence(options: Options) -> Result<Report> {
    let standard_output = rustix::io::dup(std::io::stdout())?;
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    let report = run(options).await;
    rustix::stdio::dup2_stdout(&standard_output)?;
    report
}

async fn run(options: Options) -> Result<Report> {
    match options.store {
        StoreKind::Sqlite => {
            let backend = store::Sqlite::open(&options).await?;
            let report = workloads::run(&options, &backend).await;
            backend.close().await;
            report
        }
        StoreKind::Memory => workloads::run(&options, &store::Memory::default()).await,
        StoreKind::Postgres => {
            let (url, connections) = (options.url.clone(), postgres::connections(options.clients));
            postgres::in_new_database(&url, connections, |pool| async move {
                let backend = store::Postgres::new(pool).await?;
                workloads::run(&options, &backend).await
            })
            .await
        }
    }
}
