//! Opens Gesta's stores, and checks that SQLite is set as was asked.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use anyhow::{Context, Result, ensure};
use gesta::{
    EventStore, Name, Views,
    memory::MemoryStore,
    sqlite::{SqliteOptions, SqliteStore, Synchronous},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Full,
    Normal,
}

/// A store of any kind.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn EventStore>,
    sqlite: Option<SqliteStore>,
}

impl Opened {
    /// Waits until its threads have ended, which would else disturb the next.
    pub(crate) async fn close(self) {
        if let Some(sqlite) = self.sqlite {
            sqlite.close().await;
        }
    }
}

impl Kind {
    pub(crate) fn synchronous(self) -> Synchronous {
        match self {
            Self::Full => Synchronous::Full,
            Self::Memory | Self::Normal => Synchronous::Normal,
        }
    }

    /// What `PRAGMA synchronous` answers.
    pub(crate) fn pragma(self) -> i64 {
        match self {
            Self::Full => 2,
            Self::Memory | Self::Normal => 1,
        }
    }

    pub(crate) async fn open(self, file: &Path) -> Result<Opened> {
        if self == Self::Memory {
            return Ok(Opened { store: Arc::new(MemoryStore::new()), sqlite: None });
        }
        let sqlite = self.open_sqlite(file).await?;
        Ok(Opened { store: Arc::new(sqlite.clone()), sqlite: Some(sqlite) })
    }

    pub(crate) async fn open_sqlite(self, file: &Path) -> Result<SqliteStore> {
        let store = SqliteOptions::new(file).synchronous(self.synchronous()).open().await?;
        let name = Name::new("pragma")?;
        let (mut tx, seen) = store.begin(&name).await?;
        let (answer, answered) = mpsc::sync_channel(1);
        tx.run(move |writer| {
            let found = writer.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))?;
            let _ = answer.send(found);
            Ok(())
        });
        store.commit(&name, tx, Vec::new(), seen, seen.taken_over()).await?;
        let found = answered.try_recv().context("the pragma was not asked")?;
        ensure!(found == self.pragma(), "synchronous is {found}");
        Ok(store)
    }
}
