//! Measures disintegrate: one workload, one line of JSON.

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
mod schema;
mod workloads;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::{Options, StoreKind};
use crate::measure::Report;

const PEER: &str = "disintegrate 4.0.0 / disintegrate-postgres 4.0.1";

fn main() -> ExitCode {
    program::measure(|_| PEER, run)
}

async fn run(options: Options) -> Result<Report> {
    if options.store != StoreKind::Postgres {
        let why = "it has a Postgres store only";
        return Ok(Report::Unsupported(why.to_owned()));
    }
    let (url, connections) = (options.url.clone(), postgres::connections(options.clients));
    let work = |pool| async move { workloads::run(&options, &pool).await };
    postgres::in_new_database(&url, connections, work).await
}
