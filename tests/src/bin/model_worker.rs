//! Keeps read models until it is killed, or does one thing to them:
//! `model_worker STORE FOLDER work|rebuild|divide|retry [MODEL] [PARTS] [FLAGS]`. The
//! store is a file, or the URL of a Postgres; the folder is where effects are noted.
//!
//! A worker ends when its standard input does. `GESTA_STOP=name:hits` lets it stand still,
//! as `kill -STOP` would, when that failpoint is reached for the given time.

use std::{
    error::Error,
    path::Path,
    process::{Command, ExitCode},
    sync::atomic::{AtomicU64, Ordering},
};

use cqrs::{ProjectionError, Projector};
use es_core::{EventStore, Position, StoreErrorKind, Views};
use es_postgres::PostgresStore;
use es_sqlite::{SqliteOptions, Synchronous};
use tests::models::{
    Fault, Journal, MODELS, Mailer, Watched, break_models, mailbox, projector, retry_all,
};

type Done = Result<(), Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    if let Some((name, hits)) = std::env::var("GESTA_STOP").ok().as_deref().and_then(named) {
        stop_at(name, hits);
    }
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed: {arguments:?}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn named(setting: &str) -> Option<(&str, u64)> {
    let (name, hits) = setting.split_once(':')?;
    Some((name, hits.parse().ok()?))
}

fn stop_at(name: &str, hits: u64) {
    let left = AtomicU64::new(hits);
    es_core::failpoint::bind(name, move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let pid = std::process::id().to_string();
            let _ = Command::new("kill").args(["-STOP", &pid]).status();
        }
    });
}

async fn run(arguments: &[&str]) -> Done {
    let [store, folder, what @ ..] = arguments else {
        return Err("model_worker STORE FOLDER work|rebuild|divide|retry ..".into());
    };
    if store.starts_with("postgres:") {
        let store = PostgresStore::open(*store).await?;
        keep(store.clone(), store, folder, what).await
    } else {
        let options = SqliteOptions::new(store).synchronous(Synchronous::Normal);
        let store = options.open().await?;
        keep(store.clone(), store, folder, what).await
    }
}

async fn keep<V: Views<Tx: Journal>>(
    store: impl EventStore + Clone,
    views: V,
    folder: &str,
    what: &[&str],
) -> Done {
    let has = |flag: &str| what.contains(&flag);
    if has("broken") {
        break_models();
    }
    let fault = match () {
        () if has("any-epoch") => Fault::AnyEpoch,
        () if has("checkpoint-first") => Fault::CheckpointFirst,
        () => Fault::Sound,
    };
    let mailer = Mailer::open(&mailbox(Path::new(folder)))?;
    let mailer = if has("late") { mailer.late() } else { mailer };
    let views = Watched::new(views, fault);
    let with = |models: &[&str]| projector(store.clone(), views.clone(), mailer.clone(), models);
    match what {
        ["work", ..] => work(&with(&MODELS)).await,
        ["rebuild", model] => expected(with(&[model]).rebuild().await),
        ["divide", model, parts] => expected(with(&[model]).divide(model, parts.parse()?).await),
        ["retry"] => expected(retry_all(&with(&MODELS)).await),
        _ => Err("work, rebuild MODEL, divide MODEL PARTS, or retry".into()),
    }
}

/// Until nobody holds the other end of its input, or it fails.
async fn work<V: Views>(projector: &Projector<V>) -> Done {
    let projecting = projector.start_worker();
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    tokio::select! {
        end = end => {
            end??;
            projecting.stop().await.map_err(|error| error.to_string())?;
            Ok(())
        }
        _ = projecting.wait_for(Position::new(u64::MAX)) => {
            let failure = projecting.failure().map(|failure| failure.to_string());
            eprintln!("failed: a worker: {failure:?}");
            // A thread still waits for input.
            std::process::exit(1);
        }
    }
}

/// What may happen to whoever is not alone is no failure.
fn expected<T>(outcome: Result<T, ProjectionError>) -> Done {
    match outcome {
        Ok(_) => Ok(()),
        Err(ProjectionError::Refused { .. }) => Ok(()),
        Err(ProjectionError::Store(error))
            if matches!(error.kind(), StoreErrorKind::Fenced | StoreErrorKind::Busy) =>
        {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
