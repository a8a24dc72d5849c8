use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use es_core::{CachePlace, CacheStamp, Invalidation, LookedUp, Position, SharedCache, StoreError};
use futures_util::stream::BoxStream;

/// Counts what is found: a cache that never has anything breaks no promise.
pub(crate) struct Counted<C> {
    cache: C,
    pub(crate) found: Arc<AtomicU64>,
}

impl<C> Counted<C> {
    pub(crate) fn new(cache: C) -> Self {
        Self { cache, found: Arc::default() }
    }
}

#[async_trait]
impl<C: SharedCache> SharedCache for Counted<C> {
    async fn get(&self, place: &CachePlace) -> Result<LookedUp, StoreError> {
        let looked = self.cache.get(place).await?;
        self.found.fetch_add(u64::from(looked.found.is_some()), Ordering::Relaxed);
        Ok(looked)
    }

    async fn put(
        &self,
        place: &CachePlace,
        stamp: &CacheStamp,
        as_of: Position,
        value: bytes::Bytes,
    ) -> Result<(), StoreError> {
        self.cache.put(place, stamp, as_of, value).await
    }

    async fn invalidate(&self, invalidation: &Invalidation) -> Result<(), StoreError> {
        self.cache.invalidate(invalidation).await
    }

    fn listen(&self) -> BoxStream<'static, Invalidation> {
        self.cache.listen()
    }
}
