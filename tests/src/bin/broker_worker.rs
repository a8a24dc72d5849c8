//! Handles messages, or tells of a log, until it is killed:
//! `broker_worker hear BROKER FILE [ack-first|no-order|no-inbox]`, or
//! `broker_worker relay BROKER STORE [SCHEMA] [hasty]`. The store is a file, or the URL of a
//! Postgres, in which it has that schema.
//!
//! It ends when its standard input does.

use std::{error::Error, path::Path, process::ExitCode, sync::Arc};

use cqrs::Projector;
use es_core::{EventStore, Position, Views};
use es_postgres::PostgresOptions;
use es_sqlite::{SqliteOptions, Synchronous};
use es_testkit::mutants::BrokerBug;
use tests::brokers::{Entry, Hasty, Inbox, bus, ears, redis, relay};

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
    match arguments {
        ["hear", broker, file, flags @ ..] => hear(broker, Path::new(file), flags).await,
        ["relay", broker, store, rest @ ..] if store.starts_with("postgres") => {
            let [schema, flags @ ..] = rest else { return Err("in which schema?".into()) };
            let store = PostgresOptions::new(*store).schema(*schema).open().await?;
            tell(store.clone(), store, broker, flags).await
        }
        ["relay", broker, store, flags @ ..] => {
            let options = SqliteOptions::new(store).synchronous(Synchronous::Normal);
            let store = options.open().await?;
            tell(store.clone(), store, broker, flags).await
        }
        _ => Err("hear BROKER FILE, or relay BROKER STORE [SCHEMA]".into()),
    }
}

async fn hear(broker: &str, file: &Path, flags: &[&str]) -> Done {
    let has = |flag: &str| flags.contains(&flag);
    let bug = match () {
        () if has("ack-first") => Some(BrokerBug::AckBeforeHandling),
        () if has("no-order") => Some(BrokerBug::OrderIgnored),
        () => None,
    };
    let entry = if has("no-inbox") { Entry::Ignored } else { Entry::Asked };
    let inbox = Arc::new(Inbox::open(file, entry)?);
    let running = bus(broker, bug).await?.subscribe(ears(&inbox)).await?;
    input().await?;
    match running.drain().await.is_clean() {
        true => Ok(()),
        false => Err("it was not drained in time".into()),
    }
}

async fn tell<V: Views>(store: impl EventStore, views: V, broker: &str, flags: &[&str]) -> Done {
    let publisher = redis(broker).await?;
    if flags.contains(&"hasty") {
        return work(&relay(store, views, Hasty::new(publisher))).await;
    }
    work(&relay(store, views, publisher)).await
}

async fn work<V: Views>(projector: &Projector<V>) -> Done {
    let projecting = projector.start_worker();
    tokio::select! {
        end = input() => {
            end?;
            projecting.stop().await.map_err(|error| error.to_string())?;
            Ok(())
        }
        _ = projecting.wait_for(Position::new(u64::MAX)) => {
            eprintln!("failed: a relay: {:?}", projecting.failure());
            // A thread still waits for input.
            std::process::exit(1);
        }
    }
}

/// Until nobody holds the other end of it.
async fn input() -> Done {
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}
