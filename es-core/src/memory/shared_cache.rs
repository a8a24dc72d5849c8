use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt, future,
    stream::{self, BoxStream},
};
use parking_lot::Mutex;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    CachePlace, CacheStamp, FoundAnswer, Invalidation, LookedUp, Position, SharedCache, StoreError,
    World,
};

/// Most answers that are kept; the oldest go first.
const ANSWERS: usize = 10_000;
/// Most tags whose invalidations are counted; when there are more, everything is
/// invalid once, and they are counted anew.
const TAGS: usize = 100_000;
/// Invalidations that wait for a slow listener, before it is told that it has
/// missed some.
const HEARD: usize = 1_024;

/// A shared cache that lives as long as the process; clones share it. See
/// [`SharedCache`] for an example.
#[derive(Debug, Clone)]
pub struct MemorySharedCache {
    kept: Arc<Mutex<Kept>>,
    told: broadcast::Sender<Invalidation>,
    world: World,
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<String, Answer>,
    /// How often each tag was invalidated; that of everything has no name.
    changes: HashMap<String, u64>,
    puts: u64,
}

#[derive(Debug)]
struct Answer {
    put: u64,
    stamp: CacheStamp,
    as_of: Position,
    value: Bytes,
    until: DateTime<Utc>,
}

impl MemorySharedCache {
    /// An empty cache in the real world.
    pub fn new() -> Self {
        Self::in_world(World::real())
    }

    /// An empty cache that takes its time from this world.
    pub fn in_world(world: World) -> Self {
        Self { kept: Arc::default(), told: broadcast::Sender::new(HEARD), world }
    }
}

impl Default for MemorySharedCache {
    fn default() -> Self {
        Self::new()
    }
}

impl Kept {
    fn stamp(&self, place: &CachePlace) -> CacheStamp {
        let changes = |tag: &str| self.changes.get(tag).copied().unwrap_or_default().to_string();
        let each: Vec<_> = place.tags.iter().map(|tag| changes(tag)).collect();
        CacheStamp::new(format!("{}|{}", changes(""), each.join(",")))
    }

    fn change(&mut self, tag: &str) {
        if self.changes.len() >= TAGS {
            let everything = self.changes.get("").copied().unwrap_or_default();
            self.changes.clear();
            self.changes.insert(String::new(), everything + 1);
        }
        *self.changes.entry(tag.to_owned()).or_default() += 1;
    }

    /// The answer at this place, if it is to be found.
    fn found(&self, place: &CachePlace, now: DateTime<Utc>) -> Option<&Answer> {
        let stamp = self.stamp(place);
        let answer = self.answers.get(&place.key);
        answer.filter(|answer| answer.until > now && answer.stamp == stamp)
    }

    fn make_room(&mut self) {
        while self.answers.len() > ANSWERS {
            let oldest = self.answers.iter().min_by_key(|(_, answer)| answer.put);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { return };
            self.answers.remove(&oldest);
        }
    }
}

#[async_trait]
impl SharedCache for MemorySharedCache {
    async fn get(&self, place: &CachePlace) -> Result<LookedUp, StoreError> {
        let (now, kept) = (self.world.now(), self.kept.lock());
        let found = kept.found(place, now).map(|answer| FoundAnswer {
            as_of: answer.as_of,
            value: answer.value.clone(),
            left: (answer.until - now).to_std().unwrap_or_default(),
        });
        Ok(LookedUp { found, stamp: kept.stamp(place) })
    }

    async fn put(
        &self,
        place: &CachePlace,
        stamp: &CacheStamp,
        as_of: Position,
        value: Bytes,
    ) -> Result<(), StoreError> {
        let (now, mut kept) = (self.world.now(), self.kept.lock());
        let is_younger = |answer: &Answer| answer.as_of > as_of;
        if *stamp != kept.stamp(place) || kept.found(place, now).is_some_and(is_younger) {
            return Ok(());
        }
        let until = now + place.ttl;
        kept.puts += 1;
        let answer = Answer { put: kept.puts, stamp: stamp.clone(), as_of, value, until };
        kept.answers.insert(place.key.clone(), answer);
        kept.make_room();
        Ok(())
    }

    async fn invalidate(&self, invalidation: &Invalidation) -> Result<(), StoreError> {
        let mut kept = self.kept.lock();
        match invalidation {
            Invalidation::Tags { tags, .. } => tags.iter().for_each(|tag| kept.change(tag)),
            Invalidation::Everything => kept.change(""),
        }
        drop(kept);
        // Nobody may be listening.
        let _ = self.told.send(invalidation.clone());
        Ok(())
    }

    fn listen(&self) -> BoxStream<'static, Invalidation> {
        let first = stream::once(future::ready(Invalidation::Everything));
        let then = stream::unfold(self.told.subscribe(), |mut told| async move {
            match told.recv().await {
                Ok(invalidation) => Some((invalidation, told)),
                Err(RecvError::Lagged(_)) => Some((Invalidation::Everything, told)),
                Err(RecvError::Closed) => None,
            }
        });
        first.chain(then).boxed()
    }
}
