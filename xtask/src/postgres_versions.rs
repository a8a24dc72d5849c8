//! The suite of the Postgres adapter against each server whose programs the caller names.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use crate::{
    report::{Report, output},
    services::{POSTGRES_PROGRAMS, Services},
    test::{self, NOT_RUN},
    workspace::{answers, build_debug, cargo},
};

/// Where the tests are: what they have of the adapter alone, and with all above it.
const SUITES: [&str; 2] = ["--package es-postgres", "--package tests --test postgres"];

pub(crate) fn run(report: &mut Report, folders: &[&str]) -> Result<()> {
    ensure!(!folders.is_empty(), "name the folders that hold `postgres` and `initdb`");
    report.command("build", &mut build_debug())?;
    let not_run = test::not_run("")?;
    for folder in folders {
        let version = output(Command::new(Path::new(folder).join("postgres")).arg("--version"))?;
        report.step(version.trim(), |report| {
            report.say(version.trim().to_owned());
            suites(report, folder, &not_run)
        })?;
    }
    std::fs::read_to_string(not_run)?.lines().for_each(|what| report.not_run(what));
    Ok(())
}

/// On a server of these programs, as are those that a test starts for itself.
fn suites(report: &mut Report, folder: &str, not_run: &Path) -> Result<()> {
    let services = Services::postgres_in(folder)?;
    let runner = match answers(&mut cargo("nextest --version")) {
        true => "nextest run --locked --no-fail-fast",
        false => "test --locked --no-fail-fast",
    };
    for suite in SUITES {
        let cargo = cargo(&format!("{runner} {suite}"));
        let mut tests = services.known_to(cargo);
        report.run(tests.env(POSTGRES_PROGRAMS, folder).env(NOT_RUN, not_run))?;
    }
    Ok(())
}
