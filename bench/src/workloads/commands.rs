//! Deposits into 1,000 open accounts, chosen by chance.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, anyhow, ensure};
use gesta::{
    AggregateStoreExt, Batch, Codec, Commands, EventStore, Expected, NewEvent, Settings, Version,
    World, stream_of,
};

use crate::{
    contest::{Against, Role, Turn, Unit, Workload},
    domain::{ACCOUNTS, Account, AccountEvent, Deposit, Open, account},
    limits,
    measure::{Client, Measured, Xorshift, drive, on_runtime},
    peers::{self, BOTH, Order},
    stores::Kind,
};

/// Whether loaded aggregates are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    On,
    Off,
}

/// One run of deposits.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) file: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) cache: Cache,
    pub(crate) accounts: usize,
    pub(crate) clients: usize,
    pub(crate) seconds: f64,
}

/// One client, with and without a cache, and without the command bus.
pub(crate) fn one(name: &'static str, kind: Kind) -> Workload {
    let workload = many(name, kind, 1)
        .with(Role::Gesta, "no cache", move |turn| deposits(run(turn, kind, Cache::Off, 1)))
        .with(Role::Gesta, "append only", move |turn| {
            let (file, seconds) = (turn.file.clone(), turn.seconds);
            on_runtime(async move { append_only(kind, &file, seconds).await })
        });
    match kind {
        Kind::Full => workload.goal(Against::BestPeer, 1.9).goal(Against::Limit, 0.9),
        Kind::Memory | Kind::Normal => workload,
    }
}

pub(crate) fn goal(name: &'static str, kind: Kind, clients: usize) -> Workload {
    many(name, kind, clients).goal(Against::BestPeer, 8.0)
}

pub(crate) fn many(name: &'static str, kind: Kind, clients: usize) -> Workload {
    let mut workload = Workload::new(name, Unit::PerSecond);
    if kind != Kind::Memory {
        for rows in [1, u32::try_from(clients).unwrap_or(1)].into_iter().take(clients.min(2)) {
            workload =
                workload.with(Role::Limit, format!("raw insert, {rows} a tx"), move |turn| {
                    limits::insert(&turn.file, kind, rows, turn.seconds)
                });
        }
    }
    workload = workload
        .with(Role::Gesta, "cache", move |turn| deposits(run(turn, kind, Cache::On, clients)));
    for peer in BOTH {
        workload = workload.with(Role::Peer, peer, move |turn| {
            let seconds = turn.seconds;
            peers::run(turn, peer, Order { workload: "commands", kind, clients, seconds })
        });
    }
    workload
}

fn run(turn: &Turn<'_>, kind: Kind, cache: Cache, clients: usize) -> Run {
    let (file, seconds) = (turn.file.clone(), turn.seconds);
    Run { file, kind, cache, accounts: ACCOUNTS, clients, seconds }
}

/// Opens the accounts, sends deposits, and looks whether all are there.
pub(crate) fn deposits(run: Run) -> Result<Measured> {
    on_runtime(async move {
        let opened = run.kind.open(&run.file).await?;
        let commands = bus(Arc::clone(&opened.store), run.cache)?;
        for number in 0..run.accounts {
            let open = Open { account: account(number), owner: format!("owner of {number}") };
            commands.send(open).await.map_err(|e| anyhow!("{e:?}"))?;
        }
        let depositor = |client| Depositor {
            commands: commands.clone(),
            random: Xorshift::seeded(client),
            client,
            accounts: run.accounts,
            number: client as u64 * 1_000_000_000,
        };
        let clients = (0..run.clients).map(depositor).collect();
        let (measured, sent) = drive(clients, run.seconds).await?;
        check(&*opened.store, run.accounts, sent).await?;
        commands.drain().await;
        opened.close().await;
        Ok(measured)
    })
}

fn bus(store: Arc<dyn EventStore>, cache: Cache) -> Result<Commands> {
    let settings = match cache {
        Cache::On => Settings::<Account>::new().cache(10_000),
        Cache::Off => Settings::new(),
    };
    Ok(Commands::builder(store).aggregate(settings)?.build())
}

struct Depositor {
    commands: Commands,
    random: Xorshift,
    client: usize,
    accounts: usize,
    number: u64,
}

impl Client for Depositor {
    async fn send(&mut self) -> Result<()> {
        self.number += 1;
        // With few accounts each client keeps to one of its own.
        let chosen = match self.accounts {
            ACCOUNTS => self.random.below(ACCOUNTS),
            few => self.client % few,
        };
        let deposit = Deposit { account: account(chosen), number: self.number };
        self.commands.send(deposit).await.map_err(|e| anyhow!("{e:?}"))?;
        Ok(())
    }
}

async fn check(store: &dyn EventStore, accounts: usize, sent: u64) -> Result<()> {
    let mut stored = 0;
    for number in 0..accounts {
        stored += store.load::<Account>(&account(number)).await?.state.deposits;
    }
    ensure!(stored == sent, "{stored} of {sent} deposits are stored");
    Ok(())
}

/// Appends events of 1,000 streams, without loading and deciding.
async fn append_only(kind: Kind, file: &Path, seconds: f64) -> Result<Measured> {
    let opened = kind.open(file).await?;
    let appender = Appender {
        store: Arc::clone(&opened.store),
        world: World::real(),
        random: Xorshift::seeded(0),
        versions: vec![Version::NONE; ACCOUNTS],
    };
    let (measured, _) = drive(vec![appender], seconds).await?;
    opened.close().await;
    Ok(measured)
}

struct Appender {
    store: Arc<dyn EventStore>,
    world: World,
    random: Xorshift,
    versions: Vec<Version>,
}

impl Client for Appender {
    async fn send(&mut self) -> Result<()> {
        let chosen = self.random.below(ACCOUNTS);
        let version = &mut self.versions[chosen];
        let event = AccountEvent::deposited(version.get());
        let event = NewEvent::encode(&event, self.world.event_id(), Codec::Json)?;
        let stream = stream_of::<Account>(&account(chosen))?;
        let batch = Batch::to(stream).expect(Expected::Exact(*version)).event(event);
        self.store.append(batch.append_id(self.world.append_id())).await?;
        *version = version.plus(1);
        Ok(())
    }
}
