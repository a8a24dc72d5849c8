//! Lives of the worker, and what must be true after any number of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
};

use es_core::{RecordedEvent, Version};
use serde::Deserialize;

/// What one life of the worker has acknowledged, and how it ended.
#[derive(Debug)]
pub struct Life {
    /// The numbers, in their order.
    pub acknowledged: Vec<u64>,
    /// What it was killed with.
    pub signal: Option<i32>,
}

/// Begins a life.
pub fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).spawn().expect("a worker")
}

/// Reads acks, kills after so many of them, and reads those that came meanwhile.
pub fn watch(mut child: Child, kill_after: Option<usize>) -> Life {
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().expect("its output")).lines() {
        let line = line.expect("a line");
        let number = line.strip_prefix("ack ").unwrap_or_else(|| panic!("{line}"));
        acknowledged.push(number.parse().expect("a number"));
        if kill_after == Some(acknowledged.len()) {
            child.kill().expect("a worker that can be killed");
        }
    }
    let signal = child.wait().expect("its end").signal();
    Life { acknowledged, signal }
}

/// What must be true of the log after any number of lives.
pub fn check(events: &[RecordedEvent], acknowledged: &BTreeSet<u64>) -> Result<(), String> {
    let mut found = BTreeSet::new();
    let mut versions: BTreeMap<_, Version> = BTreeMap::new();
    if !events.is_sorted_by(|one, next| one.position < next.position) {
        return Err("the positions are out of order".into());
    }
    for event in events {
        let number = number(event)?;
        if !found.insert(number) {
            return Err(format!("{number} is there twice"));
        }
        let version = versions.entry(event.stream.clone()).or_default();
        if event.version != version.plus(1) {
            return Err(format!(
                "{} is at version {} after {version}",
                event.stream, event.version
            ));
        }
        *version = event.version;
    }
    match acknowledged.difference(&found).next() {
        Some(lost) => Err(format!("{lost} was acknowledged and is lost")),
        None => Ok(()),
    }
}

/// The number of an event of the worker.
pub fn number(event: &RecordedEvent) -> Result<u64, String> {
    #[derive(Deserialize)]
    struct Payload {
        number: u64,
    }
    let payload: Payload = serde_json::from_slice(&event.payload).map_err(|e| e.to_string())?;
    Ok(payload.number)
}
