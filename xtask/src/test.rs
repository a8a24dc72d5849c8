//! All the tests, on a machine that has only just got its toolchain.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{
    report::{Report, output},
    services::Services,
    workspace::{Workspace, answers, build_debug, cargo},
};

/// The test in which each store says how many promises it was held to.
const COUNTED: &str = "the_contract_is_counted";

/// Where tests say what they could not do, see `es_testkit::not_run`.
pub(crate) const NOT_RUN: &str = "GESTA_NOT_RUN";

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let services = report.step("services", Services::start)?;
    let not_run = not_run(services.missing())?;
    let cargo = |words: &str| services.known_to(cargo(words));
    let words = match answers(&mut cargo("nextest --version")) {
        true => "nextest run --workspace --locked --no-fail-fast",
        false => "test --workspace --all-targets --locked --no-fail-fast",
    };
    report.command("tests", cargo(words).env(NOT_RUN, &not_run))?;
    let features = "test --package es-core --package es-derive --all-features --locked";
    report.command("tests of optional features", &mut cargo(features))?;
    report.command("doc tests", &mut cargo("test --doc --workspace --locked"))?;
    examples(report, &services)?;
    report.step("promises", |report| promises(report, &services))?;
    report.step("what was not run", |report| left_out(report, &not_run))
}

/// The file in which tests say what they could not do, with this in it already.
pub(crate) fn not_run(missing: &str) -> Result<PathBuf> {
    let file = Workspace::read()?.target()?.join("xtask/not-run");
    std::fs::create_dir_all(file.parent().context("target has folders")?)?;
    std::fs::write(&file, missing)?;
    Ok(file)
}

/// Runs each example, with a folder of its own for what it leaves behind.
fn examples(report: &mut Report, services: &Services) -> Result<()> {
    let workspace = Workspace::read()?;
    let target = workspace.target()?;
    let left = target.join("xtask/examples");
    std::fs::create_dir_all(&left)?;
    report.step("examples", |report| {
        report.run(&mut build_debug())?;
        for example in workspace.examples() {
            let example = Command::new(target.join("debug").join(example));
            report.run(services.known_to(example).env("TMPDIR", &left))?;
        }
        Ok(())
    })?;
    Ok(std::fs::remove_dir_all(left)?)
}

/// Says how many promises each store was held to.
fn promises(report: &mut Report, services: &Services) -> Result<()> {
    let words = format!("test --workspace --lib --tests --locked {COUNTED} -- --nocapture");
    let said = output(&mut services.known_to(cargo(&words)))?;
    // A lone test thread prints the name of the test before its first line.
    let counted = said.lines().filter_map(|line| line.find("contract ").map(|at| &line[at..]));
    let mut counted: Vec<_> = counted.map(str::to_owned).collect();
    counted.sort_unstable();
    counted.into_iter().for_each(|line| report.say(line));
    Ok(())
}

/// Names what a test could not do here, and the tests that are ignored. In CI
/// there may be neither.
fn left_out(report: &mut Report, not_run: &Path) -> Result<()> {
    let words = "test --workspace --locked -- --ignored --list --format terse";
    let ignored = output(&mut cargo(words))?;
    let ignored = ignored.lines().filter_map(|line| line.strip_suffix(": test"));
    let said = std::fs::read_to_string(not_run)?;
    let all: BTreeSet<_> = said.lines().chain(ignored).collect();
    all.iter().for_each(|what| report.not_run(*what));
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    ensure!(!ci || all.is_empty(), "in CI everything runs, but this did not: {all:?}");
    Ok(())
}
