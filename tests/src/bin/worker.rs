//! Appends one event after another and prints `ack N` after each, until it is
//! killed: `worker STORE FIRST LAST [normal] [together] [mortal]`. The store is a file,
//! or the URL of a Postgres. A mortal worker that has appended all waits for its end.

use std::{error::Error, io::Write, ops::Range, process::ExitCode};

use es_core::EventStore;
use es_postgres::PostgresOptions;
use es_sqlite::{SqliteOptions, Synchronous};

type Done = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[String]) -> Done {
    let [store, first, last, flags @ ..] = arguments else {
        return Err("worker STORE FIRST LAST [normal] [together] [mortal]".into());
    };
    let has = |flag: &str| flags.iter().any(|one| one == flag);
    let level = if has("normal") { Synchronous::Normal } else { Synchronous::Full };
    let numbers = first.parse()?..last.parse()?;
    let lanes = if has("together") { 8 } else { 1 };
    if store.starts_with("postgres:") {
        let store = PostgresOptions::new(store).inline(tests::numbers()).open().await?;
        append(store.clone(), numbers, lanes).await?;
        outlived(has("mortal")).await;
        store.close().await;
    } else {
        let store =
            SqliteOptions::new(store).synchronous(level).inline(tests::numbers()).open().await?;
        append(store.clone(), numbers, lanes).await?;
        outlived(has("mortal")).await;
        store.close().await;
    }
    Ok(())
}

/// Whoever is to kill it may be late.
async fn outlived(is_mortal: bool) {
    if is_mortal {
        std::future::pending().await
    }
}

async fn append(store: impl EventStore + Clone, numbers: Range<u64>, lanes: u64) -> Done {
    let mut tasks = Vec::new();
    for lane in 0..lanes {
        tasks.push(every(store.clone(), numbers.start + lane, numbers.end, lanes));
    }
    for task in tasks {
        task.await??;
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a program may start tasks as it likes")]
fn every(
    store: impl EventStore,
    first: u64,
    last: u64,
    step: u64,
) -> tokio::task::JoinHandle<Done> {
    tokio::spawn(async move {
        let mut number = first;
        while number < last {
            store.append(tests::numbered(number)).await?;
            // One write, so that an ack is there wholly or not at all.
            std::io::stdout().write_all(format!("ack {number}\n").as_bytes())?;
            std::io::stdout().flush()?;
            number += step;
        }
        Ok(())
    })
}
