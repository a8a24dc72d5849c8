//! What cargo knows about the repository.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::report::output;

pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The packages of the workspace.
pub(crate) struct Workspace {
    metadata: Value,
}

impl Workspace {
    pub(crate) fn read() -> Result<Self> {
        let said = output(&mut cargo("metadata --no-deps --format-version 1 --locked"))?;
        Ok(Self { metadata: serde_json::from_str(&said)? })
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> Result<PathBuf> {
        let target = self.metadata["target_directory"].as_str();
        Ok(target.context("no target folder in cargo's metadata")?.into())
    }

    /// Every package that has features, with them.
    pub(crate) fn features(&self) -> Vec<(&str, Vec<&str>)> {
        let named = self.packages().map(|package| (name(package), features(package)));
        named.filter(|(_, features)| !features.is_empty()).collect()
    }

    /// Each program of the ladder, and each crate's own examples, in the folder
    /// that a profile builds into.
    pub(crate) fn examples(&self) -> Vec<String> {
        let mut examples: Vec<_> = self.packages().flat_map(examples).collect();
        examples.sort_unstable();
        examples
    }

    fn packages(&self) -> impl Iterator<Item = &Value> {
        self.metadata["packages"].as_array().into_iter().flatten()
    }
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

fn features(package: &Value) -> Vec<&str> {
    package["features"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
}

fn examples(package: &Value) -> impl Iterator<Item = String> {
    let is_ladder = name(package) == "examples";
    let targets = package["targets"].as_array().into_iter().flatten();
    targets.filter_map(move |target| match target["kind"][0].as_str()? {
        "bin" if is_ladder => Some(name(target).to_owned()),
        "example" => Some(format!("examples/{}", name(target))),
        _ => None,
    })
}

/// Cargo with these words, none of which holds a space.
pub(crate) fn cargo(words: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(words.split_whitespace());
    cargo
}

/// Builds all programs and examples. At once: each alone would have its
/// dependencies built anew, with the features that it asks for.
pub(crate) fn build_debug() -> Command {
    cargo("build --workspace --bins --examples --locked")
}

/// Whether a program is there and answers.
pub(crate) fn answers(program: &mut Command) -> bool {
    program.output().is_ok_and(|output| output.status.success())
}
