//! Gesta side by side with its peers, which are workspaces of their own.

use anyhow::Result;

use crate::{
    Length,
    report::Report,
    workspace::{Workspace, cargo},
};

const PEERS: [&str; 2] = ["cqrs-es", "eventcore"];

pub(crate) fn run(report: &mut Report, length: Length) -> Result<()> {
    let target = Workspace::read()?.target()?.join("peers");
    for peer in PEERS {
        let words = format!("--release --locked --manifest-path bench/peers/{peer}/Cargo.toml");
        let mut build = cargo(&format!("build {words} --target-dir"));
        report.command(&format!("build the peer {peer}"), build.arg(&target))?;
    }
    report.command("build the bench", &mut cargo("build --release --locked --package bench"))?;
    let mut bench = cargo("run --release --locked --package bench -- --peers");
    bench.arg(&target);
    if length == Length::Short {
        bench.arg("--short");
    }
    report.command("bench", &mut bench)
}
