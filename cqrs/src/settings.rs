use std::{fmt, marker::PhantomData, sync::Arc};

use es_core::{Aggregate, EventStore, LoadError, Loaded, Snapshotting, StreamId};
use futures_util::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};

type Load<A> = Arc<
    dyn for<'a> Fn(&'a dyn EventStore, &'a StreamId) -> BoxFuture<'a, Result<Loaded<A>, LoadError>>
        + Send
        + Sync,
>;

/// How the commands of one type of aggregate are carried out.
///
/// ```
/// use cqrs::{Commands, Settings};
/// use es_core::memory::MemoryStore;
/// # use cqrs::{Aggregate, Event, Evolve};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Event)]
/// # #[event(prefix = "door")]
/// # enum DoorEvent { Opened }
/// # #[derive(Default, Aggregate)]
/// # struct Door;
/// # impl Evolve for Door { type Event = DoorEvent; fn evolve(&mut self, _: &DoorEvent) {} }
///
/// let settings = Settings::<Door>::new().cache(10_000).attempts(8);
/// let commands = Commands::builder(MemoryStore::new()).aggregate(settings)?.build();
/// # Ok::<(), cqrs::NameClaimedTwice>(())
/// ```
pub struct Settings<A> {
    pub(crate) cache: usize,
    pub(crate) attempts: u32,
    pub(crate) queue: usize,
    pub(crate) fold: usize,
    pub(crate) load: Load<A>,
    aggregate: PhantomData<fn() -> A>,
}

impl<A: Aggregate> Settings<A> {
    /// No cache, no snapshots, 16 attempts, up to 1,024 waiting commands and 64
    /// in one append for each aggregate.
    pub fn new() -> Self {
        let load: Load<A> = Arc::new(|store, stream| {
            Box::pin(async move {
                let mut loaded = Loaded::default();
                loaded.catch_up(store, stream).await?;
                Ok(loaded)
            })
        });
        Self { cache: 0, attempts: 16, queue: 1_024, fold: 64, load, aggregate: PhantomData }
    }

    /// Keeps this many loaded aggregates in memory. They are where a decision
    /// begins, never its proof: the append, or a look at the stream, verifies.
    #[must_use]
    pub fn cache(mut self, aggregates: usize) -> Self {
        self.cache = aggregates;
        self
    }

    /// Sets how often a command is decided before it counts as contended.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Sets how many commands may wait for one aggregate.
    #[must_use]
    pub fn queue(mut self, commands: usize) -> Self {
        self.queue = commands.max(1);
        self
    }

    /// Sets how many waiting commands of one aggregate go into one append.
    #[must_use]
    pub fn fold(mut self, commands: usize) -> Self {
        self.fold = commands.max(1);
        self
    }

    /// Loads through snapshots.
    #[must_use]
    pub fn snapshots(mut self, snapshotting: Snapshotting) -> Self
    where
        A: Serialize + DeserializeOwned,
    {
        self.load = Arc::new(move |store, stream| {
            let snapshotting = snapshotting.clone();
            Box::pin(async move { snapshotting.load(store, stream).await })
        });
        self
    }
}

impl<A: Aggregate> Default for Settings<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> fmt::Debug for Settings<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("cache", &self.cache)
            .field("attempts", &self.attempts)
            .field("queue", &self.queue)
            .field("fold", &self.fold)
            .finish_non_exhaustive()
    }
}
