//! All that a change has to pass, cheapest first.

use anyhow::Result;

use crate::{
    Length, bench, crash, deny,
    report::Report,
    test,
    workspace::{Workspace, cargo},
};

pub(crate) fn run(report: &mut Report) -> Result<()> {
    report.command("format", &mut cargo("fmt --all --check"))?;
    report.command(
        "clippy",
        &mut cargo("clippy --workspace --all-targets --locked -- --deny warnings"),
    )?;
    report.command(
        "docs",
        cargo("doc --workspace --no-deps --locked").env("RUSTDOCFLAGS", "--deny warnings"),
    )?;
    features(report)?;
    deny::run(report)?;
    test::run(report)?;
    crash::run(report, Length::Short)?;
    bench::run(report, Length::Short)
}

/// Checks each package with each of its features alone, and with none.
fn features(report: &mut Report) -> Result<()> {
    for (package, features) in Workspace::read()?.features() {
        report.step(&format!("features of {package}"), |report| {
            let clippy = format!("clippy --package {package} --no-default-features --locked");
            report.run(&mut cargo(&format!("{clippy} -- --deny warnings")))?;
            for feature in features {
                let words = format!("{clippy} --features {feature} -- --deny warnings");
                report.run(&mut cargo(&words))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
