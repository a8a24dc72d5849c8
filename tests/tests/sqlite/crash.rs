//! A worker that appends and acknowledges, killed again and again.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use es_core::{EventStore, EventStoreExt, Read, RecordedEvent};
use es_sqlite::{SqliteOptions, SqliteStore};
use tests::lives::{check, number, start, watch};

use crate::Folder;

const WORKER: &str = env!("CARGO_BIN_EXE_worker");
/// How often the worker is killed.
const KILLS: u64 = 40;
/// Numbers that each life of the worker may append.
const NUMBERS: u64 = 400;

async fn reopened(folder: &Folder) -> (SqliteStore, Vec<RecordedEvent>) {
    let store = SqliteOptions::new(folder.path()).inline(tests::numbers()).open().await.unwrap();
    let events = store.events(Read::all()).await.unwrap();
    (store, events)
}

/// Nor does the view that is kept with each append.
#[tokio::test]
async fn a_killed_worker_loses_nothing_acknowledged_and_doubles_nothing() {
    let folder = Folder::new();
    let (store, _) = reopened(&folder).await;
    tests::keep_numbers(&store).await;
    store.close().await;
    let mut acknowledged = BTreeSet::new();
    let (mut at_points, mut unknown) = (0, 0);
    for kill in 0..KILLS {
        let (first, last) = (kill * NUMBERS, (kill + 1) * NUMBERS);
        let mut command = Command::new(WORKER);
        command.arg(folder.path()).args([first.to_string(), last.to_string()]).arg("mortal");
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
        tests::assert_shown(&store, &events).await;
        unknown += events.len() - acknowledged.len();
        // The retry of what nobody heard of again: there once, whatever happened.
        let unheard = (first..last).filter(|number| !acknowledged.contains(number));
        for number in unheard.take(10).collect::<Vec<_>>() {
            store.append(tests::numbered(number)).await.unwrap();
            acknowledged.insert(number);
        }
        acknowledged.extend(events.iter().map(|event| number(event).unwrap()));
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
