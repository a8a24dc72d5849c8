use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use es_core::{
    CachePlace, CacheStamp, Invalidation, LookedUp, Position, SharedCache, StoreError, World,
};
use futures_util::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::warn;

/// How long a query waits for the shared cache: it is only a cache.
const WITHIN: Duration = Duration::from_millis(250);
/// For so long it is left alone after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Invalidations that wait to be told; if there are more, everything is invalid.
const QUEUE: usize = 1_024;

/// A cache that other processes share, and that may be gone or slow at any time.
pub(super) struct Shared {
    cache: Arc<dyn SharedCache>,
    world: World,
    left_alone_until: Mutex<DateTime<Utc>>,
    /// How often an invalidation may have been lost, and how many of these were
    /// made up for. Until then nothing of it can be trusted.
    owed: AtomicU64,
    paid: AtomicU64,
    queue: mpsc::Sender<Invalidation>,
    queued: tokio::sync::Mutex<mpsc::Receiver<Invalidation>>,
}

impl Shared {
    pub(super) fn new(cache: Arc<dyn SharedCache>, world: World) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE);
        Self {
            cache,
            world,
            left_alone_until: Mutex::new(DateTime::UNIX_EPOCH),
            owed: AtomicU64::new(0),
            paid: AtomicU64::new(0),
            queue,
            queued: queued.into(),
        }
    }

    /// What it holds; nothing if it cannot be had soon.
    pub(super) async fn get(&self, place: &CachePlace) -> Option<LookedUp> {
        if self.owes() || self.world.now() < *self.left_alone_until.lock() {
            return None;
        }
        self.soon(self.cache.get(place)).await
    }

    pub(super) async fn put(
        &self,
        place: &CachePlace,
        stamp: &CacheStamp,
        as_of: Position,
        value: Bytes,
    ) {
        self.soon(self.cache.put(place, stamp, as_of, value)).await;
    }

    async fn soon<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
        let outcome = tokio::select! {
            biased;
            outcome = work => outcome.map_err(|error| warn!(%error, "the shared cache failed")),
            () = self.world.sleep(WITHIN) => {
                warn!(within = ?WITHIN, "the shared cache did not answer");
                Err(())
            }
        };
        if outcome.is_err() {
            *self.left_alone_until.lock() = self.world.now() + PAUSE;
        }
        outcome.ok()
    }

    /// What others invalidate, and what comes back of our own.
    pub(super) fn hear(&self) -> BoxStream<'static, Invalidation> {
        self.cache.listen()
    }

    /// Leaves an invalidation to [`telling`](Self::telling).
    pub(super) fn tell(&self, invalidation: Invalidation) {
        if self.queue.try_send(invalidation).is_err() {
            self.owe();
        }
    }

    /// Tells the others what is invalid, for ever. What could not be told is owed,
    /// and made up for by an invalidation of everything.
    pub(super) async fn telling(&self) {
        let mut queued = self.queued.lock().await;
        while let Some(invalidation) = queued.recv().await {
            if self.soon(self.cache.invalidate(&invalidation)).await.is_none() {
                self.owe();
            }
            while self.owes() {
                self.pay().await;
            }
        }
    }

    async fn pay(&self) {
        let owed = self.owed.load(Ordering::SeqCst);
        match self.soon(self.cache.invalidate(&Invalidation::Everything)).await {
            Some(()) => self.paid.store(owed, Ordering::SeqCst),
            None => self.world.sleep(PAUSE).await,
        }
    }

    fn owe(&self) {
        self.owed.fetch_add(1, Ordering::SeqCst);
    }

    fn owes(&self) -> bool {
        self.owed.load(Ordering::SeqCst) != self.paid.load(Ordering::SeqCst)
    }
}
