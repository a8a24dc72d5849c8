//! Gesta side by side with its peers, which are workspaces of their own.

use std::process::Command;

use anyhow::Result;

use crate::{
    Length,
    report::Report,
    workspace::{Workspace, build_debug, cargo},
};

const PEERS: [&str; 4] = ["cqrs-es", "eventcore", "esrs", "disintegrate"];

/// In short unoptimised: it shows that everything runs, and not how fast.
pub(crate) fn run(report: &mut Report, length: Length) -> Result<()> {
    let target = Workspace::read()?.target()?;
    let peers = target.join("peers");
    let (folder, optimised) = match length {
        Length::Short => ("debug", ""),
        Length::Full => ("release", "--release"),
    };
    for peer in PEERS {
        let words = format!("{optimised} --locked --manifest-path bench/peers/{peer}/Cargo.toml");
        let mut build = cargo(&format!("build {words} --target-dir"));
        report.command(&format!("build the peer {peer}"), build.arg(&peers))?;
    }
    let build = match length {
        Length::Short => &mut build_debug(),
        Length::Full => &mut cargo("build --release --locked --package bench"),
    };
    report.command("build the bench", build)?;
    let mut bench = Command::new(target.join(folder).join("bench"));
    bench.arg("--peers").arg(&peers);
    if length == Length::Short {
        bench.arg("--short");
    }
    report.command("bench", &mut bench)
}
