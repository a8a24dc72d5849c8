//! What all peer programs are: one workload, one line of JSON.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{Options, StoreKind};
use crate::measure::Report;

/// Does what the command line asks for; `peer` says which library a store is of.
pub fn measure<W>(peer: fn(StoreKind) -> &'static str, work: fn(Options) -> W) -> ExitCode
where
    W: Future<Output = Result<Report>> + Send + 'static,
{
    match line(peer, work) {
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

fn line<W>(peer: fn(StoreKind) -> &'static str, work: fn(Options) -> W) -> Result<String>
where
    W: Future<Output = Result<Report>> + Send + 'static,
{
    let options = Options::parse(std::env::args().skip(1))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let task = runtime.spawn(work(options.clone()));
    let report = runtime.block_on(task)??;
    Ok(report.to_json(peer(options.store), &options)?.to_string())
}
