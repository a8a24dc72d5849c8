//! 100,000 events of 1,000 accounts in turn become a view of balances.

use std::{path::Path, sync::Arc};

use anyhow::{Result, ensure};
use gesta::{
    Batch, Codec, EventStore, ModelSettings, NewEvent, Projection, ProjectionError, Projector,
    Recorded, Views, World, Write,
    memory::{MemoryStore, MemoryViews},
    postgres::{PostgresStore, PostgresTx},
    stream_of,
};

use crate::{
    contest::{Against, Role, Unit, Workload},
    domain::{ACCOUNTS, Account, AccountEvent, Balance, account, amount},
    limits,
    measure::{Measured, on_runtime, timed_async},
    peers::{self, CQRS_ES, EVENTCORE, Order},
    postgres::{Schema, copy_out},
    stores::Kind,
};

const ROUNDS: u64 = 100;
const EVENTS: u32 = 100_000;
/// A peer that needs longer for all events is stopped there.
const PEER_SECONDS: f64 = 5.0;

pub(crate) fn in_memory(name: &'static str) -> Workload {
    let workload = Workload::new(name, Unit::PerSecond).with(Role::Gesta, "view", |_| {
        on_runtime(async {
            let store = MemoryStore::new();
            fill(&store).await?;
            catch_up(store, MemoryViews::new()).await
        })
    });
    with_peers(workload, Kind::Memory, "catchup", &[EVENTCORE])
}

pub(crate) fn mixed(name: &'static str) -> Workload {
    let workload = with_limit(name).with(Role::Gesta, "view", |turn| {
        let file = turn.file.clone();
        on_runtime(async move {
            let store = filled(&file).await?;
            let measured = catch_up(store.clone(), MemoryViews::new()).await;
            store.close().await;
            measured
        })
    });
    with_peers(workload, Kind::Full, "catchup", &[CQRS_ES, EVENTCORE])
}

pub(crate) fn durable(name: &'static str) -> Workload {
    let workload = with_limit(name).with(Role::Gesta, "view", |turn| {
        let file = turn.file.clone();
        on_runtime(async move {
            let store = filled(&file).await?;
            let measured = catch_up(store.clone(), store.clone()).await;
            store.close().await;
            measured
        })
    });
    with_peers(workload, Kind::Full, "catchup-durable", &[EVENTCORE])
}

/// From Postgres to Postgres, with the checkpoint in the same transaction.
pub(crate) fn postgres(name: &'static str) -> Workload {
    let workload = Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "COPY of the log", |_| {
            on_runtime(async {
                let (schema, store) = filled_schema().await?;
                let (elapsed, _) = timed_async(copy_out(&schema)).await?;
                store.close().await;
                schema.leave().await;
                Measured::of_one(EVENTS, elapsed)
            })
        })
        .with(Role::Gesta, "view", |_| {
            on_runtime(async {
                let (schema, store) = filled_schema().await?;
                let measured = catch_up(store.clone(), store.clone()).await;
                store.close().await;
                schema.leave().await;
                measured
            })
        })
        .goal(Against::BestPeer, 35.0)
        .with(Role::Gesta, "view in two parts", |_| {
            on_runtime(async {
                let (schema, store) = filled_schema().await?;
                let in_parts = ModelSettings::new().parts(2);
                let projector = Projector::new(Arc::new(store.clone()), store.clone());
                let measured = measure(projector.view_with::<Balance>(in_parts)).await;
                store.close().await;
                schema.leave().await;
                measured
            })
        })
        .with(Role::Gesta, "a statement an event", |_| {
            on_runtime(async {
                let (schema, store) = filled_schema().await?;
                let measured = catch_up_by_statements(&schema, store.clone()).await;
                store.close().await;
                schema.leave().await;
                measured
            })
        })
        .goal(Against::BestPeer, 5.0);
    with_peers(workload, Kind::Postgres, "catchup", peers::with(Kind::Postgres))
}

/// Ten models from one read of the log, as a share of one: they may cost three times as
/// much.
pub(crate) fn ten(name: &'static str) -> Workload {
    Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "one view", |_| {
            on_runtime(async {
                let (schema, store) = filled_schema().await?;
                let measured = catch_up(store.clone(), store.clone()).await;
                store.close().await;
                schema.leave().await;
                measured
            })
        })
        .with(Role::Gesta, "ten views", |_| {
            on_runtime(async {
                let (schema, store) = filled_schema().await?;
                let projector = ten_views(Projector::new(store.clone(), store.clone()));
                let caught_up = async { Ok(projector.catch_up().await?) };
                let (elapsed, progress) = timed_async(caught_up).await?;
                ensure!(progress.events == u64::from(EVENTS), "{} events", progress.events);
                store.close().await;
                schema.leave().await;
                Measured::of_one(EVENTS, elapsed)
            })
        })
        .goal(Against::Limit, 1.0 / 3.0)
}

macro_rules! views {
    ($($name:ident $text:literal),+) => {
        $(
            #[derive(Default, serde::Serialize, serde::Deserialize)]
            #[serde(transparent)]
            struct $name(Balance);

            impl gesta::Evolve for $name {
                type Event = AccountEvent;
                fn evolve(&mut self, event: &AccountEvent) {
                    self.0.evolve(event);
                }
            }

            impl gesta::View for $name {
                const NAME: &'static str = $text;
                type Key = String;
                fn keys(event: Recorded<'_, AccountEvent>) -> gesta::Keys<String> {
                    <Balance as gesta::View>::keys(event)
                }
            }
        )+

        fn ten_views<V: Views>(projector: Projector<V>) -> Projector<V> {
            projector$(.view::<$name>())+
        }
    };
}

views!(
    One "one", Two "two", Three "three", Four "four", Five "five", Six "six", Seven "seven",
    Eight "eight", Nine "nine", Ten "ten"
);

async fn filled_schema() -> Result<(Schema, PostgresStore)> {
    let schema = Schema::new().await?;
    let store = schema.store().await?;
    fill(&store).await?;
    Ok((schema, store))
}

fn with_limit(name: &'static str) -> Workload {
    Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "raw read, decode, fold", |turn| limits::read_log(&turn.file, EVENTS))
}

fn with_peers(
    mut workload: Workload,
    kind: Kind,
    order: &'static str,
    who: &[&'static str],
) -> Workload {
    for peer in who.iter().copied() {
        workload = workload.with(Role::Peer, peer, move |turn| {
            peers::run(turn, peer, Order::new(order, kind, PEER_SECONDS))
        });
    }
    workload
}

async fn filled(file: &Path) -> Result<gesta::sqlite::SqliteStore> {
    let store = Kind::Full.open_sqlite(file).await?;
    fill(&store).await?;
    Ok(store)
}

async fn fill(store: &impl EventStore) -> Result<()> {
    deposit(store, ROUNDS).await
}

/// One deposit for each account in turn, and again.
pub(crate) async fn deposit(store: &impl EventStore, rounds: u64) -> Result<()> {
    let world = World::real();
    for round in 0..rounds {
        let write = |number| {
            let event = AccountEvent::deposited(round);
            let event = NewEvent::encode(&event, world.event_id(), Codec::Json)?;
            anyhow::Ok(Write::new(stream_of::<Account>(&account(number))?).events([event]))
        };
        let writes = (0..ACCOUNTS).map(write).collect::<Result<Vec<_>>>()?;
        store.append(Batch::new(writes).append_id(world.append_id())).await?;
    }
    Ok(())
}

async fn catch_up(store: impl EventStore, views: impl Views) -> Result<Measured> {
    measure(Projector::new(Arc::new(store), views).view::<Balance>()).await
}

async fn measure(projector: Projector<impl Views>) -> Result<Measured> {
    let (elapsed, progress) = timed_async(async { Ok(projector.catch_up().await?) }).await?;
    let expected: u64 = (0..ROUNDS).map(amount).sum();
    let rows = projector.all::<Balance>().await?;
    ensure!(progress.events == u64::from(EVENTS), "{} events were seen", progress.events);
    ensure!(rows.len() == ACCOUNTS, "{} accounts are there", rows.len());
    ensure!(rows.iter().all(|(_, row)| row.balance == expected), "a balance is wrong");
    Measured::of_one(EVENTS, elapsed)
}

/// A table of the user's own, to which each event brings a statement.
struct Balances {
    add: &'static str,
}

impl Projection<PostgresTx> for Balances {
    const NAME: &'static str = "balances of a table";
    type Event = AccountEvent;

    async fn project(
        &self,
        event: Recorded<'_, AccountEvent>,
        tx: &mut PostgresTx,
    ) -> Result<(), ProjectionError> {
        if let AccountEvent::Deposited { amount, .. } = event.event {
            let amount = i64::try_from(*amount).map_err(ProjectionError::handler)?;
            tx.run(sqlx::query(self.add).bind(event.stream.id().to_owned()).bind(amount));
        }
        Ok(())
    }

    async fn reset(&self, _: &mut PostgresTx) -> Result<(), ProjectionError> {
        Err(ProjectionError::handler("nobody asks for it"))
    }
}

async fn catch_up_by_statements(schema: &Schema, store: PostgresStore) -> Result<Measured> {
    let table = format!("{}.balances", schema.name());
    schema
        .run(&format!("CREATE TABLE {table} (account text PRIMARY KEY, balance bigint NOT NULL)"))
        .await?;
    let add = format!(
        "INSERT INTO {table} AS b VALUES ($1, $2) \
         ON CONFLICT (account) DO UPDATE SET balance = b.balance + excluded.balance"
    );
    let add = Box::leak(add.into_boxed_str());
    let projector = Projector::new(Arc::new(store.clone()), store).projection(Balances { add });
    let (elapsed, progress) = timed_async(async { Ok(projector.catch_up().await?) }).await?;
    ensure!(progress.events == u64::from(EVENTS), "{} events were seen", progress.events);
    let expected: u64 = (0..ROUNDS).map(amount).sum();
    let right = format!("SELECT count(*) FROM {table} WHERE balance = {expected}");
    let right = schema.number(&right).await?;
    ensure!(right == i64::try_from(ACCOUNTS)?, "{right} balances are right");
    Measured::of_one(EVENTS, elapsed)
}
