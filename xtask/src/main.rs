//! The chores of the repository, with nothing to install but a Rust toolchain
//! and a C compiler.

mod bench;
mod ci;
mod crash;
mod deny;
mod postgres_versions;
mod rebuild;
mod report;
mod services;
mod test;
mod workspace;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use report::Report;

const USAGE: &str = "\
usage: cargo xtask CHORE

  test             every test, the doc tests and the examples
  ci               all that a change has to pass
  crash [--short]  kill -9 during the import and the rebuild of the flights
  bench [--short]  Gesta side by side with its peers; in short without them and not
                   optimised, to see that it runs
  postgres-versions FOLDER...
                   the tests of Postgres against a server of the programs in each folder";

/// How much of a long suite to run.
#[derive(Clone, Copy, PartialEq)]
enum Length {
    Short,
    Full,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut report = Report::new();
    let outcome = run(&words, &mut report);
    report.close(&words.join(" "), outcome)
}

fn run(words: &[&str], report: &mut Report) -> Result<()> {
    std::env::set_current_dir(workspace::ROOT).context("the repository is gone")?;
    match words {
        ["test"] => test::run(report),
        ["ci"] => ci::run(report),
        ["crash"] => crash::run(report, Length::Full),
        ["crash", "--short"] => crash::run(report, Length::Short),
        ["bench"] => bench::run(report, Length::Full),
        ["bench", "--short"] => bench::run(report, Length::Short),
        ["postgres-versions", folders @ ..] => postgres_versions::run(report, folders),
        _ => bail!("{USAGE}"),
    }
}
