//! Replays stored events into a table of the same Postgres.

use anyhow::Result;
use async_trait::async_trait;
use esrs::handler::TransactionalEventHandler;
use esrs::rebuilder::{PgRebuilder, Rebuilder};
use esrs::store::StoreEvent;
use esrs::store::postgres::PgStoreError;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::args::Options;
use crate::domain::{Account, BankEvent};
use crate::measure::{ACCOUNTS, CATCHUP_ROUNDS, Report};
use crate::postgres::{add_deposit, catch_up, create_balances};

/// Stores one event for each account in turn, and again; the library would
/// need a transaction for each.
async fn fill(pool: &PgPool) -> Result<()> {
    const INSERT: &str = "INSERT INTO account_events (id, aggregate_id, payload, sequence_number) \
         SELECT gen_random_uuid(), lpad(to_hex(n), 32, '0')::uuid, $1, $2 \
         FROM generate_series(0, $3) n";
    for round in 0..CATCHUP_ROUNDS {
        sqlx::query(INSERT)
            .bind(Json(BankEvent::deposited(round)))
            .bind(round as i32 + 1)
            .bind(ACCOUNTS as i64 - 1)
            .execute(pool)
            .await?;
    }
    Ok(())
}

struct BalanceTable;

#[async_trait]
impl TransactionalEventHandler<Account, PgStoreError, PgConnection> for BalanceTable {
    async fn handle(
        &self,
        event: &StoreEvent<BankEvent>,
        transaction: &mut PgConnection,
    ) -> Result<(), PgStoreError> {
        if let BankEvent::Deposited { amount, .. } = event.payload {
            let account = event.aggregate_id.to_string();
            add_deposit(transaction, &account, amount).await?;
        }
        Ok(())
    }

    async fn delete(
        &self,
        account: Uuid,
        transaction: &mut PgConnection,
    ) -> Result<(), PgStoreError> {
        let delete = sqlx::query("DELETE FROM balances WHERE account = $1");
        delete.bind(account.to_string()).execute(transaction).await?;
        Ok(())
    }
}

pub async fn into_table(options: &Options, pool: &PgPool, setting: &str) -> Result<Report> {
    create_balances(pool).await?;
    fill(pool).await?;
    let rebuilder = PgRebuilder::<Account>::new()
        .with_transactional_event_handlers(vec![Box::new(BalanceTable)]);
    let replay = async { Ok(rebuilder.by_aggregate_id(pool.clone()).await?) };
    let how = format!(
        "PgRebuilder::by_aggregate_id, which takes the events account by account and keeps no \
         checkpoint: a transaction an account; {setting}"
    );
    catch_up(options, pool, replay, &how).await
}
