//! A Postgres database of its own for one run, and the read model in it.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use sqlx::{Connection, Executor, PgConnection, PgPool};

use crate::args::Options;
use crate::domain::amount;
use crate::measure::{ACCOUNTS, CATCHUP_ROUNDS, Figures, Report, nanos};

/// Connections for so many that want one at a time.
pub fn connections(wanted: usize) -> u32 {
    if wanted <= 16 { 16 } else { 32 }
}

/// Gives work a pool to a new database, which is dropped whatever comes of it.
pub async fn in_new_database<W, F>(url: &str, connections: u32, work: W) -> Result<Report>
where
    W: FnOnce(PgPool) -> F + Send + 'static,
    F: Future<Output = Result<Report>> + Send,
{
    let server = PgConnectOptions::from_str(url)?.ssl_mode(PgSslMode::Disable);
    let name = format!("gesta_peer_{:016x}", RandomState::new().hash_one(url));
    let mut admin = PgConnection::connect_with(&server).await?;
    let create = format!("CREATE DATABASE {name}");
    admin.execute(create.as_str()).await?;
    let database = server.database(&name);
    // In a task of its own, as some libraries panic where they could fail.
    let run = tokio::spawn(async move { work(warm(database, connections).await?).await });
    let report = tokio::select! {
        report = run => report,
        _ = tokio::signal::ctrl_c() => Ok(Err(anyhow!("interrupted"))),
    };
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    admin.execute(drop.as_str()).await?;
    report?
}

/// Opens a pool with all its connections, to a server that keeps what it has
/// acknowledged.
async fn warm(database: PgConnectOptions, connections: u32) -> Result<PgPool> {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .connect_with(database)
        .await?;
    let mut opened = Vec::new();
    for _ in 0..connections {
        opened.push(pool.acquire().await?);
    }
    for setting in ["fsync", "synchronous_commit"] {
        let show = format!("SHOW {setting}");
        let value: String = sqlx::query_scalar(&show).fetch_one(&mut *opened[0]).await?;
        if value != "on" {
            bail!("{setting} is {value}");
        }
    }
    Ok(pool)
}

/// Makes the table that `catchup` fills.
pub async fn create_balances(pool: &PgPool) -> Result<()> {
    const TABLE: &str = "CREATE TABLE balances (account text PRIMARY KEY, \
         balance bigint NOT NULL, deposits bigint NOT NULL)";
    pool.execute(TABLE).await?;
    Ok(())
}

/// Adds one deposit to the table.
pub async fn add_deposit(
    connection: &mut PgConnection,
    account: &str,
    amount: u64,
) -> sqlx::Result<()> {
    const UPSERT: &str = "INSERT INTO balances VALUES ($1, $2, 1) ON CONFLICT (account) \
         DO UPDATE SET balance = balances.balance + EXCLUDED.balance, \
         deposits = balances.deposits + 1";
    let upsert = sqlx::query(UPSERT).bind(account).bind(amount as i64);
    upsert.execute(connection).await?;
    Ok(())
}

/// Times a replay into the table until it ends or the time is over, and checks
/// the table.
pub async fn catch_up(
    options: &Options,
    pool: &PgPool,
    replay: impl Future<Output = Result<()>>,
    how: &str,
) -> Result<Report> {
    const ALL: u64 = ACCOUNTS * CATCHUP_ROUNDS;
    pool.execute("ANALYZE").await?;
    let start = Instant::now();
    let patience = Duration::from_secs_f64(options.seconds);
    let ended = tokio::time::timeout(patience, replay).await;
    let elapsed = nanos(start.elapsed());
    let whole = ended.is_ok();
    ended.unwrap_or(Ok(()))?;
    let rows: Vec<(i64, i64)> =
        sqlx::query_as("SELECT balance, deposits FROM balances").fetch_all(pool).await?;
    let events = rows.iter().map(|(_, deposits)| *deposits as u64).sum();
    let right = |&(balance, deposits): &(i64, i64)| {
        (0..deposits as u64).map(amount).sum::<u64>() == balance as u64
    };
    ensure!(rows.iter().all(right), "a balance is wrong");
    ensure!(!whole || events == ALL, "{events} events are in the table");
    let note = format!("{events} of {ALL} events, times are the pass's; {how}");
    Ok(Report::Measured(Figures::of_steps(vec![elapsed], events, note)))
}
