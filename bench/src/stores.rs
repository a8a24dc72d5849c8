//! Opens Gesta's stores, and checks that SQLite is set as was asked.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use anyhow::{Context, Result, ensure};
use gesta::{
    BuildChange, Builds, Changes, EventStore, InlineViews, Name, Part, Slices, View, Views,
    memory::MemoryStore,
    postgres::PostgresStore,
    sqlite::{SqliteOptions, SqliteStore, Synchronous},
};

use crate::{domain::Balance, postgres::Schema};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Memory,
    Full,
    Normal,
    Postgres,
}

/// A store of any kind.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn EventStore>,
    sqlite: Option<SqliteStore>,
    postgres: Option<(PostgresStore, Schema)>,
}

impl Opened {
    /// Waits until its threads have ended, which would else disturb the next.
    pub(crate) async fn close(self) {
        if let Some(sqlite) = self.sqlite {
            sqlite.close().await;
        }
        if let Some((postgres, schema)) = self.postgres {
            postgres.close().await;
            schema.leave().await;
        }
    }
}

impl Kind {
    pub(crate) fn synchronous(self) -> Synchronous {
        match self {
            Self::Full => Synchronous::Full,
            Self::Memory | Self::Normal | Self::Postgres => Synchronous::Normal,
        }
    }

    /// What `PRAGMA synchronous` answers.
    pub(crate) fn pragma(self) -> i64 {
        match self {
            Self::Full => 2,
            Self::Memory | Self::Normal | Self::Postgres => 1,
        }
    }

    pub(crate) async fn open(self, file: &Path) -> Result<Opened> {
        if self == Self::Memory {
            let store = Arc::new(MemoryStore::new());
            return Ok(Opened { store, sqlite: None, postgres: None });
        }
        if self == Self::Postgres {
            let schema = Schema::new().await?;
            let postgres = schema.store().await?;
            let store = Arc::new(postgres.clone());
            return Ok(Opened { store, sqlite: None, postgres: Some((postgres, schema)) });
        }
        let sqlite = self.open_sqlite(file).await?;
        Ok(Opened { store: Arc::new(sqlite.clone()), sqlite: Some(sqlite), postgres: None })
    }

    /// A store whose appends keep the balances.
    pub(crate) async fn open_inline(self, file: &Path) -> Result<Opened> {
        let inline = InlineViews::new().view::<Balance>();
        let balances = Name::from_static(Balance::NAME);
        let (mut sqlite, mut postgres) = (None, None);
        let store: Arc<dyn EventStore> = match self {
            Self::Postgres => {
                let schema = Schema::new().await?;
                let store = schema.options().inline(inline).open().await?;
                store.change(BuildChange::begin(balances.clone(), 1)).await?;
                store.keep_inline(&balances).await?;
                postgres = Some((store.clone(), schema));
                Arc::new(store)
            }
            _ => {
                let options = SqliteOptions::new(file).synchronous(self.synchronous());
                let store = options.inline(inline).open().await?;
                store.change(BuildChange::begin(balances.clone(), 1)).await?;
                store.keep_inline(&balances).await?;
                sqlite = Some(store.clone());
                Arc::new(store)
            }
        };
        Ok(Opened { store, sqlite, postgres })
    }

    pub(crate) async fn open_sqlite(self, file: &Path) -> Result<SqliteStore> {
        let store = SqliteOptions::new(file).synchronous(self.synchronous()).open().await?;
        let asking = Part::new(Name::new("pragma")?, 1, Slices::ALL);
        if store.builds(std::slice::from_ref(&asking.model)).await?.is_empty() {
            store.change(BuildChange::begin(asking.model.clone(), 1)).await?;
        }
        let (mut tx, seen) = store.begin(&asking).await?;
        let (answer, answered) = mpsc::sync_channel(1);
        tx.run(move |writer| {
            let found = writer.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))?;
            let _ = answer.send(found);
            Ok(())
        });
        store.commit(&asking, tx, Changes::default(), seen, seen.taken_over()).await?;
        let found = answered.try_recv().context("the pragma was not asked")?;
        ensure!(found == self.pragma(), "synchronous is {found}");
        Ok(store)
    }
}
