//! Deposits into 1,000 open accounts, chosen by chance.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, anyhow, ensure};
use gesta::{
    AggregateStoreExt, Batch, Codec, Commands, EventStore, Expected, NewEvent, SendError, Settings,
    Version, World, stream_of,
};

use crate::{
    contest::{Against, Role, Turn, Unit, Workload},
    domain::{ACCOUNTS, Account, AccountEvent, Deposit, Open, account},
    limits,
    measure::{Client, Measured, Xorshift, drive, on_runtime},
    peers::{self, Order},
    postgres,
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
    /// Whether the balances are kept inline.
    pub(crate) inline: bool,
}

/// One client, with and without a cache, and without the command bus.
pub(crate) fn one(name: &'static str, kind: Kind) -> Workload {
    let cached = cached(name, kind, 1);
    let cached = match kind {
        Kind::Full => cached.goal(Against::BestPeer, 1.9).goal(Against::Limit, 0.9),
        _ => cached,
    };
    with_peers(
        uncached(cached, kind, 1).with(Role::Gesta, "append only", append_only(kind)),
        kind,
        1,
    )
}

/// What to reach, as a multiple of the best peer and of the limit.
pub(crate) type Times = (f64, Option<f64>);

/// With and without a cache.
pub(crate) fn on_postgres(
    name: &'static str,
    clients: usize,
    cache: Times,
    no_cache: Times,
) -> Workload {
    let kind = Kind::Postgres;
    let reach = |workload: Workload, (peer, limit): Times| {
        let workload = workload.goal(Against::BestPeer, peer);
        limit.into_iter().fold(workload, |workload, limit| workload.goal(Against::Limit, limit))
    };
    let mut workload = reach(cached(name, kind, clients), cache);
    workload = reach(uncached(workload, kind, clients), no_cache);
    if clients == 1 {
        workload = workload.with(Role::Gesta, "append only", append_only(kind));
    }
    with_peers(workload, kind, clients)
}

pub(crate) fn goal(name: &'static str, kind: Kind, clients: usize) -> Workload {
    with_peers(cached(name, kind, clients).goal(Against::BestPeer, 8.0), kind, clients)
}

pub(crate) fn many(name: &'static str, kind: Kind, clients: usize) -> Workload {
    with_peers(cached(name, kind, clients), kind, clients)
}

fn uncached(workload: Workload, kind: Kind, clients: usize) -> Workload {
    workload
        .with(Role::Gesta, "no cache", move |turn| deposits(run(turn, kind, Cache::Off, clients)))
}

/// What it costs to keep the balances inline.
pub(crate) fn inline(name: &'static str, kind: Kind, clients: usize) -> Workload {
    let plain = move |turn: &Turn<'_>| run(turn, kind, Cache::On, clients);
    Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "without a view", move |turn| deposits(plain(turn)))
        .with(Role::Gesta, "inline view", move |turn| deposits(Run { inline: true, ..plain(turn) }))
}

/// The limits, and Gesta with a cache.
fn cached(name: &'static str, kind: Kind, clients: usize) -> Workload {
    let mut workload = Workload::new(name, Unit::PerSecond);
    if kind == Kind::Postgres {
        workload = workload.with(Role::Limit, "durable insert of one row", move |turn| {
            postgres::insert(clients, turn.seconds)
        });
    } else if kind != Kind::Memory {
        for rows in [1, u32::try_from(clients).unwrap_or(1)].into_iter().take(clients.min(2)) {
            workload =
                workload.with(Role::Limit, format!("raw insert, {rows} a tx"), move |turn| {
                    limits::insert(&turn.file, kind, rows, turn.seconds)
                });
        }
    }
    workload.with(Role::Gesta, "cache", move |turn| deposits(run(turn, kind, Cache::On, clients)))
}

fn with_peers(mut workload: Workload, kind: Kind, clients: usize) -> Workload {
    for &peer in peers::with(kind) {
        workload = workload.with(Role::Peer, peer, move |turn| {
            let order = Order { clients, ..Order::new("commands", kind, turn.seconds) };
            peers::run(turn, peer, order)
        });
    }
    workload
}

fn run(turn: &Turn<'_>, kind: Kind, cache: Cache, clients: usize) -> Run {
    let (file, seconds) = (turn.file.clone(), turn.seconds);
    Run { file, kind, cache, accounts: ACCOUNTS, clients, seconds, inline: false }
}

/// Opens the accounts, sends deposits, and looks whether all are there.
pub(crate) fn deposits(run: Run) -> Result<Measured> {
    on_runtime(async move {
        let opened = match run.inline {
            true => run.kind.open_inline(&run.file).await?,
            false => run.kind.open(&run.file).await?,
        };
        let commands = bus(Arc::clone(&opened.store), run.cache)?;
        open_accounts(&commands, run.accounts).await?;
        let clients = depositors(&commands, run.accounts, 0..run.clients);
        let (measured, sent) = drive(clients, run.seconds).await?;
        check(&*opened.store, run.accounts, sent).await?;
        commands.drain().await;
        opened.close().await;
        Ok(measured)
    })
}

/// Opens the accounts; those that are open already are loaded into the cache.
pub(crate) async fn open_accounts(commands: &Commands, accounts: usize) -> Result<()> {
    for number in 0..accounts {
        let open = Open { account: account(number), owner: format!("owner of {number}") };
        match commands.send(open).await {
            Ok(_) | Err(SendError::Rejected(_)) => {}
            Err(error) => return Err(anyhow!("{error:?}")),
        }
    }
    Ok(())
}

/// These clients, over one bus.
pub(crate) fn depositors(
    commands: &Commands,
    accounts: usize,
    clients: Range<usize>,
) -> Vec<Depositor> {
    let depositor = |client| Depositor {
        commands: commands.clone(),
        random: Xorshift::seeded(client),
        client,
        accounts,
        number: client as u64 * 1_000_000_000,
    };
    clients.map(depositor).collect()
}

pub(crate) fn bus(store: Arc<dyn EventStore>, cache: Cache) -> Result<Commands> {
    let settings = match cache {
        Cache::On => Settings::<Account>::new().cache(10_000),
        Cache::Off => Settings::new(),
    };
    Ok(Commands::builder(store).aggregate(settings)?.build())
}

pub(crate) struct Depositor {
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

pub(crate) async fn check(store: &dyn EventStore, accounts: usize, sent: u64) -> Result<()> {
    let mut stored = 0;
    for number in 0..accounts {
        stored += store.load::<Account>(&account(number)).await?.state.deposits;
    }
    ensure!(stored == sent, "{stored} of {sent} deposits are stored");
    Ok(())
}

/// Appends events of 1,000 streams, without loading and deciding.
fn append_only(kind: Kind) -> impl Fn(&Turn<'_>) -> Result<Measured> {
    move |turn| {
        let (file, seconds) = (turn.file.clone(), turn.seconds);
        on_runtime(async move { append(kind, &file, seconds).await })
    }
}

async fn append(kind: Kind, file: &Path, seconds: f64) -> Result<Measured> {
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
