//! Postgres, and a worker that is killed while it appends.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod idle;

use std::{collections::BTreeSet, process::Command};

use es_core::{EventStore, EventStoreExt, Read, StoreErrorKind, failpoint};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::servers::{PrivatePostgres, ServerError};
use tests::lives::{check, number, start, watch};
use tokio::sync::Mutex;

const WORKER: &str = env!("CARGO_BIN_EXE_worker");
/// Numbers that each life of the worker may append.
const NUMBERS: u64 = 200;

/// A failpoint is there for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A server of the test's own, with these settings; where there can be none, that is said.
fn server(settings: &[(&str, &str)]) -> Option<PrivatePostgres> {
    match PrivatePostgres::start_with(settings) {
        Err(missing @ ServerError::Missing) => {
            tests::not_run(&format!("workers on Postgres: {missing}"));
            None
        }
        started => Some(started.unwrap()),
    }
}

/// How often the worker is killed.
fn kills() -> u64 {
    std::env::var("GESTA_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(24)
}

/// Nor does the view that is kept with each append.
#[tokio::test]
async fn a_killed_worker_loses_nothing_acknowledged_and_doubles_nothing() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(server) = server(&[]) else { return };
    let store = PostgresOptions::new(server.url()).inline(tests::numbers()).open().await.unwrap();
    tests::keep_numbers(&store).await;
    let mut acknowledged = BTreeSet::new();
    let mut at = [0; 3];
    let (mut unknown, mut done) = (0, 0);
    for kill in 0..kills() {
        let (first, last) = (kill * NUMBERS, (kill + 1) * NUMBERS);
        let mut command = Command::new(WORKER);
        command.arg(worker_url(&server)).args([first.to_string(), last.to_string()]).arg("mortal");
        if kill % 6 >= 3 {
            command.arg("together");
        }
        // Scattered, and the same in every run.
        let hits = kill * 7 % 13 + 1;
        let points = ["postgres.before_append", "postgres.after_append"];
        let way = usize::try_from(kill % 3).unwrap();
        let life = match points.get(way) {
            Some(point) => {
                command.env("GESTA_FAILPOINT", format!("{point}:{hits}"));
                watch(start(&mut command), None)
            }
            None => watch(start(&mut command), Some(usize::try_from(hits * 3).unwrap())),
        };
        assert_eq!(life.signal, Some(9), "kill {kill} did not happen");
        at[way] += 1;
        acknowledged.extend(life.acknowledged);

        // What was under way when its client died may still be carried out.
        while server.psql(OTHERS).unwrap().trim() != "0" {}
        let read = Read::all().after(es_core::Position::new(done));
        let events = store.events(read).await.unwrap();
        let found: BTreeSet<_> = events.iter().map(|event| number(event).unwrap()).collect();
        unknown += found.difference(&acknowledged).count();
        acknowledged.extend(found);
        // The retry of what nobody heard of again: there once, whatever happened.
        for number in (first..last).step_by(20) {
            let known = acknowledged.contains(&number);
            let appended = store.append(tests::numbered(number)).await.unwrap();
            assert_eq!(appended.repeated, known, "{number}");
            acknowledged.insert(number);
        }
        done = store.head().await.unwrap().get();
    }
    let events = store.events(Read::all()).await.unwrap();
    check(&events, &acknowledged).unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(events.len(), acknowledged.len());
    tests::assert_shown(&store, &events).await;
    store.close().await;
    println!(
        "{} kills, {} before and {} after an append was answered; {} events, {unknown} in doubt",
        kills(),
        at[0],
        at[1],
        events.len()
    );
    assert!(unknown > 0, "no kill came between commit and ack");
}

/// Whose sessions are told from those of the test.
fn worker_url(server: &PrivatePostgres) -> String {
    let url = server.url();
    let join = if url.contains('?') { '&' } else { '?' };
    format!("{url}{join}application_name=worker")
}

/// Sessions of workers.
const OTHERS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'worker'";

/// A writer that panics takes nobody along: who waits is told, and so is whoever
/// comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_after_a_writer_has_panicked_does_not_wait_for_ever() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let Some(server) = server(&[]) else { return };
    let store = PostgresStore::open(server.url()).await.unwrap();
    failpoint::bind("postgres.before_append", || panic!("a writer that panics"));
    let kind = |outcome: Result<_, es_core::AppendError>| match outcome {
        Err(es_core::AppendError::Store(error)) => error.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(store.append(tests::numbered(1)).await), StoreErrorKind::Unknown);
    failpoint::unbind("postgres.before_append");
    assert_eq!(kind(store.append(tests::numbered(1)).await), StoreErrorKind::Closed);
}
