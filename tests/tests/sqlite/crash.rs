//! A worker that appends and acknowledges, killed again and again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
};

use es_core::{EventStore, EventStoreExt, Read, RecordedEvent, Version};
use es_sqlite::SqliteStore;
use serde::Deserialize;

use crate::Folder;

const WORKER: &str = env!("CARGO_BIN_EXE_worker");
/// How often the worker is killed.
const KILLS: u64 = 40;
/// Numbers that each life of the worker may append.
const NUMBERS: u64 = 400;

#[derive(Deserialize)]
struct Payload {
    number: u64,
}

/// What one life of the worker has acknowledged, and how it ended.
struct Life {
    acknowledged: Vec<u64>,
    signal: Option<i32>,
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Reads acks, kills after so many of them, and reads those that came meanwhile.
fn watch(mut child: Child, kill_after: Option<usize>) -> Life {
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let number = line.strip_prefix("ack ").unwrap_or_else(|| panic!("{line}"));
        acknowledged.push(number.parse().unwrap());
        if kill_after == Some(acknowledged.len()) {
            child.kill().unwrap();
        }
    }
    let signal = child.wait().unwrap().signal();
    Life { acknowledged, signal }
}

/// What must be true of the log after any number of lives.
fn check(events: &[RecordedEvent], acknowledged: &BTreeSet<u64>) -> Result<(), String> {
    let mut found = BTreeSet::new();
    let mut versions: BTreeMap<_, Version> = BTreeMap::new();
    if !events.is_sorted_by(|one, next| one.position < next.position) {
        return Err("the positions are out of order".into());
    }
    for event in events {
        let payload: Payload = serde_json::from_slice(&event.payload).map_err(|e| e.to_string())?;
        if !found.insert(payload.number) {
            return Err(format!("{} is there twice", payload.number));
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

async fn reopened(folder: &Folder) -> (SqliteStore, Vec<RecordedEvent>) {
    let store = folder.open().await;
    let events = store.events(Read::all()).await.unwrap();
    (store, events)
}

#[tokio::test]
async fn a_killed_worker_loses_nothing_acknowledged_and_doubles_nothing() {
    let folder = Folder::new();
    let mut acknowledged = BTreeSet::new();
    let (mut at_points, mut unknown) = (0, 0);
    for kill in 0..KILLS {
        let (first, last) = (kill * NUMBERS, (kill + 1) * NUMBERS);
        let mut command = Command::new(WORKER);
        command.arg(folder.path()).args([first.to_string(), last.to_string()]);
        if kill % 8 >= 4 {
            command.arg("together");
        }
        // Scattered, and the same in every run.
        let hits = kill * 7 % 13 + 1;
        let after = match kill % 4 {
            0 => Some(&"sqlite.before_commit"),
            1 => Some(&"sqlite.after_commit"),
            _ => None,
        };
        let life = match after {
            Some(point) => {
                command.env("GESTA_FAILPOINT", format!("{point}:{hits}"));
                watch(start(&mut command), None)
            }
            None => watch(start(&mut command), Some(usize::try_from(hits * 3).unwrap())),
        };
        assert_eq!(life.signal, Some(9), "kill {kill} did not happen");
        at_points += u64::from(after.is_some());
        acknowledged.extend(life.acknowledged);

        let (store, events) = reopened(&folder).await;
        check(&events, &acknowledged)
            .unwrap_or_else(|broken| panic!("after kill {kill}: {broken}"));
        unknown += events.len() - acknowledged.len();
        // The retry of what nobody heard of again: there once, whatever happened.
        let unheard = (first..last).filter(|number| !acknowledged.contains(number));
        for number in unheard.take(10).collect::<Vec<_>>() {
            store.append(tests::numbered(number)).await.unwrap();
            acknowledged.insert(number);
        }
        acknowledged.extend(
            events
                .iter()
                .map(|event| serde_json::from_slice::<Payload>(&event.payload).unwrap().number),
        );
        store.close().await;
    }
    let (_, events) = reopened(&folder).await;
    check(&events, &acknowledged).unwrap();
    println!(
        "{KILLS} kills, {at_points} of them at failpoints; {} events, {unknown} in doubt",
        events.len()
    );
    assert!(unknown > 0, "no kill came between commit and ack");
}

/// The control: a log with the faults put in.
#[tokio::test]
async fn the_check_notices_what_is_lost_doubled_or_torn() {
    let folder = Folder::new();
    let store = folder.open().await;
    for number in 0..12 {
        store.append(tests::numbered(number)).await.unwrap();
    }
    store.close().await;
    let acknowledged: BTreeSet<_> = (0..12).collect();
    let (store, sound) = reopened(&folder).await;
    store.close().await;
    assert_eq!(check(&sound, &acknowledged), Ok(()));
    for (damage, told) in [
        ("DELETE FROM events WHERE position = 12", "11 was acknowledged and is lost"),
        ("DELETE FROM events WHERE position = 2", "at version 2 after 0"),
        (
            "UPDATE events SET payload = CAST('{\"number\":3}' AS BLOB) WHERE position = 5",
            "3 is there twice",
        ),
    ] {
        let broken = Folder::new();
        std::fs::copy(folder.path(), broken.path()).unwrap();
        broken.raw().execute_batch(damage).unwrap();
        let (_, events) = reopened(&broken).await;
        let found = check(&events, &acknowledged).unwrap_err();
        assert!(found.contains(told), "{found}");
    }
}

/// The acks that were written before the log was synced, and all acks; `None`
/// without strace.
fn early_acks(flag: &str) -> Option<(usize, usize)> {
    let folder = Folder::new();
    let trace = folder.path().with_file_name("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=write,pwrite64,fdatasync,fsync", "-o"]);
    command.arg(&trace).arg(WORKER).arg(folder.path()).args(["0", "50", flag]);
    let Ok(child) = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else {
        tests::not_run("fsync before ack: there is no strace here");
        return None;
    };
    let life = watch(child, None);
    let trace = std::fs::read_to_string(trace).unwrap_or_default();
    if life.acknowledged.len() != 50 || trace.is_empty() {
        tests::not_run("fsync before ack: strace may not trace here");
        return None;
    }
    let (mut written, mut synced, mut early, mut acks) = (false, false, 0, 0);
    for line in trace.lines() {
        if line.contains("pwrite64(") && line.contains("log.db-wal") {
            (written, synced) = (true, false);
        } else if line.contains("sync(") && line.contains("log.db-wal") && line.ends_with("= 0")
            || line.contains("sync resumed>") && line.ends_with("= 0")
        {
            synced = written;
        } else if line.contains("write(1<") && line.contains("\"ack ") {
            acks += 1;
            early += usize::from(!synced);
            (written, synced) = (false, false);
        }
    }
    Some((early, acks))
}

#[test]
fn nothing_is_acknowledged_before_the_log_was_synced() {
    let Some(found) = early_acks("full") else { return };
    assert_eq!(found, (0, 50));
}

/// The control: without the sync the oracle has something to tell.
#[test]
fn the_oracle_notices_acks_without_a_sync() {
    let Some((early, acks)) = early_acks("normal") else { return };
    assert!(early > 40, "{early} of {acks}");
}
