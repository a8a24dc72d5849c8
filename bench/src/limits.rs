//! What the machine can do: the least work that would give the same result.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::{Result, ensure};
use parking_lot::Mutex;
use rusqlite::{Connection, Statement, params};

use crate::{
    domain::{ACCOUNTS, Account, AccountEvent, account},
    measure::{Measured, Xorshift, repeat, timed},
    stores::Kind,
};
use gesta::{Codec, Event, Evolve};

const TABLE: &str = "CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    version INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX events_stream ON events (stream, version);";
const INSERT: &str = "INSERT INTO events (position, stream, version, payload) VALUES (?, ?, ?, ?)";

/// Gesta's `wal_autocheckpoint` and `cache_size`: the limit is not to differ in
/// settings, only in work.
const CHECKPOINT_PAGES: i64 = 4_000;
const CACHE: i64 = -32 * 1024;

/// The table of events without anything around it, with Gesta's settings.
struct Raw {
    connection: Connection,
    synchronous: i64,
}

impl Raw {
    fn open(file: &Path, kind: Kind) -> Result<Self> {
        let connection = Connection::open(file)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", kind.pragma())?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        connection.pragma_update(None, "cache_size", CACHE)?;
        let synchronous = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        ensure!(synchronous == kind.pragma(), "synchronous is {synchronous}");
        connection.execute_batch(TABLE)?;
        Ok(Self { connection, synchronous })
    }

    fn note(&self) -> String {
        format!("synchronous={}", self.synchronous)
    }
}

/// Inserts rows of streams in any order.
struct Inserter<'c> {
    insert: Statement<'c>,
    versions: Vec<i64>,
    position: i64,
    payload: Vec<u8>,
}

impl<'c> Inserter<'c> {
    fn new(raw: &'c Raw) -> Result<Self> {
        let insert = raw.connection.prepare(INSERT)?;
        Ok(Self { insert, versions: vec![0; ACCOUNTS], position: 0, payload: payload()? })
    }

    fn insert(&mut self, stream: usize) -> Result<()> {
        self.position += 1;
        self.versions[stream] += 1;
        let row =
            params![self.position, i64::try_from(stream)?, self.versions[stream], &self.payload];
        self.insert.execute(row)?;
        Ok(())
    }
}

pub(crate) fn payload() -> Result<Vec<u8>> {
    Ok(Codec::Json.encode(&AccountEvent::deposited(7))?.to_vec())
}

/// Bytes of one stored event.
pub(crate) fn payload_bytes() -> usize {
    payload().map_or(0, |payload| payload.len())
}

/// Inserts so many rows a transaction, into streams by chance.
pub(crate) fn insert(file: &Path, kind: Kind, rows: u32, seconds: f64) -> Result<Measured> {
    let raw = Raw::open(file, kind)?;
    let mut inserter = Inserter::new(&raw)?;
    let mut random = Xorshift::seeded(0);
    let latencies = repeat(seconds, || {
        if rows == 1 {
            return inserter.insert(random.below(ACCOUNTS));
        }
        raw.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        (0..rows).try_for_each(|_| inserter.insert(random.below(ACCOUNTS)))?;
        raw.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    })?;
    Ok(Measured::of_steps(latencies, rows)?.note(raw.note()))
}

/// Inserts 100 batches of 1,000 rows, each batch into one stream.
pub(crate) fn bulk(file: &Path, kind: Kind) -> Result<Measured> {
    let raw = Raw::open(file, kind)?;
    let mut inserter = Inserter::new(&raw)?;
    let mut latencies = Vec::new();
    for stream in 0..100 {
        let (latency, done) = timed(|| {
            raw.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            (0..1_000).try_for_each(|_| inserter.insert(stream))?;
            raw.connection.prepare_cached("COMMIT")?.execute([])?;
            anyhow::Ok(())
        });
        done?;
        latencies.push(latency);
    }
    Ok(Measured::of_steps(latencies, 1_000)?.note(raw.note()))
}

/// What is done with each row that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Copy,
    DecodeAndFold,
}

/// Reads one stream of so many rows, again and again.
pub(crate) fn read_stream(file: &Path, rows: u32, then: Then, seconds: f64) -> Result<Measured> {
    const STREAM: &str = "SELECT position, stream, version, payload FROM events \
         WHERE stream = ? AND version > 0 ORDER BY version";
    let raw = Raw::open(file, Kind::Full)?;
    fill(&raw, rows, |_| 0)?;
    let mut select = raw.connection.prepare(STREAM)?;
    let latencies = repeat(seconds, || {
        let mut found = select.query([0])?;
        let (mut copies, mut folded) = (Vec::new(), Account::default());
        while let Some(row) = found.next()? {
            let payload = row.get_ref(3)?.as_blob()?;
            match then {
                Then::Copy => copies.push((row.get::<_, i64>(2)?, payload.to_vec())),
                Then::DecodeAndFold => folded.evolve(&decode(payload)?),
            }
        }
        let count = copies.len() as u64 + folded.deposits;
        ensure!(count == u64::from(rows), "{count} rows were read");
        Ok(())
    })?;
    Measured::of_steps(latencies, 1)
}

/// Reads the one stream of a file that Gesta has written, with all its columns.
pub(crate) fn read_whole_rows(file: &Path, rows: u32, seconds: f64) -> Result<Measured> {
    const STREAM: &str = "SELECT e.position, e.stream, e.version, e.kind, e.recorded_at, e.ids, \
         e.tags, e.metadata, e.payload FROM stream_runs r CROSS JOIN events e \
         ON e.position BETWEEN r.position AND r.position + r.events - 1 \
         WHERE r.stream = 1 ORDER BY r.version, e.position";
    let connection = Connection::open(file)?;
    connection.pragma_update(None, "cache_size", CACHE)?;
    let mut select = connection.prepare(STREAM)?;
    let latencies = repeat(seconds, || {
        let mut found = select.query([])?;
        let mut copies = Vec::new();
        while let Some(row) = found.next()? {
            let numbers: [i64; 5] =
                [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
            let ids: [u8; 32] = row.get(5)?;
            let texts: [Option<String>; 2] = [row.get(6)?, row.get(7)?];
            copies.push((numbers, ids, texts, row.get_ref(8)?.as_blob()?.to_vec()));
        }
        ensure!(copies.len() == usize::try_from(rows)?, "{} rows were read", copies.len());
        Ok(())
    })?;
    Measured::of_steps(latencies, 1)
}

/// Reads the whole log, accounts in turn, and adds up each account.
pub(crate) fn read_log(file: &Path, rows: u32) -> Result<Measured> {
    const LOG: &str = "SELECT position, stream, version, payload FROM events \
         WHERE position > 0 ORDER BY position";
    let raw = Raw::open(file, Kind::Full)?;
    fill(&raw, rows, |row| row % ACCOUNTS)?;
    let mut accounts: HashMap<i64, Account> = HashMap::new();
    let (elapsed, done) = timed(|| {
        let mut select = raw.connection.prepare(LOG)?;
        let mut found = select.query([])?;
        while let Some(row) = found.next()? {
            let event = decode(row.get_ref(3)?.as_blob()?)?;
            accounts.entry(row.get(1)?).or_default().evolve(&event);
        }
        anyhow::Ok(())
    });
    done?;
    ensure!(accounts.len() == ACCOUNTS, "{} accounts were read", accounts.len());
    Measured::of_one(rows, elapsed)
}

fn fill(raw: &Raw, rows: u32, stream: impl Fn(usize) -> usize) -> Result<()> {
    let mut inserter = Inserter::new(raw)?;
    raw.connection.execute_batch("BEGIN IMMEDIATE")?;
    (0..usize::try_from(rows)?).try_for_each(|row| inserter.insert(stream(row)))?;
    raw.connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

fn decode(payload: &[u8]) -> Result<AccountEvent> {
    let index = AccountEvent::index_of("account.deposited").unwrap_or_default();
    Ok(Codec::Json.decode(index, payload)?)
}

#[derive(Default)]
struct Pushed {
    events: Vec<Box<[u8]>>,
    streams: HashMap<Arc<str>, Vec<usize>>,
}

/// Pushes payloads behind one lock, with an index by stream, from so many
/// threads.
pub(crate) fn push(threads: usize, events: u32) -> Result<Measured> {
    let log = Mutex::<Pushed>::default();
    let names: Vec<Arc<str>> = (0..ACCOUNTS).map(|number| account(number).into()).collect();
    let (payload, each) = (payload()?, usize::try_from(events)? / threads);
    let push = |number: usize| {
        let copy: Box<[u8]> = payload.as_slice().into();
        let mut log = log.lock();
        let place = log.events.len();
        log.events.push(copy);
        log.streams.entry(Arc::clone(&names[number % ACCOUNTS])).or_default().push(place);
    };
    let (elapsed, ()) = timed(|| {
        std::thread::scope(|scope| {
            (0..threads).for_each(|_| drop(scope.spawn(|| (0..each).for_each(push))));
        });
    });
    Measured::of_one(events, elapsed)
}
