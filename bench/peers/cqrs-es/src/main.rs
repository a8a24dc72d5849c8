//! Measures cqrs-es: one workload, one line of JSON.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and starts tasks itself"
)]

#[path = "../../common/args.rs"]
mod args;
mod domain;
#[path = "../../common/measure.rs"]
mod measure;
mod store;
mod workloads;

use std::fs::File;
use std::process::ExitCode;

use anyhow::Result;

use crate::args::{Options, StoreKind};
use crate::measure::Report;

const SQLITE_PEER: &str = "cqrs-es 0.5.0 / sqlite-es 0.5.0";
const MEMORY_PEER: &str = "cqrs-es 0.5.0 / mem_store";

fn main() -> ExitCode {
    match measure() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<String> {
    let options = Options::parse(std::env::args().skip(1))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    // `MemStore` prints a line for every load and every commit.
    let standard_output = rustix::io::dup(std::io::stdout())?;
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    let task = runtime.spawn(run(options.clone()));
    let report = runtime.block_on(task);
    rustix::stdio::dup2_stdout(&standard_output)?;
    let peer = match options.store {
        StoreKind::Sqlite => SQLITE_PEER,
        StoreKind::Memory => MEMORY_PEER,
    };
    Ok(report??.to_json(peer, &options)?.to_string())
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
    }
}
