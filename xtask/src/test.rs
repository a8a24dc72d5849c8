//! All the tests, on a machine that has only just got its toolchain.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{
    report::{Report, output},
    workspace::{Workspace, answers, cargo},
};

/// The test in which each store says how many promises it was held to.
const COUNTED: &str = "the_contract_is_counted";

pub(crate) fn run(report: &mut Report) -> Result<()> {
    if answers(&mut cargo("nextest --version")) {
        report.command("tests", &mut cargo("nextest run --workspace --locked"))?;
    } else {
        report.command("tests", &mut cargo("test --workspace --all-targets --locked"))?;
    }
    report.command("doc tests", &mut cargo("test --doc --workspace --locked"))?;
    examples(report)?;
    report.step("promises", promises)?;
    report.step("ignored tests", ignored)
}

/// Runs each example, with a folder of its own for what it leaves behind.
fn examples(report: &mut Report) -> Result<()> {
    let workspace = Workspace::read()?;
    let target = workspace.target()?;
    let left = target.join("xtask/examples");
    std::fs::create_dir_all(&left)?;
    report.step("examples", |report| {
        // All at once: each alone would have its dependencies built anew, with
        // the features that it asks for.
        report.run(&mut cargo("build --workspace --bins --examples --locked"))?;
        for example in workspace.examples() {
            report.run(Command::new(target.join("debug").join(example)).env("TMPDIR", &left))?;
        }
        Ok(())
    })?;
    Ok(std::fs::remove_dir_all(left)?)
}

/// Says how many promises each store was held to.
fn promises(report: &mut Report) -> Result<()> {
    let words = format!("test --workspace --lib --tests --locked {COUNTED} -- --nocapture");
    let said = output(&mut cargo(&words))?;
    // A lone test thread prints the name of the test before its first line.
    let counted = said.lines().filter_map(|line| line.find("contract ").map(|at| &line[at..]));
    let mut counted: Vec<_> = counted.map(str::to_owned).collect();
    counted.sort_unstable();
    counted.into_iter().for_each(|line| report.say(line));
    Ok(())
}

/// Names the tests that are there but ignored, of which CI takes none.
fn ignored(report: &mut Report) -> Result<()> {
    let words = "test --workspace --locked -- --ignored --list --format terse";
    let said = output(&mut cargo(words))?;
    let tests: Vec<_> = said.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    tests.iter().for_each(|test| report.not_run(*test));
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    ensure!(!ci || tests.is_empty(), "in CI every test runs, but {} are ignored", tests.len());
    Ok(())
}
