//! Replays stored events into a table of the same Postgres.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use disintegrate::{EventListener, EventStore, PersistedEvent, StreamQuery, query};
use disintegrate_postgres::{Migrator, PgEventId, PgEventListener, PgEventListenerConfig};
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::args::Options;
use crate::domain::BankEvent;
use crate::measure::{ACCOUNTS, CATCHUP_ROUNDS, Report};
use crate::postgres::{add_deposit, catch_up, create_balances};
use crate::workloads::{Store, id};

/// Stores one event for each account in turn, and again.
async fn fill(store: &Store) -> Result<()> {
    for round in 0..CATCHUP_ROUNDS {
        let events =
            (0..ACCOUNTS).map(|account| BankEvent::deposited(&id(account), round)).collect();
        store.append_without_validation(events).await?;
    }
    Ok(())
}

struct BalanceTable {
    pool: PgPool,
    query: StreamQuery<PgEventId, BankEvent>,
    handled: AtomicU64,
    all_handled: Arc<Notify>,
}

#[async_trait]
impl EventListener<PgEventId, BankEvent> for BalanceTable {
    type Error = sqlx::Error;

    fn id(&self) -> &'static str {
        "balances"
    }

    fn query(&self) -> &StreamQuery<PgEventId, BankEvent> {
        &self.query
    }

    async fn handle(&self, event: PersistedEvent<PgEventId, BankEvent>) -> sqlx::Result<()> {
        if let BankEvent::Deposited { account, amount, .. } = event.into_inner() {
            let mut connection = self.pool.acquire().await?;
            add_deposit(&mut connection, &account, amount).await?;
        }
        if self.handled.fetch_add(1, Ordering::Relaxed) + 1 == ACCOUNTS * CATCHUP_ROUNDS {
            self.all_handled.notify_one();
        }
        Ok(())
    }
}

pub async fn into_table(
    options: &Options,
    pool: &PgPool,
    store: Store,
    setting: &str,
) -> Result<Report> {
    create_balances(pool).await?;
    fill(&store).await?;
    Migrator::new(store.clone()).init_listener().await?;
    let all_handled = Arc::new(Notify::new());
    let balances = BalanceTable {
        pool: pool.clone(),
        query: query!(BankEvent),
        handled: AtomicU64::new(0),
        all_handled: Arc::clone(&all_handled),
    };
    let config = PgEventListenerConfig::poller(Duration::from_secs(1));
    let listener = PgEventListener::builder(store).uninitialized();
    let listener = listener.register_listener(balances, config);
    let replay = async move {
        let ended = listener.start_with_shutdown(async move { all_handled.notified().await });
        Ok(ended.await?)
    };
    let how = format!(
        "PgEventListener, which gives no transaction: a commit an event, its checkpoint after \
         the last; {setting}"
    );
    catch_up(options, pool, replay, &how).await
}
