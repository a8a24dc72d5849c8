//! Measures eventcore: one workload, one line of JSON.

#![allow(
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and starts tasks itself"
)]

#[path = "../../common/args.rs"]
mod args;
mod catchup;
mod domain;
#[expect(dead_code, reason = "nothing is given up here")]
#[path = "../../common/measure.rs"]
mod measure;
#[path = "../../common/postgres.rs"]
mod postgres;
#[path = "../../common/program.rs"]
mod program;
mod store;
mod workloads;

use std::process::ExitCode;

use anyhow::Result;
use sqlx::PgPool;

use crate::args::{Options, StoreKind};
use crate::measure::Report;

const SQLITE_PEER: &str = "eventcore 2.1.0 / eventcore-sqlite 2.1.0";
const POSTGRES_PEER: &str = "eventcore 2.1.0 / eventcore-postgres 2.1.0";
const MEMORY_PEER: &str = "eventcore 2.1.0 / eventcore-memory 2.1.0";

fn main() -> ExitCode {
    program::measure(peer, run)
}

fn peer(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Sqlite => SQLITE_PEER,
        StoreKind::Memory => MEMORY_PEER,
        StoreKind::Postgres => POSTGRES_PEER,
    }
}

async fn run(options: Options) -> Result<Report> {
    match options.store {
        StoreKind::Sqlite => {
            let store = store::open_sqlite(&options).await?;
            let setting = format!("synchronous={}", options.durability.name());
            workloads::run(&options, store, &setting).await
        }
        StoreKind::Memory => workloads::run(&options, store::open_memory(), "no file").await,
        StoreKind::Postgres => {
            let (url, connections) = (options.url.clone(), postgres::connections(options.clients));
            let work = |pool| async move { run_on_postgres(&options, &pool).await };
            postgres::in_new_database(&url, connections, work).await
        }
    }
}

async fn run_on_postgres(options: &Options, pool: &PgPool) -> Result<Report> {
    let store = store::open_postgres(pool).await;
    let setting = format!("pool of {}", pool.size());
    match options.workload.as_str() {
        "catchup" => catchup::into_table(options, pool, &setting).await,
        "catchup-durable" => {
            let why = "on Postgres catchup keeps its progress in the database already";
            Ok(Report::Unsupported(why.to_owned()))
        }
        _ => workloads::run(options, store, &setting).await,
    }
}
