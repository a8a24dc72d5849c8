//! Replays stored events into a map, or into a table of the same Postgres.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, ensure};
use eventcore::{Event, ProjectionConfig, Projector, StreamPosition, run_projection};
use eventcore_postgres::{
    NoopAfterCommit, PostgresProjectionConfig, PostgresProjectionSource, PostgresProjectionStore,
    PostgresProjector, run_transactional_projection,
};
use eventcore_types::{
    BatchSize, CheckpointStore, DeliveryPosition, DeliverySourceId, EventReader, EventStore,
    EventTypeName, ProjectionSelection, ProjectionSelectionId, ProjectionStreamFilter,
    ProjectorCoordinator, ProjectorName, StreamVersion, StreamWrites,
};
use sqlx::types::Json;
use sqlx::{PgPool, Postgres, Transaction};

use crate::args::Options;
use crate::domain::{BankEvent, amount};
use crate::measure::{ACCOUNTS, CATCHUP_ROUNDS, Figures, Report, nanos};
use crate::postgres::{add_deposit, catch_up, create_balances};
use crate::workloads::stream;

/// Stores the events of `catchup`: one for each account in turn, and again.
pub async fn fill<S: EventStore>(store: &S) -> Result<()> {
    let accounts = (0..ACCOUNTS).map(stream).collect::<Result<Vec<_>>>()?;
    for round in 0..CATCHUP_ROUNDS {
        let version = StreamVersion::new(round as usize);
        let mut writes = StreamWrites::new();
        for account in &accounts {
            writes = writes.register_stream(account.clone(), version)?;
        }
        for account in &accounts {
            writes = writes.append(BankEvent::deposited(account, round))?;
        }
        store.append_events(writes).await?;
    }
    Ok(())
}

#[derive(Default)]
struct ReadModel {
    balances: HashMap<String, u64>,
    events: u64,
}

struct BalanceProjector(Arc<Mutex<ReadModel>>);

impl Projector for BalanceProjector {
    type Event = BankEvent;
    type Error = Infallible;
    type Context = ();

    fn apply(
        &mut self,
        event: BankEvent,
        _: StreamPosition,
        (): &mut (),
    ) -> Result<(), Infallible> {
        let mut model = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        model.events += 1;
        if let BankEvent::Deposited { account, amount, .. } = event {
            *model.balances.entry(account.into_inner()).or_default() += amount;
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "balances"
    }
}

/// A run in batch mode takes one page of at most 1,000 events, so runs are
/// repeated until one finds nothing more.
pub async fn into_map<B>(backend: &B, setting: &str) -> Result<Figures>
where
    B: EventReader<Error: std::fmt::Display> + CheckpointStore + ProjectorCoordinator,
{
    let model = Arc::new(Mutex::new(ReadModel::default()));
    let count = || model.lock().unwrap_or_else(PoisonError::into_inner).events;
    let start = Instant::now();
    let mut runs = 0;
    loop {
        let before = count();
        let projector = BalanceProjector(Arc::clone(&model));
        run_projection(projector, backend, ProjectionConfig::default()).await?;
        runs += 1;
        if count() == before {
            break;
        }
    }
    let elapsed = nanos(start.elapsed());
    let model = model.lock().unwrap_or_else(PoisonError::into_inner);
    let expected: u64 = (0..CATCHUP_ROUNDS).map(amount).sum();
    ensure!(
        model.balances.len() as u64 == ACCOUNTS
            && model.balances.values().all(|balance| *balance == expected),
        "the read model is not whole: {} events",
        model.events
    );
    let note = format!("one pass, times are the pass's; {setting}; {runs} runs of run_projection");
    Ok(Figures::of_steps(vec![elapsed], model.events, note))
}

/// Stores the same events as `fill`, which would take a lock and a look for
/// each stream of each batch.
async fn fill_postgres(pool: &PgPool) -> Result<()> {
    const INSERT: &str = "INSERT INTO eventcore_events \
         (event_id, stream_id, event_type, event_data) \
         SELECT lpad(to_hex($1 * 100000 + n), 32, '0')::uuid, s, $2, \
         jsonb_set($3, '{Deposited,account}', to_jsonb(s)) FROM generate_series(0, $4) n, \
         LATERAL (SELECT 'account-' || lpad(n::text, 6, '0') AS s) named";
    let account = stream(0)?;
    for round in 0..CATCHUP_ROUNDS {
        sqlx::query(INSERT)
            .bind(round as i64)
            .bind(BankEvent::event_type_name())
            .bind(Json(BankEvent::deposited(&account, round)))
            .bind(ACCOUNTS as i64 - 1)
            .execute(pool)
            .await?;
    }
    Ok(())
}

struct BalanceTable(ProjectorName);

impl PostgresProjector for BalanceTable {
    type Event = BankEvent;
    type Error = sqlx::Error;
    type AfterCommit = NoopAfterCommit;

    fn name(&self) -> &ProjectorName {
        &self.0
    }

    async fn apply<'a, 'c>(
        &'a mut self,
        event: &'a BankEvent,
        _: DeliveryPosition,
        transaction: &'a mut Transaction<'c, Postgres>,
    ) -> sqlx::Result<NoopAfterCommit>
    where
        'c: 'a,
    {
        if let BankEvent::Deposited { account, amount, .. } = event {
            add_deposit(transaction, account.as_ref(), *amount).await?;
        }
        Ok(NoopAfterCommit)
    }
}

pub async fn into_table(options: &Options, pool: &PgPool, setting: &str) -> Result<Report> {
    let source_id = DeliverySourceId::try_new("bank")?;
    let source = PostgresProjectionSource::from_pool(pool.clone(), source_id);
    let balances = PostgresProjectionStore::from_pool(pool.clone());
    // Their migrations are futures that no task can take, as they are not `Send`.
    tokio::task::block_in_place(|| {
        let runtime = tokio::runtime::Handle::current();
        runtime.block_on(source.migrate())?;
        runtime.block_on(balances.migrate())?;
        anyhow::Ok(())
    })?;
    create_balances(pool).await?;
    fill_postgres(pool).await?;
    let selection = ProjectionSelection::try_new(
        ProjectionSelectionId::try_new("deposits")?,
        ProjectionStreamFilter::All,
        vec![EventTypeName::try_new(BankEvent::event_type_name())?],
    )?;
    let projector = BalanceTable(ProjectorName::try_new("balances")?);
    let config = PostgresProjectionConfig::new(selection).with_batch_size(BatchSize::new(1_000))?;
    let replay = async {
        run_transactional_projection(projector, &source, &balances, config).await?;
        Ok(())
    };
    let how = format!(
        "run_transactional_projection, pages of 1,000: a transaction with its progress an \
         event; {setting}"
    );
    catch_up(options, pool, replay, &how).await
}
