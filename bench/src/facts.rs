//! The machine and the versions, without which no figure means anything.

use std::{fmt, fs, path::Path, process::Command};

use serde::Serialize;

use crate::{brokers, limits::payload_bytes, postgres, stores::Kind};

#[derive(Serialize)]
pub(crate) struct Facts {
    facts: Vec<(&'static str, String)>,
}

impl Facts {
    pub(crate) fn gather(root: &Path, data: &Path) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let facts = vec![
            ("cores", cores.to_string()),
            ("processor", line_of("/proc/cpuinfo", "model name")),
            ("memory", line_of("/proc/meminfo", "MemTotal")),
            ("kernel", read("/proc/sys/kernel/osrelease")),
            ("load", read("/proc/loadavg")),
            ("file system", file_system(data)),
            ("compiler", output("rustc", &["--version"])),
            ("SQLite", rusqlite::version().to_owned()),
            ("crates", versions(root)),
            (
                "peers",
                "cqrs-es, sqlite-es, postgres-es 0.5.0; eventcore, eventcore-sqlite, \
                 eventcore-postgres 2.1.0; esrs 0.18.0; disintegrate 4.0.0, \
                 disintegrate-postgres 4.0.1"
                    .into(),
            ),
            ("synchronous", synchronous()),
            ("PostgreSQL", postgres::facts().unwrap_or_else(|error| format!("none: {error}"))),
            ("Redis", brokers::redis_facts().unwrap_or_else(|error| format!("none: {error}"))),
            ("NATS", brokers::nats_facts().unwrap_or_else(|error| format!("none: {error}"))),
            ("payload", format!("{} bytes", payload_bytes())),
        ];
        Self { facts }
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}

fn line_of(file: &str, key: &str) -> String {
    let text = read(file);
    let line =
        text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_once(':'));
    line.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(|_| String::new(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}

/// The type of the file system that holds `folder`: the longest mount point.
fn file_system(folder: &Path) -> String {
    let mounts = read("/proc/mounts");
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let holding = fields.filter(|mount| mount.len() > 3 && folder.starts_with(mount[1]));
    let mount = holding.max_by_key(|mount| mount[1].len());
    mount.map_or_else(String::new, |mount| format!("{} ({}, {})", mount[2], mount[0], mount[3]))
}

fn versions(root: &Path) -> String {
    const NAMED: [&str; 6] =
        ["gesta", "tokio", "rusqlite", "libsqlite3-sys", "serde_json", "dashmap"];
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    let version = |name: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        rest.split_once('"').map(|(version, _)| format!("{name} {version}"))
    };
    NAMED.into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}

/// Each store checks it when it is opened, and is not run if it differs.
fn synchronous() -> String {
    format!(
        "FULL = {}, NORMAL = {}, read back by pragma from each writer, Gesta's, raw and peers'",
        Kind::Full.pragma(),
        Kind::Normal.pragma()
    )
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.iter().try_for_each(|(name, fact)| writeln!(f, "- {name}: {fact}"))
    }
}
