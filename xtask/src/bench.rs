//! Gesta side by side with its peers, which are workspaces of their own.

use std::process::Command;

use anyhow::Result;

use crate::{
    Length,
    report::Report,
    workspace::{Workspace, build_release, cargo},
};

const PEERS: [&str; 4] = ["cqrs-es", "eventcore", "esrs", "disintegrate"];

pub(crate) fn run(report: &mut Report, length: Length) -> Result<()> {
    let target = Workspace::read()?.target()?;
    let peers = target.join("peers");
    for peer in PEERS {
        let words = format!("--release --locked --manifest-path bench/peers/{peer}/Cargo.toml");
        let mut build = cargo(&format!("build {words} --target-dir"));
        report.command(&format!("build the peer {peer}"), build.arg(&peers))?;
    }
    report.command("build for release", &mut build_release())?;
    let mut bench = Command::new(target.join("release/bench"));
    bench.arg("--peers").arg(&peers);
    if length == Length::Short {
        bench.arg("--short");
    }
    report.command("bench", &mut bench)
}
