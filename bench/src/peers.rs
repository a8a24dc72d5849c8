//! Runs the peers' programs, of which each measures one library.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{contest::Turn, measure::Measured, postgres, stores::Kind};

/// The libraries that are measured.
pub(crate) const CQRS_ES: &str = "cqrs-es";
pub(crate) const EVENTCORE: &str = "eventcore";
pub(crate) const ESRS: &str = "esrs";
pub(crate) const DISINTEGRATE: &str = "disintegrate";

/// Those that have a store of this kind.
pub(crate) fn with(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Postgres => &[CQRS_ES, EVENTCORE, ESRS, DISINTEGRATE],
        Kind::Memory | Kind::Full | Kind::Normal => &[CQRS_ES, EVENTCORE],
    }
}

/// Where the peers' programs are.
pub(crate) struct Peers {
    sources: PathBuf,
    target: PathBuf,
}

/// What to ask of a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) workload: &'static str,
    pub(crate) kind: Kind,
    pub(crate) clients: usize,
    /// In the stream that is loaded.
    pub(crate) events: u32,
    pub(crate) seconds: f64,
}

impl Order {
    pub(crate) fn new(workload: &'static str, kind: Kind, seconds: f64) -> Self {
        Self { workload, kind, clients: 1, events: 10_000, seconds }
    }
}

#[derive(Deserialize)]
struct Line {
    unsupported: Option<String>,
    #[serde(default)]
    per_second: f64,
    #[serde(default)]
    p50_us: f64,
    #[serde(default)]
    p99_us: f64,
    #[serde(default)]
    note: String,
}

impl Peers {
    pub(crate) fn new(root: &Path, target: PathBuf) -> Self {
        Self { sources: root.join("bench/peers"), target }
    }

    fn program(&self, peer: &str) -> Result<PathBuf> {
        let program = self.target.join("release").join(format!("peer-{peer}"));
        if !program.exists() {
            self.build(peer)?;
        }
        Ok(program)
    }

    fn build(&self, peer: &str) -> Result<()> {
        let manifest = self.sources.join(peer).join("Cargo.toml");
        let mut cargo = Command::new(env!("CARGO"));
        // A crate may ask rustup for a compiler of its own, which is not there.
        cargo.env("RUSTC", Path::new(env!("CARGO")).with_file_name("rustc"));
        cargo.args(["build", "--release", "--locked", "--manifest-path"]).arg(manifest);
        let status = cargo.env("CARGO_TARGET_DIR", &self.target).status()?;
        ensure!(status.success(), "{peer} cannot be built");
        Ok(())
    }
}

/// Lets a peer do it once, in a process of its own.
pub(crate) fn run(turn: &Turn<'_>, peer: &str, order: Order) -> Result<Measured> {
    let mut program = Command::new(turn.peers.program(peer)?);
    program.arg(order.workload);
    match order.kind {
        Kind::Memory => program.args(["--store", "memory", "--sync", "normal", "--path"]),
        Kind::Full => program.args(["--store", "sqlite", "--sync", "full", "--path"]),
        Kind::Normal => program.args(["--store", "sqlite", "--sync", "normal", "--path"]),
        Kind::Postgres => program.args(["--store", "postgres", "--url", &postgres::url()]),
    };
    if order.kind != Kind::Postgres {
        program.arg(&turn.file);
    }
    let output = program
        .args(["--clients", &order.clients.to_string()])
        .args(["--events", &order.events.to_string()])
        .args(["--seconds", &order.seconds.to_string()])
        .output()
        .with_context(|| format!("starting {peer}"))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let line: Line = serde_json::from_slice(&output.stdout).context("the peer's line")?;
    let Line { unsupported, per_second, p50_us, p99_us, note } = line;
    match unsupported {
        Some(why) => bail!("unsupported: {why}"),
        None => Ok(Measured { per_second, p50_us, p99_us, note }),
    }
}
