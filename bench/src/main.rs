//! Gesta side by side with its peers and the machine's limits: one run, one
//! machine, everything in turn, and a table of ratios.

mod brokers;
mod contest;
mod domain;
mod facts;
mod limits;
mod measure;
mod peers;
mod postgres;
mod stores;
mod table;
mod workloads;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use clap::Parser;
use contest::{Bench, Role, Scored};
use facts::Facts;
use peers::Peers;
use serde_json::json;
use workloads::commands::Cache;

/// Measures Gesta, its peers and the machine's limits in turn, and prints ratios.
#[derive(Parser)]
struct Args {
    /// One repetition with shorter runs.
    #[arg(long)]
    short: bool,
    /// How often each figure is taken; 5, or 1 with --short.
    #[arg(long)]
    repetitions: Option<usize>,
    /// The target folder of the peers' programs, which are built there if missing.
    #[arg(long)]
    peers: Option<PathBuf>,
    /// Only the workloads whose name contains this text.
    #[arg(long)]
    only: Option<String>,
    /// Gesta without peers and limits, for a profiler.
    #[arg(long)]
    alone: bool,
    /// Gesta and the limits, without peers, of which nothing is built then.
    #[arg(long)]
    without_peers: bool,
    /// Prints one JSON object as the last line.
    #[arg(long)]
    json: bool,
    /// As one process of several: deposits into the accounts of this schema.
    #[arg(long, hide = true)]
    deposits: Option<String>,
    #[arg(long, hide = true, default_value_t = 0)]
    first_client: usize,
    #[arg(long, hide = true)]
    cache: bool,
    #[arg(long, hide = true, default_value_t = 2.0)]
    seconds: f64,
}

/// Fails if something could not run; the table names it.
fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(schema) = args.deposits {
        let cache = if args.cache { Cache::On } else { Cache::Off };
        workloads::spread::deposit(schema, args.first_client, cache, args.seconds)?;
        return Ok(ExitCode::SUCCESS);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let target = root.join("target");
    std::fs::create_dir_all(&target)?;
    let data = tempfile::tempdir_in(&target)?;
    let bench = Bench {
        folder: data.path().to_owned(),
        seconds: if args.short { 0.2 } else { 2.0 },
        peers: Peers::new(root, args.peers.unwrap_or_else(|| target.join("peers"))),
    };
    let facts = Facts::gather(root, data.path());
    println!("{facts}");
    let repetitions = args.repetitions.unwrap_or(if args.short { 1 } else { 5 }).max(1);
    let wanted = |name: &str| args.only.as_deref().is_none_or(|text| name.contains(text));
    let scored: Vec<Scored> = workloads::all()
        .into_iter()
        .filter(|workload| wanted(workload.name))
        .map(|workload| match (args.alone, args.without_peers) {
            (true, _) => workload.only(&[Role::Gesta]),
            (false, true) => workload.only(&[Role::Gesta, Role::Limit]),
            (false, false) => workload,
        })
        .map(|workload| bench.run(workload, repetitions))
        .collect();
    table::print(&scored, repetitions);
    if args.json {
        println!("{}", json!({ "facts": facts, "workloads": scored }));
    }
    let all_ran = scored.iter().flat_map(|one| &one.scores).all(|score| score.not_run.is_none());
    Ok(if all_ran { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
