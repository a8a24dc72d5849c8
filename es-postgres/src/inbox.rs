//! What a handler has handled, written in the transaction of what it does: whatever the
//! broker delivers again is known by then.

use std::time::Duration;

use chrono::TimeDelta;
use es_core::{Group, Message, StoreError};
use sqlx::postgres::PgTransaction;

use crate::{
    PostgresStore,
    call::Call,
    connections::in_time,
    error::{damaged, store_error},
    row::number,
};

/// Most messages that are forgotten in one statement.
const STEP: u64 = 1_000;
const FORGET: &str = include_str!("statements/forget_received.sql");

impl PostgresStore {
    /// Receives a message in the transaction of its handler: `true` the first time that this
    /// group does, and else `false`, and then there is nothing to do. What the handler writes
    /// in the same transaction so happens exactly once, however often the broker delivers.
    ///
    /// Who receives a message that another one has received in a transaction that is still
    /// open waits for its end, as long as a [statement may take](crate::PostgresOptions::patience):
    /// after a commit the answer is `false`, after a rollback `true`. A message is known by
    /// its tenant and its id; each group handles it by itself.
    ///
    /// A handler that does no more than send a command needs none of this, if the id of the
    /// command is made of the message's: sent again, it answers as the first time.
    ///
    /// ```no_run
    /// use es_core::{Group, Message};
    /// use es_postgres::PostgresStore;
    /// use sqlx::{Connection, PgConnection};
    ///
    /// # async fn handle(store: PostgresStore, message: Message) -> Result<(), Box<dyn std::error::Error>> {
    /// let mails = Group::new("mails")?;
    /// let mut connection = PgConnection::connect("postgres://localhost/shop").await?;
    /// let mut tx = connection.begin().await?;
    /// if store.receive_in(&mut tx, &mails, &message).await? {
    ///     sqlx::query("UPDATE letters SET written = written + 1").execute(&mut *tx).await?;
    ///     tx.commit().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`], and the transaction is of no more use: let the message be delivered
    /// again. `Busy` too in a transaction that is not `READ COMMITTED`, if another one has
    /// received the message since its snapshot.
    pub async fn receive_in(
        &self,
        tx: &mut PgTransaction<'_>,
        group: &Group,
        message: &Message,
    ) -> Result<bool, StoreError> {
        const RECEIVE: &str = "INSERT INTO {schema}.inbox \
             (tenant, endpoint, message, received_at) VALUES ($1, $2, sha256($3), $4) \
             ON CONFLICT DO NOTHING";
        let shared = self.shared();
        shared.allows(Some(&message.tenant))?;
        let receive = Call::new(shared.schema.sql(RECEIVE))
            .bind(message.tenant.as_str().to_owned())
            .bind(group.as_str().to_owned())
            .bind(message.id.clone().into_bytes())
            .bind(shared.options.world.now());
        let received = async { receive.execute(tx).await.map_err(store_error) };
        Ok(in_time(&shared.options, received).await?.rows_affected() == 1)
    }

    /// Forgets the messages that were received longer ago, some at a time; returns how many.
    /// One that the broker delivers after that is handled once more, so this is never shorter
    /// than it may come again: than the broker keeps it, with all tries, and than a dead
    /// letter may wait to be given back.
    ///
    /// Age is told by the store's clock. A store of one tenant forgets what is that one's.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what was forgotten until then is.
    pub async fn forget_received(&self, age: Duration) -> Result<u64, StoreError> {
        let shared = self.shared();
        let age = TimeDelta::from_std(age).ok();
        let Some(since) = age.and_then(|age| shared.options.world.now().checked_sub_signed(age))
        else {
            return Ok(0);
        };
        let step = i64::try_from(STEP).unwrap_or(i64::MAX);
        let mut forgotten = 0;
        loop {
            let forget = || Call::new(shared.schema.sql(FORGET)).bind(since).bind(step);
            let rows = shared.readers.rows(forget).await?;
            let row = rows.first().ok_or_else(|| damaged("a count is missing"))?;
            let gone = number(row, 0)?;
            forgotten += gone;
            if gone < STEP {
                return Ok(forgotten);
            }
        }
    }
}
