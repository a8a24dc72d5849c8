//! Measures eventcore: one workload, one line of JSON.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and starts tasks itself"
)]

#[path = "../../common/args.rs"]
mod args;
mod domain;
#[expect(dead_code, reason = "nothing is unsupported or given up here")]
#[path = "../../common/measure.rs"]
mod measure;
mod store;
mod workloads;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{Options, StoreKind};
use crate::measure::Report;

const SQLITE_PEER: &str = "eventcore 2.1.0 / eventcore-sqlite 2.1.0";
const MEMORY_PEER: &str = "eventcore 2.1.0 / eventcore-memory 2.1.0";

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
    let task = runtime.spawn(run(options.clone()));
    let report = runtime.block_on(task)??;
    let peer = match options.store {
        StoreKind::Sqlite => SQLITE_PEER,
        StoreKind::Memory => MEMORY_PEER,
    };
    Ok(report.to_json(peer, &options)?.to_string())
}

async fn run(options: Options) -> Result<Report> {
    match options.store {
        StoreKind::Sqlite => {
            let store = store::open_sqlite(&options).await?;
            let setting = format!("synchronous={}", options.durability.name());
            workloads::run(&options, store, &setting).await
        }
        StoreKind::Memory => workloads::run(&options, store::open_memory(), "no file").await,
    }
}
