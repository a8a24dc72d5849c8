//! Measures esrs: one workload, one line of JSON.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and starts tasks itself"
)]

#[expect(dead_code, reason = "there is no SQLite store")]
#[path = "../../common/args.rs"]
mod args;
mod catchup;
mod domain;
#[expect(dead_code, reason = "nothing is given up here")]
#[path = "../../common/measure.rs"]
mod measure;
#[path = "../../common/postgres.rs"]
mod postgres;
#[path = "../../common/program.rs"]
mod program;
mod workloads;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{Options, StoreKind};
use crate::measure::Report;

const PEER: &str = "esrs 0.18.0";

fn main() -> ExitCode {
    program::measure(|_| PEER, run)
}

async fn run(options: Options) -> Result<Report> {
    if options.store != StoreKind::Postgres {
        let why = "it has a Postgres store only";
        return Ok(Report::Unsupported(why.to_owned()));
    }
    let wanted = match options.workload.as_str() {
        // A lock keeps a connection while the command uses another.
        "hot-locked" if options.clients <= 16 => 2 * options.clients,
        "hot-locked" => {
            let why = "each client needs two connections, which the pool of 32 does not have";
            return Ok(Report::Unsupported(why.to_owned()));
        }
        _ => options.clients,
    };
    let (url, connections) = (options.url.clone(), postgres::connections(wanted));
    let work = |pool| async move { workloads::run(&options, &pool).await };
    postgres::in_new_database(&url, connections, work).await
}
