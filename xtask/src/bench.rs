//! Gesta side by side with its peers, which are workspaces of their own.

use std::process::Command;

use anyhow::Result;

use crate::{
    Length,
    report::Report,
    workspace::{Workspace, build_debug, cargo},
};

const PEERS: [&str; 4] = ["cqrs-es", "eventcore", "esrs", "disintegrate"];

/// In short without the peers and unoptimised: it shows that everything of ours runs, and
/// not how fast.
pub(crate) fn run(report: &mut Report, length: Length) -> Result<()> {
    let target = Workspace::read()?.target()?;
    if length == Length::Short {
        report.command("build the bench", &mut build_debug())?;
        let mut bench = Command::new(target.join("debug/bench"));
        return report.command("bench", bench.args(["--short", "--without-peers"]));
    }
    let peers = target.join("peers");
    for peer in PEERS {
        let manifest = format!("--manifest-path bench/peers/{peer}/Cargo.toml");
        let mut build = cargo(&format!("build --release --locked {manifest} --target-dir"));
        report.command(&format!("build the peer {peer}"), build.arg(&peers))?;
    }
    let build = &mut cargo("build --release --locked --package bench");
    report.command("build for release", build)?;
    let mut bench = Command::new(target.join("release/bench"));
    report.command("bench", bench.arg("--peers").arg(&peers))
}
