//! What a handler has handled, written in the transaction of what it does: whatever the
//! broker delivers again is known by then.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{Group, Message, StoreError};
use rusqlite::{Connection, params};

use crate::{SqliteStore, error::store_error};

/// Most messages that are forgotten in one transaction.
const STEP: usize = 1_000;

impl SqliteStore {
    /// Receives a message, and the first time that this group does, takes the step in the same
    /// transaction; else there is nothing to do, and the answer is `None`. What the step writes
    /// into the file so happens exactly once, however often the broker delivers. If it fails,
    /// neither it nor the message has been there.
    ///
    /// The step runs on the thread that writes, in the one commit of all that waits for it:
    /// nobody appends meanwhile. It may write to tables of yours, and must not end the
    /// transaction. A message is known by its tenant and its id; each group handles it by
    /// itself. The work goes on if the caller stops waiting.
    ///
    /// A handler that does no more than send a command needs none of this, if the id of the
    /// command is made of the message's: sent again, it answers as the first time.
    ///
    /// ```
    /// use es_core::{ContentType, Group, Message, Name};
    /// use es_sqlite::SqliteStore;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("mails.db");
    /// let store = SqliteStore::open(path).await?;
    /// let (mails, kind) = (Group::new("mails")?, Name::new("mail.wanted")?);
    /// let message = Message::new("7", kind, ContentType::JSON, "{}");
    /// for written in [Some(()), None] {
    ///     let received = store.receive(&mails, &message, |tx| {
    ///         tx.execute_batch("CREATE TABLE IF NOT EXISTS letters (id INTEGER PRIMARY KEY)")?;
    ///         tx.execute("INSERT INTO letters DEFAULT VALUES", []).map(drop)
    ///     });
    ///     assert_eq!(received.await?, written);
    /// }
    /// # store.close().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the step or the store fails, and nothing has happened; `Unknown` if it
    /// may have: let the message be delivered again.
    pub async fn receive<T: Send + 'static>(
        &self,
        group: &Group,
        message: &Message,
        step: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<Option<T>, StoreError> {
        let key = [message.tenant.as_str(), group.as_str(), &message.id].map(str::to_owned);
        let world = self.world().clone();
        let receive = move |connection: &Connection| match enter(connection, &key, world.now())? {
            true => step(connection).map(Some).map_err(store_error),
            false => Ok(None),
        };
        self.writer().run(receive).await
    }

    /// Forgets the messages that were received longer ago, some at a time; returns how many.
    /// One that the broker delivers after that is handled once more, so this is never shorter
    /// than it may come again: than the broker keeps it, with all tries, and than a dead
    /// letter may wait to be given back.
    ///
    /// Age is told by the store's clock.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; what was forgotten until then is.
    pub async fn forget_received(&self, age: Duration) -> Result<u64, StoreError> {
        let age = TimeDelta::from_std(age).ok();
        let Some(since) = age.and_then(|age| self.world().now().checked_sub_signed(age)) else {
            return Ok(0);
        };
        let mut forgotten = 0;
        loop {
            let gone = self.writer().run(move |connection| forget(connection, since)).await?;
            forgotten += gone as u64;
            if gone < STEP {
                return Ok(forgotten);
            }
        }
    }
}

/// Whether it was not there.
fn enter(
    connection: &Connection,
    [tenant, endpoint, message]: &[String; 3],
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    const ENTER: &str = "INSERT INTO inbox (tenant, endpoint, message, received_at) \
         VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let mut enter = connection.prepare_cached(ENTER).map_err(store_error)?;
    let row = params![tenant, endpoint, message, now.timestamp_micros()];
    enter.execute(row).map(|rows| rows == 1).map_err(store_error)
}

fn forget(connection: &Connection, since: DateTime<Utc>) -> Result<usize, StoreError> {
    const FORGET: &str = "DELETE FROM inbox WHERE (tenant, endpoint, message) IN \
         (SELECT tenant, endpoint, message FROM inbox WHERE received_at < ? \
         ORDER BY received_at LIMIT ?)";
    let mut forget = connection.prepare_cached(FORGET).map_err(store_error)?;
    forget.execute(params![since.timestamp_micros(), STEP]).map_err(store_error)
}
