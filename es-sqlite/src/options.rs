use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use es_core::{Durability, Inline, StoreError, World};

use crate::SqliteStore;

/// How to open a store.
///
/// ```
/// use es_sqlite::{SqliteOptions, Synchronous};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let store = SqliteOptions::new(folder.path().join("bank.db"))
///     .synchronous(Synchronous::Normal)
///     .open()
///     .await?;
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    pub(crate) path: PathBuf,
    pub(crate) synchronous: Synchronous,
    pub(crate) readers: usize,
    pub(crate) busy_timeout: Duration,
    pub(crate) cache_bytes: usize,
    pub(crate) queue: usize,
    pub(crate) poll: Duration,
    pub(crate) spin: Duration,
    pub(crate) world: World,
    pub(crate) inline: Option<Arc<dyn Inline>>,
}

/// How hard SQLite presses the operating system at each commit.
///
/// ```
/// use es_core::Durability;
/// use es_sqlite::Synchronous;
///
/// assert_eq!(Synchronous::default().durability(), Durability::Fsync);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Each commit is on the disk before it is acknowledged.
    #[default]
    Full,
    /// A crash of the process loses nothing, one of the machine may lose the
    /// last commits; several times faster.
    Normal,
}

impl Synchronous {
    /// What an acknowledged append is worth.
    pub fn durability(self) -> Durability {
        match self {
            Self::Full => Durability::Fsync,
            Self::Normal => Durability::OsBuffered,
        }
    }
}

impl SqliteOptions {
    /// The store in this file, which is made if it is not there.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            synchronous: Synchronous::Full,
            readers: 2,
            busy_timeout: Duration::from_secs(5),
            cache_bytes: 16 * 1024 * 1024,
            queue: 4_096,
            poll: Duration::from_millis(50),
            spin: Duration::from_micros(200),
            world: World::real(),
            inline: None,
        }
    }

    /// Sets how hard each commit is pressed to the disk; full by default.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// Sets how many connections read at once; 2 by default.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// Sets how long to wait for a lock that another process holds; 5 seconds
    /// by default.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Sets how many appends may wait for the writer; 4,096 by default. Further
    /// ones wait until there is room.
    #[must_use]
    pub fn queue(mut self, appends: usize) -> Self {
        self.queue = appends.max(1);
        self
    }

    /// Sets how often followers look for what other processes wrote; 50 ms by
    /// default. What this process writes wakes them at once.
    #[must_use]
    pub fn poll(mut self, interval: Duration) -> Self {
        self.poll = interval;
        self
    }

    /// Sets for how long the writer and the one caller that found it idle look
    /// for each other before they sleep; 200 microseconds by default, zero to
    /// sleep at once. A single client is about twice as fast with it, and pays
    /// with that much of a core for each append.
    #[must_use]
    pub fn spin(mut self, duration: Duration) -> Self {
        self.spin = duration;
        self
    }

    /// Sets where time comes from.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// Sets the read models whose rows can change with each append: see [`Inline`].
    #[must_use]
    pub fn inline(mut self, models: impl Inline) -> Self {
        self.inline = Some(Arc::new(models));
        self
    }

    /// Opens the store, and makes or migrates the file.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: `Corrupt` for a file that is damaged or no database,
    /// `Schema` for one that a newer program or another application made,
    /// `Unavailable` if it cannot be opened, `Busy` if it stays locked.
    pub async fn open(self) -> Result<SqliteStore, StoreError> {
        SqliteStore::start(self).await
    }
}
