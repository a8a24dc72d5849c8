//! The command line that all peer programs share.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

pub const USAGE: &str = "usage: peer commands|hot|load|bulk|catchup \
     --store sqlite|memory|postgres --path FILE --sync full|normal --url URL \
     --clients N --events N --seconds S";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    Sqlite,
    Memory,
    Postgres,
}

impl StoreKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Memory => "memory",
            Self::Postgres => "postgres",
        }
    }
}

/// SQLite's `synchronous` setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    Full,
    Normal,
}

impl Durability {
    /// What `PRAGMA synchronous` answers for this setting.
    pub fn pragma_value(self) -> i64 {
        match self {
            Self::Full => 2,
            Self::Normal => 1,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Options {
    pub workload: String,
    pub store: StoreKind,
    pub path: PathBuf,
    pub durability: Durability,
    pub url: String,
    pub clients: usize,
    /// Events in the one stream of `load`.
    pub events: u64,
    pub seconds: f64,
}

impl Options {
    pub fn parse(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            workload: args.next().context(USAGE)?,
            store: StoreKind::Sqlite,
            path: PathBuf::new(),
            durability: Durability::Full,
            url: String::new(),
            clients: 1,
            events: 10_000,
            seconds: 3.0,
        };
        while let Some(flag) = args.next() {
            let value = args.next().with_context(|| format!("{flag} needs a value"))?;
            options.set(&flag, &value)?;
        }
        options.check()
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<()> {
        match (flag, value) {
            ("--store", "sqlite") => self.store = StoreKind::Sqlite,
            ("--store", "memory") => self.store = StoreKind::Memory,
            ("--store", "postgres") => self.store = StoreKind::Postgres,
            ("--sync", "full") => self.durability = Durability::Full,
            ("--sync", "normal") => self.durability = Durability::Normal,
            ("--path", path) => self.path = PathBuf::from(path),
            ("--url", url) => self.url = url.to_owned(),
            ("--clients", count) => self.clients = count.parse().context("--clients")?,
            ("--events", count) => self.events = count.parse().context("--events")?,
            ("--seconds", count) => self.seconds = count.parse().context("--seconds")?,
            _ => bail!("cannot use {flag} {value}\n{USAGE}"),
        }
        Ok(())
    }

    fn check(self) -> Result<Self> {
        if self.clients == 0 || self.events == 0 {
            bail!("--clients and --events must be at least 1");
        }
        if !(self.seconds > 0.0 && self.seconds <= 600.0) {
            bail!("--seconds must lie in 0 to 600");
        }
        if self.store == StoreKind::Sqlite && self.path.as_os_str().is_empty() {
            bail!("--store sqlite needs --path FILE");
        }
        if self.store == StoreKind::Postgres && self.url.is_empty() {
            bail!("--store postgres needs --url URL");
        }
        Ok(self)
    }
}

/// Removes a database file and what SQLite keeps beside it.
pub fn remove_database(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(anyhow!(error)).with_context(|| format!("removing {name:?}"));
            }
            _ => {}
        }
    }
    Ok(())
}
