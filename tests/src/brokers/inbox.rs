use std::{path::Path, time::Duration};

use es_core::failpoint;
use parking_lot::Mutex;
use rusqlite::{Connection, Params, Result, TransactionBehavior, params};

use super::Rung;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS deliveries (
    endpoint TEXT NOT NULL,
    message TEXT NOT NULL,
    times INTEGER NOT NULL,
    PRIMARY KEY (endpoint, message)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox (
    endpoint TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (endpoint, message)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (
    id INTEGER PRIMARY KEY,
    endpoint TEXT NOT NULL,
    bell INTEGER NOT NULL,
    place INTEGER NOT NULL,
    number INTEGER NOT NULL,
    UNIQUE (endpoint, bell, place)
);
";
const NOTE: &str = "
INSERT INTO deliveries (endpoint, message, times) VALUES (?, ?, 1)
ON CONFLICT DO UPDATE SET times = times + 1
";
const ENTER: &str = "INSERT OR IGNORE INTO inbox (endpoint, message) VALUES (?, ?)";
const EFFECT: &str = "
INSERT INTO effects (endpoint, bell, place, number)
SELECT ?1, ?2, coalesce(max(place), 0) + 1, ?3
FROM effects
WHERE endpoint = ?1 AND bell = ?2
";

/// What a handler does, in a file: the effect, and the entry of the inbox in the same
/// transaction.
#[derive(Debug)]
pub struct Inbox {
    connection: Mutex<Connection>,
    entry: Entry,
}

/// Whether a message that was entered is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// As it should be.
    Asked,
    /// It is done again.
    Ignored,
}

impl Inbox {
    /// Whose inbox it is.
    pub const ENDPOINT: &'static str = "ears";

    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// Those of SQLite, as all that is done with it.
    pub fn open(file: &Path, entry: Entry) -> Result<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(Duration::from_secs(30))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // Programs are killed, the machine is not.
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(TABLES)?;
        Ok(Self { connection: Mutex::new(connection), entry })
    }

    /// Notes that the message was delivered once more.
    pub fn note(&self, message: &str) -> Result<()> {
        let connection = self.connection.lock();
        connection.prepare_cached(NOTE)?.execute((Self::ENDPOINT, message)).map(drop)
    }

    /// Does what follows from the message, unless that was done.
    pub fn enter(&self, message: &str, rung: Rung) -> Result<()> {
        let mut connection = self.connection.lock();
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let is_new = tx.prepare_cached(ENTER)?.execute((Self::ENDPOINT, message))? == 1;
        if is_new || self.entry == Entry::Ignored {
            let Rung { bell, number } = rung;
            let row = params![Self::ENDPOINT, bell.cast_signed(), number.cast_signed()];
            tx.prepare_cached(EFFECT)?.execute(row)?;
        }
        failpoint!("inbox.before_commit");
        tx.commit()?;
        failpoint!("inbox.after_commit");
        Ok(())
    }

    /// The effects, those of each bell in their order.
    pub fn effects(&self) -> Result<Vec<Rung>> {
        let connection = self.connection.lock();
        let mut select =
            connection.prepare("SELECT bell, number FROM effects ORDER BY bell, place")?;
        let rung = |row: &rusqlite::Row<'_>| {
            let [bell, number] = [row.get::<_, i64>(0)?, row.get(1)?].map(i64::cast_unsigned);
            Ok(Rung { bell, number })
        };
        select.query_map([], rung)?.collect()
    }

    /// How many effects there are.
    pub fn count(&self) -> Result<u64> {
        self.number("SELECT coalesce(max(id), 0) FROM effects", ())
    }

    /// How many bells were heard for this time.
    pub fn heard(&self, number: u64) -> Result<u64> {
        self.number(
            "SELECT count(DISTINCT bell) FROM effects WHERE number = ?",
            [number.cast_signed()],
        )
    }

    /// How many messages were delivered more than once.
    pub fn repeated(&self) -> Result<u64> {
        self.number("SELECT count(*) FROM deliveries WHERE times > 1", ())
    }

    fn number(&self, sql: &str, bound: impl Params) -> Result<u64> {
        let connection = self.connection.lock();
        let mut select = connection.prepare_cached(sql)?;
        select.query_row(bound, |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    }
}
