//! Licences, bans, sources and advisories of everything we depend on.

use std::process::Command;

use anyhow::Result;

use crate::{
    report::Report,
    workspace::{Workspace, answers, cargo},
};

const VERSION: &str = "0.20.2";

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let program = program(report)?;
    let deny = |words: &str| {
        let mut deny = Command::new(&program);
        deny.args(words.split(' '));
        deny
    };
    let check = "--locked check --hide-inclusion-graph";
    report.command("licences", &mut deny(&format!("{check} licenses bans sources")))?;
    if answers(&mut deny("fetch db")) {
        return report.command("advisories", &mut deny(&format!("{check} advisories")));
    }
    report.not_run("advisories (their database cannot be fetched from here)");
    Ok(())
}

/// The cargo-deny that is installed, or else one of our own.
fn program(report: &mut Report) -> Result<std::path::PathBuf> {
    let tools = Workspace::read()?.target()?.join("tools");
    for installed in ["cargo-deny".into(), tools.join("bin/cargo-deny")] {
        if answers(Command::new(&installed).arg("--version")) {
            return Ok(installed);
        }
    }
    // It runs for seconds, and optimised it would be built for minutes.
    let words = format!("install cargo-deny@{VERSION} --debug --locked --root");
    report.command("install cargo-deny", cargo(&words).arg(&tools))?;
    Ok(tools.join("bin/cargo-deny"))
}
