//! The server that everybody is measured on, and what it can do: the least work
//! that would give the same result, through the fastest driver.

use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, pin_mut};
use gesta::postgres::{PostgresOptions, PostgresStore};
use tokio_postgres::{Client as Session, NoTls, Statement};

use crate::{
    domain::{ACCOUNTS, account},
    limits::payload,
    measure::{Client, Measured, Xorshift, drive, on_runtime, timed_async},
};

/// Where the server is.
pub(crate) fn url() -> String {
    let url = std::env::var("GESTA_POSTGRES_URL");
    url.unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".into())
}

#[expect(clippy::disallowed_methods, reason = "a program may start tasks as it likes")]
pub(crate) async fn connect() -> Result<Session> {
    let (session, connection) = tokio_postgres::connect(&url(), NoTls).await?;
    tokio::spawn(connection);
    Ok(session)
}

/// What the server says of itself.
pub(crate) fn facts() -> Result<String> {
    const NAMES: [&str; 7] = [
        "server_version",
        "fsync",
        "synchronous_commit",
        "wal_sync_method",
        "shared_buffers",
        "max_wal_size",
        "max_connections",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let session = connect().await?;
        let mut facts = Vec::new();
        for name in NAMES {
            let row = session.query_one("SELECT current_setting($1)", &[&name]).await?;
            let value: String = row.get(0);
            ensure!(name != "fsync" || value == "on", "fsync is {value}");
            ensure!(name != "synchronous_commit" || value != "off", "synchronous_commit is off");
            facts.push(format!("{name}={value}"));
        }
        Ok(facts.join(", "))
    })
}

/// A schema of its own for each turn.
pub(crate) struct Schema {
    name: String,
    session: Session,
}

impl Schema {
    pub(crate) async fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gesta_bench_{}_{number}", process::id());
        Ok(Self { name, session: connect().await? })
    }

    /// One that somebody else has made, and drops.
    pub(crate) async fn named(name: String) -> Result<Self> {
        Ok(Self { name, session: connect().await? })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) async fn store(&self) -> Result<PostgresStore> {
        Ok(self.options().open().await?)
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        // As the limits and the peers do: encryption is not what is measured.
        let join = if url().contains('?') { '&' } else { '?' };
        let url = format!("{}{join}sslmode=disable", url());
        PostgresOptions::new(url).schema(&self.name)
    }

    pub(crate) async fn run(&self, sql: &str) -> Result<()> {
        Ok(self.session.batch_execute(sql).await?)
    }

    pub(crate) async fn number(&self, sql: &str) -> Result<i64> {
        Ok(self.session.query_one(sql, &[]).await?.get(0))
    }

    /// What of a log is told to others: some events behind a position.
    pub(crate) async fn page(&self, after: i64, limit: i64) -> Result<Vec<(i64, Vec<u8>)>> {
        let sql = format!(
            "SELECT position, stream, type, id, recorded_at, metadata, payload FROM {}.events \
             WHERE position > $1 ORDER BY position LIMIT $2",
            self.name
        );
        let rows = self.session.query(&sql, &[&after, &limit]).await?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(6))).collect())
    }

    /// The table of events without anything around it.
    async fn raw(&self) -> Result<()> {
        let name = &self.name;
        let sql = format!(
            "CREATE SCHEMA {name}; CREATE TABLE {name}.raw (position bigserial PRIMARY KEY, \
             stream text NOT NULL, version bigint NOT NULL, payload bytea NOT NULL)"
        );
        Ok(self.session.batch_execute(&sql).await?)
    }

    pub(crate) async fn leave(self) {
        let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name);
        let _ = self.session.batch_execute(&drop).await;
    }
}

/// Does something in a schema that goes away after it.
fn in_schema<F, T>(work: F) -> Result<Measured>
where
    F: FnOnce(Arc<Schema>) -> T + Send + 'static,
    T: Future<Output = Result<Measured>> + Send,
{
    on_runtime(async move {
        let schema = Arc::new(Schema::new().await?);
        let measured = work(Arc::clone(&schema)).await;
        if let Ok(schema) = Arc::try_unwrap(schema).map_err(drop) {
            schema.leave().await;
        }
        measured
    })
}

/// One row a statement, each of so many clients on a connection of its own.
pub(crate) fn insert(clients: usize, seconds: f64) -> Result<Measured> {
    in_schema(move |schema| async move {
        schema.raw().await?;
        let name = &schema.name;
        let sql = format!("INSERT INTO {name}.raw (stream, version, payload) VALUES ($1, $2, $3)");
        let mut inserters = Vec::new();
        for number in 0..clients {
            let session = connect().await?;
            let insert = session.prepare(&sql).await?;
            let (random, payload) = (Xorshift::seeded(number), payload()?);
            inserters.push(Inserter { session, insert, random, payload, version: 0 });
        }
        Ok(drive(inserters, seconds).await?.0)
    })
}

struct Inserter {
    session: Session,
    insert: Statement,
    random: Xorshift,
    payload: Vec<u8>,
    version: i64,
}

impl Client for Inserter {
    async fn send(&mut self) -> Result<()> {
        self.version += 1;
        let stream = account(self.random.below(ACCOUNTS));
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&stream, &self.version, &self.payload];
        self.session.execute(&self.insert, &row).await?;
        Ok(())
    }
}

/// 100 statements of 1,000 rows each, from arrays.
pub(crate) fn unnest() -> Result<Measured> {
    in_schema(|schema| async move {
        schema.raw().await?;
        let sql = format!(
            "INSERT INTO {}.raw (stream, version, payload) \
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[])",
            schema.name
        );
        let insert = schema.session.prepare(&sql).await?;
        let versions: Vec<i64> = (1..=1_000).collect();
        let payloads = vec![payload()?; 1_000];
        let inserting = async {
            for number in 0..100 {
                let streams = vec![account(number); 1_000];
                schema.session.execute(&insert, &[&streams, &versions, &payloads]).await?;
            }
            Ok(())
        };
        let (elapsed, ()) = timed_async(inserting).await?;
        Measured::of_one(100_000, elapsed)
    })
}

/// Reads the one stream of a store that Gesta has written, with all columns.
pub(crate) fn read_whole_rows(
    rows: u32,
    seconds: f64,
    fill: impl AsyncFnOnce(&PostgresStore) -> Result<()>,
) -> Result<Measured> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let schema = Schema::new().await?;
        let store = schema.store().await?;
        fill(&store).await?;
        store.close().await;
        let sql = format!(
            "SELECT position, version, type, schema_version, content_type, id, append_id, recorded_at, tags, \
             metadata, payload FROM {}.events \
             WHERE tenant = 'default' AND stream = $1 ORDER BY version",
            schema.name
        );
        let session = connect().await?;
        let select = session.prepare(&sql).await?;
        let reader = Reader { session, select, rows: usize::try_from(rows)? };
        let measured = drive(vec![reader], seconds).await?.0;
        schema.leave().await;
        Ok(measured)
    })
}

/// A statement that does nothing, again and again.
pub(crate) fn round_trip(seconds: f64) -> Result<Measured> {
    on_runtime(async move {
        let session = connect().await?;
        let nothing = session.prepare("SELECT 1").await?;
        Ok(drive(vec![Idler { session, nothing }], seconds).await?.0)
    })
}

struct Idler {
    session: Session,
    nothing: Statement,
}

impl Client for Idler {
    async fn send(&mut self) -> Result<()> {
        self.session.query_one(&self.nothing, &[]).await?;
        Ok(())
    }
}

struct Reader {
    session: Session,
    select: Statement,
    rows: usize,
}

impl Client for Reader {
    async fn send(&mut self) -> Result<()> {
        let stream = format!("account-{}", account(0));
        let found = self.session.query_raw(&self.select, [&stream]).await?;
        pin_mut!(found);
        let mut copies = Vec::new();
        while let Some(row) = found.try_next().await? {
            let numbers: (i64, i64, i64) = (row.get(0), row.get(1), row.get(3));
            copies.push((numbers, row.get::<_, &[u8]>(10).to_vec()));
        }
        ensure!(copies.len() == self.rows, "{} rows were read", copies.len());
        Ok(())
    }
}

/// All rows of the log as the server copies them out.
pub(crate) async fn copy_out(schema: &Schema) -> Result<u64> {
    let sql = format!("COPY {}.events TO STDOUT (FORMAT binary)", schema.name);
    let copied = schema.session.copy_out(&sql).await?;
    pin_mut!(copied);
    let mut bytes = 0;
    while let Some(chunk) = copied.next().await {
        bytes += chunk?.len() as u64;
    }
    Ok(bytes)
}
