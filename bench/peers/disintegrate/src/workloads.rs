//! The workloads, each through disintegrate's public path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use disintegrate::serde::json::Json;
use disintegrate::{
    BoxDynError, DecisionError, EventSourcedStateStore, EventStore, LoadState, NoSnapshot,
    StateQuery,
};
use disintegrate_postgres::{Error, PgDecisionMaker, PgEventId, PgEventStore, decision_maker};
use sqlx::PgPool;

use crate::args::Options;
use crate::catchup;
use crate::domain::{Account, BankEvent, Deposit, Open};
use crate::measure::{
    ACCOUNTS, BATCH, BATCHES, Client, Figures, Outcome, Report, Xorshift, drive, nanos,
};
use crate::schema;

pub type Store = PgEventStore<BankEvent, Json<BankEvent>>;
type DecisionMaker = PgDecisionMaker<BankEvent, Json<BankEvent>, NoSnapshot>;

pub async fn run(options: &Options, pool: &PgPool) -> Result<Report> {
    schema::create(pool).await?;
    let store = Store::new_uninitialized(pool.clone(), Json::default());
    let setting = format!("pool of {}, no snapshots", pool.size());
    let figures = match options.workload.as_str() {
        "commands" => send_deposits(options, store, ACCOUNTS, &setting).await?,
        "hot" => send_deposits(options, store, 1, &setting).await?,
        "load" => load(options, store, &setting).await?,
        "bulk" => bulk(options, &store, &setting).await?,
        "catchup" => return catchup::into_table(options, pool, store, &setting).await,
        other => bail!("no workload is called {other}"),
    };
    Ok(Report::Measured(figures))
}

pub fn id(number: u64) -> String {
    format!("account-{number:06}")
}

/// A client that deposits into accounts by chance.
struct Depositor {
    decisions: DecisionMaker,
    accounts: Arc<Vec<String>>,
    random: Xorshift,
    number: u64,
}

impl Client for Depositor {
    async fn send(&mut self) -> Result<Outcome> {
        let chosen = self.random.below(self.accounts.len() as u64) as usize;
        self.number += 1;
        let mut retries = 0;
        loop {
            let deposit = Deposit { account: self.accounts[chosen].clone(), number: self.number };
            match self.decisions.make(deposit).await {
                Ok(_) => return Ok(Outcome::Done { retries }),
                Err(DecisionError::StateStore(error)) if is_conflict(&error) => retries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Newer events were found, or Postgres could not keep transactions apart,
/// which the library hands on as it came unless it was the commit.
fn is_conflict(error: &BoxDynError) -> bool {
    match error.downcast_ref::<Error>() {
        Some(Error::Concurrency) => true,
        Some(Error::Database(sqlx::Error::Database(cause))) => {
            cause.code().as_deref() == Some("40001")
        }
        _ => false,
    }
}

async fn send_deposits(
    options: &Options,
    store: Store,
    accounts: u64,
    setting: &str,
) -> Result<Figures> {
    let decisions = decision_maker(store.clone(), NoSnapshot);
    let accounts: Arc<Vec<_>> = Arc::new((0..accounts).map(id).collect());
    for account in accounts.iter() {
        let open = Open { account: account.clone(), owner: format!("owner of {account}") };
        decisions.make(open).await?;
    }
    let clients = (0..options.clients)
        .map(|client| Depositor {
            decisions: decisions.clone(),
            accounts: Arc::clone(&accounts),
            random: Xorshift::for_client(client),
            number: client as u64 * 1_000_000_000,
        })
        .collect();
    let run = drive(clients, options.seconds).await?;
    let states = EventSourcedStateStore::new(store, NoSnapshot);
    let mut stored = 0;
    for account in accounts.iter() {
        stored += deposits(&states, account).await?;
    }
    ensure!(stored == run.successes, "{stored} of {} deposits are stored", run.successes);
    let note = format!("retries={}; {setting}", run.retries);
    Ok(Figures::of_run(options, run, note))
}

async fn deposits<S>(states: &S, account: &str) -> Result<u64>
where
    S: LoadState<PgEventId, Account, BankEvent>,
{
    let loaded = states.load(Account::new(account)).await;
    Ok(loaded.map_err(|error| anyhow!(error))?.state().deposits)
}

/// Appends deposits to an account that is new.
async fn append(store: &Store, account: &str, events: u64) -> Result<()> {
    let events = (0..events).map(|number| BankEvent::deposited(account, number)).collect();
    let nothing_newer = Account::new(account).query();
    store.append(events, nothing_newer, 0).await?;
    Ok(())
}

async fn load(options: &Options, store: Store, setting: &str) -> Result<Figures> {
    let account = id(0);
    append(&store, &account, options.events).await?;
    let states = EventSourcedStateStore::new(store, NoSnapshot);
    let deadline = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut latencies = Vec::new();
    while Instant::now() < deadline {
        let start = Instant::now();
        let found = deposits(&states, &account).await?;
        latencies.push(nanos(start.elapsed()));
        ensure!(found == options.events, "{found} events were loaded");
    }
    let note = format!("{} events a load; {setting}", options.events);
    Ok(Figures::of_steps(latencies, 1, note))
}

async fn bulk(options: &Options, store: &Store, setting: &str) -> Result<Figures> {
    let deadline = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut latencies = Vec::new();
    for number in 0..BATCHES {
        let start = Instant::now();
        if start >= deadline {
            break;
        }
        append(store, &id(number), BATCH).await?;
        latencies.push(nanos(start.elapsed()));
    }
    let note = format!("{BATCH} events a batch, times are a batch's; append; {setting}");
    Ok(Figures::of_steps(latencies, BATCH, note))
}
