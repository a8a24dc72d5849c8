use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::{Position, StoreError};

/// A cache of answers that several processes share, in front of their read
/// models and behind what each of them remembers by itself.
///
/// It may lose anything at any time, and may fail: whoever asks goes on without
/// it. What it must never do is hand out what has been invalidated, not even if
/// the answer is put into it after the invalidation. Therefore a reader first
/// [looks up](Self::get), which notes the tags and hands out a stamp of them; then
/// makes the answer; then puts it in under that stamp. Any invalidation in between
/// has changed the stamp of a tag, and the answer is never found.
///
/// ```
/// use std::time::Duration;
/// use es_core::{CachePlace, Invalidation, Position, SharedCache, memory::MemorySharedCache};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = MemorySharedCache::new();
/// let place = CachePlace::new("balance_of ada", Duration::from_secs(300)).tag("accounts/ada");
/// let looked = cache.get(&place).await?;
/// assert!(looked.found.is_none());
/// cache.put(&place, &looked.stamp, Position::new(7), "50".into()).await?;
/// assert_eq!(cache.get(&place).await?.found.map(|found| found.value), Some("50".into()));
///
/// let changed = Invalidation::Tags { tags: vec!["accounts/ada".into()], position: Position::new(8) };
/// cache.invalidate(&changed).await?;
/// assert!(cache.get(&place).await?.found.is_none());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait SharedCache: Send + Sync + 'static {
    /// Looks for an answer that is neither too old nor invalidated, and notes the
    /// tags of the place from now on.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the cache cannot be asked.
    async fn get(&self, place: &CachePlace) -> Result<LookedUp, StoreError>;

    /// Keeps an answer that shows every event at or before `as_of`, for as long as
    /// the place says. It is found as long as none of its tags was invalidated
    /// since the look that has handed out the stamp; a younger answer that is still
    /// found stays.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the cache cannot be asked.
    async fn put(
        &self,
        place: &CachePlace,
        stamp: &CacheStamp,
        as_of: Position,
        value: Bytes,
    ) -> Result<(), StoreError>;

    /// Makes sure that nothing is found any more that bears one of the tags, then
    /// tells all who listen.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if that may not have happened.
    async fn invalidate(&self, invalidation: &Invalidation) -> Result<(), StoreError>;

    /// Tells of every invalidation by anybody, for ever. It begins with
    /// [`Invalidation::Everything`] as soon as it listens, and says so again
    /// whenever it may have missed something.
    fn listen(&self) -> BoxStream<'static, Invalidation>;
}

/// Where an answer is in a [`SharedCache`]: its key, what it was made from, and
/// how long it is kept.
///
/// ```
/// use std::time::Duration;
/// use es_core::CachePlace;
///
/// let place = CachePlace::new("top_ten", Duration::from_secs(60)).tag("scores").tag("players");
/// assert_eq!(place.tags.len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachePlace {
    /// Its key.
    pub key: String,
    /// The tags whose invalidation makes the answer useless.
    pub tags: Vec<String>,
    /// How long an answer is found.
    pub ttl: Duration,
}

impl CachePlace {
    /// Longer than this no answer is kept, whatever the place asks for.
    pub const LONGEST_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

    /// A place without tags.
    pub fn new(key: impl Into<String>, ttl: Duration) -> Self {
        Self { key: key.into(), tags: Vec::new(), ttl: ttl.min(Self::LONGEST_TTL) }
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds tags.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = String>) -> Self {
        self.tags.extend(tags);
        self
    }
}

/// What the tags of a place looked like at a moment: meant for the cache that has
/// handed it out, and for nobody else.
///
/// ```
/// use es_core::CacheStamp;
///
/// let stamp = CacheStamp::new("17,4");
/// assert_eq!(stamp.as_str(), "17,4");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CacheStamp(String);

impl CacheStamp {
    /// The stamp with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What [`SharedCache::get`] has come to.
///
/// ```
/// use es_core::{CacheStamp, LookedUp};
///
/// let nothing = LookedUp { found: None, stamp: CacheStamp::new("17") };
/// assert!(nothing.found.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedUp {
    /// The answer, if there is one.
    pub found: Option<FoundAnswer>,
    /// The stamp under which another answer may be put.
    pub stamp: CacheStamp,
}

/// An answer in a [`SharedCache`].
///
/// ```
/// use std::time::Duration;
/// use es_core::{FoundAnswer, Position};
///
/// let found = FoundAnswer { as_of: Position::new(7), value: "50".into(), left: Duration::ZERO };
/// assert_eq!(found.value, "50");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAnswer {
    /// It shows every event at or before it.
    pub as_of: Position,
    /// The answer as it was put.
    pub value: Bytes,
    /// How long it will still be found.
    pub left: Duration,
}

/// What is no longer to be found in a [`SharedCache`].
///
/// ```
/// use es_core::{Invalidation, Position};
///
/// let row = Invalidation::Tags { tags: vec!["accounts/ada".into()], position: Position::new(8) };
/// assert_ne!(row, Invalidation::Everything);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invalidation {
    /// Answers with one of these tags, which changed with the event at `position`.
    Tags {
        /// The tags.
        tags: Vec<String>,
        /// The position up to which the changes came.
        position: Position,
    },
    /// All answers.
    Everything,
}
