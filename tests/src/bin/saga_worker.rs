//! Goes on with orders until it is killed: `saga_worker STORE work [key-of-the-try]`, or
//! begins them: `saga_worker STORE begin FIRST LAST`, and says `ack N` for each. The store is
//! a file, or the URL of a Postgres.

use std::{error::Error, io::Write, process::ExitCode};

use es_core::{EventStore, Timers};
use es_postgres::PostgresStore;
use es_sqlite::{SqliteOptions, Synchronous};
use tests::sagas::{Bug, Order, id_of, sagas};

type Done = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {arguments:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &[&str]) -> Done {
    let [store, what @ ..] = arguments else {
        return Err("saga_worker STORE work|begin ..".into());
    };
    if store.starts_with("postgres:") {
        act(&PostgresStore::open(*store).await?, what).await
    } else {
        let options = SqliteOptions::new(store).synchronous(Synchronous::Normal);
        act(&options.open().await?, what).await
    }
}

async fn act<S: EventStore + Timers + Clone>(store: &S, what: &[&str]) -> Done {
    match what {
        ["work", flags @ ..] => {
            let bug = if flags.contains(&"key-of-the-try") { Bug::KeyOfTheTry } else { Bug::None };
            let running = sagas(store, bug)?.start().await?;
            // Until nobody holds the other end of its input.
            tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()))
                .await??;
            running.stop().await;
            Ok(())
        }
        ["begin", first, last] => {
            let sagas = sagas(store, Bug::None)?;
            for number in first.parse()?..last.parse()? {
                sagas.begin(&id_of(number), &Order::new(number)).await?;
                println!("ack {number}");
                std::io::stdout().flush()?;
            }
            Ok(())
        }
        _ => Err("work [key-of-the-try], or begin FIRST LAST".into()),
    }
}
