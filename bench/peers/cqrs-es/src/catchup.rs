//! Replays stored events into a map, or into a table of the same Postgres.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use cqrs_es::persist::{PersistedEventRepository, QueryReplay, SerializedEvent};
use cqrs_es::{Aggregate, DomainEvent, EventEnvelope, Query};
use postgres_es::PostgresEventRepository;
use sqlite_es::SqliteEventRepository;
use sqlx::PgPool;
use sqlx::types::Json;

use crate::args::Options;
use crate::domain::{Account, BankEvent, amount};
use crate::measure::{ACCOUNTS, CATCHUP_ROUNDS, Figures, Report, nanos};
use crate::postgres::{add_deposit, catch_up, create_balances};
use crate::workloads::id;

/// Stores the events of `catchup`: one for each account in turn, and again.
async fn fill(repository: &SqliteEventRepository) -> Result<()> {
    for round in 0..CATCHUP_ROUNDS {
        let event = BankEvent::deposited(round);
        let payload = serde_json::to_value(&event)?;
        let events: Vec<_> = (0..ACCOUNTS)
            .map(|account| SerializedEvent {
                aggregate_id: id(account),
                sequence: round as usize + 1,
                aggregate_type: Account::TYPE.to_owned(),
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: payload.clone(),
                metadata: serde_json::json!({}),
            })
            .collect();
        repository.persist::<Account>(&events, None).await?;
    }
    Ok(())
}

#[derive(Clone, Default)]
struct Balances(Arc<Mutex<HashMap<String, u64>>>);

#[async_trait]
impl Query<Account> for Balances {
    async fn dispatch(&self, account: &str, events: &[EventEnvelope<Account>]) {
        let mut balances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if let BankEvent::Deposited { amount, .. } = &event.payload {
                *balances.entry(account.to_owned()).or_default() += amount;
            }
        }
    }
}

pub async fn into_map(repository: SqliteEventRepository, setting: &str) -> Result<Report> {
    fill(&repository).await?;
    let balances = Balances::default();
    let replay = QueryReplay::new(repository, balances.clone());
    let start = Instant::now();
    replay.replay_all().await?;
    let elapsed = nanos(start.elapsed());
    let balances = balances.0.lock().unwrap_or_else(PoisonError::into_inner);
    let expected: u64 = (0..CATCHUP_ROUNDS).map(amount).sum();
    ensure!(
        balances.len() as u64 == ACCOUNTS && balances.values().all(|balance| *balance == expected),
        "the read model is not whole: {} accounts",
        balances.len()
    );
    let note = format!(
        "one pass, times are the pass's; QueryReplay::replay_all, which orders by each stream's \
         sequence and keeps no checkpoint; {setting}"
    );
    let events = ACCOUNTS * CATCHUP_ROUNDS;
    let figures = Figures::of_steps(vec![elapsed], events, note);
    Ok(Report::Measured(figures))
}

/// Stores the same events as `fill`, which would take ten seconds here.
async fn fill_postgres(pool: &PgPool) -> Result<()> {
    const INSERT: &str = "INSERT INTO events SELECT $1, 'account-' || lpad(n::text, 6, '0'), \
         $2, $3, $4, $5, '{}' FROM generate_series(0, $6) n";
    for round in 0..CATCHUP_ROUNDS {
        let event = BankEvent::deposited(round);
        sqlx::query(INSERT)
            .bind(Account::TYPE)
            .bind(round as i64 + 1)
            .bind(event.event_type())
            .bind(event.event_version())
            .bind(Json(&event))
            .bind(ACCOUNTS as i64 - 1)
            .execute(pool)
            .await?;
    }
    Ok(())
}

struct BalanceTable(PgPool);

#[async_trait]
impl Query<Account> for BalanceTable {
    /// Panics if the table cannot be changed, as a query has no way to fail.
    async fn dispatch(&self, account: &str, events: &[EventEnvelope<Account>]) {
        for event in events {
            if let BankEvent::Deposited { amount, .. } = event.payload {
                let connection = self.0.acquire().await;
                let mut connection = connection.expect("the pool must have a connection");
                let added = add_deposit(&mut connection, account, amount).await;
                added.expect("the deposit must reach the table");
            }
        }
    }
}

pub async fn into_table(options: &Options, pool: &PgPool, setting: &str) -> Result<Report> {
    create_balances(pool).await?;
    fill_postgres(pool).await?;
    let repository = PostgresEventRepository::new(pool.clone());
    let replay = QueryReplay::new(repository, BalanceTable(pool.clone()));
    let how = format!(
        "QueryReplay::replay_all, which orders by each stream's sequence, keeps no checkpoint \
         and gives no transaction: a commit an event; {setting}"
    );
    let replay = async { Ok(replay.replay_all().await?) };
    catch_up(options, pool, replay, &how).await
}
