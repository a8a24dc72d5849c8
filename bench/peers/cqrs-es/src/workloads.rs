//! The workloads, each through cqrs-es's public path.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use cqrs_es::{AggregateContext, AggregateError, CqrsFramework, EventStore};

use crate::args::Options;
use crate::domain::{Account, BankCommand, BankError, BankEvent};
use crate::measure::{
    ACCOUNTS, BATCH, BATCHES, Client, Figures, Outcome, Report, Run, Xorshift, drive, nanos,
};
use crate::store::Backend;

pub async fn run<B: Backend>(options: &Options, backend: &B) -> Result<Report> {
    let figures = match options.workload.as_str() {
        "commands" => send_deposits(options, backend, ACCOUNTS).await?,
        "hot" => send_deposits(options, backend, 1).await?,
        "load" => load(options, backend).await?,
        "bulk" => bulk(options, backend).await?,
        "catchup" => return backend.catch_up(options).await,
        other => bail!("no workload is called {other}"),
    };
    Ok(Report::Measured(figures))
}

pub fn id(number: u64) -> String {
    format!("account-{number:06}")
}

/// A client that deposits into accounts by chance.
struct Depositor<S: EventStore<Account>> {
    framework: Arc<CqrsFramework<Account, S>>,
    accounts: Arc<Vec<String>>,
    random: Xorshift,
    number: u64,
}

impl<S: EventStore<Account, AC: Send> + 'static> Client for Depositor<S> {
    async fn send(&mut self) -> Result<Outcome> {
        let chosen = self.random.below(self.accounts.len() as u64) as usize;
        self.number += 1;
        let mut retries = 0;
        loop {
            let deposit = BankCommand::Deposit { number: self.number };
            let result = self.framework.execute(&self.accounts[chosen], deposit);
            match result.await {
                Ok(()) => return Ok(Outcome::Done { retries }),
                Err(AggregateError::AggregateConflict) => retries += 1,
                Err(error) if is_locked(&error) => return Ok(Outcome::GaveUp { retries }),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// SQLite's busy timeout ran out, which cqrs-es hands on as it came.
fn is_locked(error: &AggregateError<BankError>) -> bool {
    matches!(error, AggregateError::UnexpectedError(cause)
        if cause.to_string().contains("database is locked"))
}

async fn send_deposits<B: Backend>(
    options: &Options,
    backend: &B,
    accounts: u64,
) -> Result<Figures> {
    let framework = Arc::new(CqrsFramework::new(backend.store(), Vec::new(), ()));
    let accounts: Arc<Vec<_>> = Arc::new((0..accounts).map(id).collect());
    for account in accounts.iter() {
        let owner = format!("owner of {account}");
        framework.execute(account, BankCommand::Open { owner }).await?;
    }
    let clients = (0..options.clients)
        .map(|client| Depositor {
            framework: Arc::clone(&framework),
            accounts: Arc::clone(&accounts),
            random: Xorshift::for_client(client),
            number: client as u64 * 1_000_000_000,
        })
        .collect();
    let run = drive(clients, options.seconds).await?;
    settle(options, backend, run, &accounts).await
}

/// Checks that what succeeded is stored, and takes off what was lost.
async fn settle<B: Backend>(
    options: &Options,
    backend: &B,
    mut run: Run,
    accounts: &[String],
) -> Result<Figures> {
    let mut stored = 0;
    for account in accounts {
        stored += deposits(&backend.store(), account).await?;
    }
    let lost = run.successes.saturating_sub(stored);
    ensure!(
        stored + lost == run.successes && (lost == 0 || !backend.checks_versions()),
        "{stored} of {} deposits are stored",
        run.successes
    );
    run.in_time = run.in_time.saturating_sub(lost);
    let note = format!(
        "retries={}; locked={}; lost={lost} of {}; {}",
        run.retries,
        run.gave_up,
        run.successes,
        backend.setting()
    );
    Ok(Figures::of_run(options, run, note))
}

async fn deposits<S: EventStore<Account>>(store: &S, account: &str) -> Result<u64> {
    let mut context = store.load_aggregate(account).await?;
    Ok(context.aggregate().deposits)
}

/// Commits deposits to an account that is new.
async fn append<S: EventStore<Account>>(store: &S, account: &str, events: u64) -> Result<()> {
    let context = store.load_aggregate(account).await?;
    let events = (0..events).map(BankEvent::deposited).collect();
    store.commit(events, context, HashMap::new()).await?;
    Ok(())
}

async fn load<B: Backend>(options: &Options, backend: &B) -> Result<Figures> {
    let store = backend.store();
    let account = id(0);
    append(&store, &account, options.events).await?;
    let deadline = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut latencies = Vec::new();
    while Instant::now() < deadline {
        let start = Instant::now();
        let found = deposits(&store, &account).await?;
        latencies.push(nanos(start.elapsed()));
        ensure!(found == options.events, "{found} events were loaded");
    }
    let note = format!("{} events a load; {}", options.events, backend.setting());
    Ok(Figures::of_steps(latencies, 1, note))
}

async fn bulk<B: Backend>(options: &Options, backend: &B) -> Result<Figures> {
    let store = backend.store();
    let deadline = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut latencies = Vec::new();
    for number in 0..BATCHES {
        let start = Instant::now();
        if start >= deadline {
            break;
        }
        append(&store, &id(number), BATCH).await?;
        latencies.push(nanos(start.elapsed()));
    }
    let note = format!(
        "{BATCH} events a batch, times are a batch's; load and commit; {}",
        backend.setting()
    );
    Ok(Figures::of_steps(latencies, BATCH, note))
}
