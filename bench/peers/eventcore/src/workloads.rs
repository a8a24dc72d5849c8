//! The workloads, each through eventcore's public path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use eventcore::{CommandError, RetryPolicy, StreamId, execute};
use eventcore_types::{EventStore, StreamVersion, StreamWrites};
use futures::StreamExt;

use crate::args::Options;
use crate::catchup;
use crate::domain::{Account, BankEvent, Deposit, Open};
use crate::measure::{
    ACCOUNTS, BATCH, BATCHES, Client, Figures, Outcome, Report, Xorshift, drive, nanos,
};
use crate::store::{Backend, MemoryCheckpoints};

pub async fn run<S: Backend>(options: &Options, store: Arc<S>, setting: &str) -> Result<Report> {
    let figures = match options.workload.as_str() {
        "commands" => send_deposits(options, store, ACCOUNTS, setting).await?,
        "hot" => send_deposits(options, store, 1, setting).await?,
        "load" => load(options, &*store, setting).await?,
        "bulk" => bulk(options, &*store, setting).await?,
        "catchup" => {
            catchup::fill(&*store).await?;
            let backend = MemoryCheckpoints::new(store);
            catchup::into_map(&backend, &format!("{setting}; checkpoints in memory")).await?
        }
        "catchup-durable" => {
            catchup::fill(&*store).await?;
            catchup::into_map(&*store, &format!("{setting}; checkpoints in the store")).await?
        }
        other => bail!("no workload is called {other}"),
    };
    Ok(Report::Measured(figures))
}

pub fn stream(number: u64) -> Result<StreamId> {
    Ok(StreamId::try_new(format!("account-{number:06}"))?)
}

/// A client that deposits into accounts by chance.
struct Depositor<S> {
    store: Arc<S>,
    accounts: Arc<Vec<StreamId>>,
    random: Xorshift,
    number: u64,
}

impl<S: Backend> Client for Depositor<S> {
    async fn send(&mut self) -> Result<Outcome> {
        let chosen = self.random.below(self.accounts.len() as u64) as usize;
        self.number += 1;
        let mut retries = 0;
        loop {
            let deposit = Deposit { account: self.accounts[chosen].clone(), number: self.number };
            match execute(&*self.store, deposit, RetryPolicy::new()).await {
                Ok(response) => {
                    retries += u64::from(response.attempts()) - 1;
                    return Ok(Outcome::Done { retries });
                }
                // The policy's own repeats are used up: begin anew.
                Err(CommandError::ConcurrencyError(repeats)) => retries += u64::from(repeats) + 1,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

async fn send_deposits<S: Backend>(
    options: &Options,
    store: Arc<S>,
    accounts: u64,
    setting: &str,
) -> Result<Figures> {
    let accounts: Arc<Vec<_>> = Arc::new((0..accounts).map(stream).collect::<Result<_>>()?);
    for account in accounts.iter() {
        let open = Open { account: account.clone(), owner: format!("owner of {account}") };
        execute(&*store, open, RetryPolicy::new()).await?;
    }
    let clients = (0..options.clients)
        .map(|client| Depositor {
            store: Arc::clone(&store),
            accounts: Arc::clone(&accounts),
            random: Xorshift::for_client(client),
            number: client as u64 * 1_000_000_000,
        })
        .collect();
    let run = drive(clients, options.seconds).await?;
    let mut stored = 0;
    for account in accounts.iter() {
        stored += fold(&*store, account).await?.deposits;
    }
    ensure!(stored == run.successes, "{stored} of {} deposits are stored", run.successes);
    let note = format!("retries={}; {setting}; default RetryPolicy, no snapshots", run.retries);
    Ok(Figures::of_run(options, run, note))
}

/// Reads a stream and folds it, one event at a time as `execute` does.
async fn fold<S: EventStore>(store: &S, account: &StreamId) -> Result<Account> {
    let mut events = store.read_stream::<BankEvent>(account.clone()).await?;
    let mut state = Account::default();
    while let Some(event) = events.next().await {
        state = state.apply(&event?);
    }
    Ok(state)
}

/// Appends deposits to a stream that is new.
async fn append<S: EventStore>(store: &S, account: &StreamId, events: u64) -> Result<()> {
    let writes = StreamWrites::new().register_stream(account.clone(), StreamVersion::new(0))?;
    let writes = (0..events)
        .try_fold(writes, |writes, number| writes.append(BankEvent::deposited(account, number)))?;
    store.append_events(writes).await?;
    Ok(())
}

async fn load<S: EventStore>(options: &Options, store: &S, setting: &str) -> Result<Figures> {
    let account = stream(0)?;
    append(store, &account, options.events).await?;
    let deadline = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut latencies = Vec::new();
    while Instant::now() < deadline {
        let start = Instant::now();
        let state = fold(store, &account).await?;
        latencies.push(nanos(start.elapsed()));
        ensure!(state.deposits == options.events, "{state:?} is not whole");
    }
    let events = options.events;
    let note = format!("{events} events a load; {setting}; read_stream and fold, no snapshots");
    Ok(Figures::of_steps(latencies, 1, note))
}

async fn bulk<S: EventStore>(options: &Options, store: &S, setting: &str) -> Result<Figures> {
    let deadline = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut latencies = Vec::new();
    for number in 0..BATCHES {
        let account = stream(number)?;
        let start = Instant::now();
        if start >= deadline {
            break;
        }
        append(store, &account, BATCH).await?;
        latencies.push(nanos(start.elapsed()));
    }
    let note = format!("{BATCH} events a batch, times are a batch's; {setting}; append_events");
    Ok(Figures::of_steps(latencies, BATCH, note))
}
