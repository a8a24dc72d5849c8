//! The workloads, each through esrs's public path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use esrs::AggregateState;
use esrs::manager::AggregateManager;
use esrs::store::EventStore;
use esrs::store::postgres::{PgStore, PgStoreBuilder, PgStoreError};
use sqlx::PgPool;
use uuid::Uuid;

use crate::args::Options;
use crate::catchup;
use crate::domain::{Account, AccountState, BankCommand, BankEvent};
use crate::measure::{
    ACCOUNTS, BATCH, BATCHES, Client, Figures, Outcome, Report, Xorshift, drive, nanos,
};

type Manager = AggregateManager<PgStore<Account>>;

/// How a command comes to be alone with its account.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    ByVersion,
    ByLock,
}

pub async fn run(options: &Options, pool: &PgPool) -> Result<Report> {
    let store = PgStoreBuilder::new(pool.clone()).try_build().await?;
    let setting = format!("pool of {}", pool.size());
    let figures = match options.workload.as_str() {
        "commands" => deposit(options, store, ACCOUNTS, Alone::ByVersion, &setting).await?,
        "hot" => deposit(options, store, 1, Alone::ByVersion, &setting).await?,
        "hot-locked" => deposit(options, store, 1, Alone::ByLock, &setting).await?,
        "load" => load(options, store, &setting).await?,
        "bulk" => bulk(options, &store, &setting).await?,
        "catchup" => return catchup::into_table(options, pool, &setting).await,
        other => bail!("no workload is called {other}"),
    };
    Ok(Report::Measured(figures))
}

/// The id of an account; it must be a UUID.
pub fn id(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

/// A client that deposits into accounts by chance.
struct Depositor {
    manager: Arc<Manager>,
    accounts: u64,
    alone: Alone,
    random: Xorshift,
    number: u64,
}

impl Depositor {
    async fn load(&self, account: Uuid) -> Result<AggregateState<AccountState>> {
        match self.alone {
            Alone::ByVersion => load_account(&self.manager, account).await,
            Alone::ByLock => Ok(self.manager.lock_and_load(account).await?.unwrap_or_default()),
        }
    }
}

impl Client for Depositor {
    async fn send(&mut self) -> Result<Outcome> {
        let chosen = id(self.random.below(self.accounts));
        self.number += 1;
        let mut retries = 0;
        loop {
            let account = self.load(chosen).await?;
            let deposit = BankCommand::Deposit { number: self.number };
            match self.manager.handle_command(account, deposit).await {
                Ok(decided) => {
                    decided?;
                    return Ok(Outcome::Done { retries });
                }
                Err(error) if is_conflict(&error) => retries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Another command took the sequence number, which esrs hands on as it came.
fn is_conflict(error: &PgStoreError) -> bool {
    matches!(error, PgStoreError::Sqlx(sqlx::Error::Database(cause))
        if cause.is_unique_violation())
}

async fn load_account(manager: &Manager, account: Uuid) -> Result<AggregateState<AccountState>> {
    let loaded = manager.load(account).await?;
    loaded.with_context(|| format!("{account} has no events"))
}

async fn deposit(
    options: &Options,
    store: PgStore<Account>,
    accounts: u64,
    alone: Alone,
    setting: &str,
) -> Result<Figures> {
    let manager = Arc::new(AggregateManager::new(store));
    for number in 0..accounts {
        let owner = format!("owner of {number}");
        let open = BankCommand::Open { owner };
        let new = AggregateState::with_id(id(number));
        manager.handle_command(new, open).await??;
    }
    let clients = (0..options.clients)
        .map(|client| Depositor {
            manager: Arc::clone(&manager),
            accounts,
            alone,
            random: Xorshift::for_client(client),
            number: client as u64 * 1_000_000_000,
        })
        .collect();
    let run = drive(clients, options.seconds).await?;
    let mut stored = 0;
    for number in 0..accounts {
        stored += load_account(&manager, id(number)).await?.inner().deposits;
    }
    ensure!(stored == run.successes, "{stored} of {} deposits are stored", run.successes);
    let how = match alone {
        Alone::ByVersion => "load",
        Alone::ByLock => "lock_and_load",
    };
    let note = format!("retries={}; {setting}; {how} and handle_command", run.retries);
    Ok(Figures::of_run(options, run, note))
}

/// Appends deposits to an account that is new.
async fn append(store: &PgStore<Account>, account: Uuid, events: u64) -> Result<()> {
    let events = (0..events).map(BankEvent::deposited).collect();
    let mut new = AggregateState::with_id(account);
    store.persist(&mut new, events).await?;
    Ok(())
}

async fn load(options: &Options, store: PgStore<Account>, setting: &str) -> Result<Figures> {
    append(&store, id(0), options.events).await?;
    let manager = AggregateManager::new(store);
    let deadline = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut latencies = Vec::new();
    while Instant::now() < deadline {
        let start = Instant::now();
        let account = load_account(&manager, id(0)).await?;
        latencies.push(nanos(start.elapsed()));
        let found = account.inner().deposits;
        ensure!(found == options.events, "{found} events were loaded");
    }
    let note = format!("{} events a load; {setting}", options.events);
    Ok(Figures::of_steps(latencies, 1, note))
}

async fn bulk(options: &Options, store: &PgStore<Account>, setting: &str) -> Result<Figures> {
    let deadline = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut latencies = Vec::new();
    for number in 0..BATCHES {
        let start = Instant::now();
        if start >= deadline {
            break;
        }
        append(store, id(number), BATCH).await?;
        latencies.push(nanos(start.elapsed()));
    }
    let note = format!("{BATCH} events a batch, times are a batch's; persist; {setting}");
    Ok(Figures::of_steps(latencies, BATCH, note))
}
