use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use crate::{CacheTag, Query};

/// How long an answerer may take.
const WITHIN: Duration = Duration::from_secs(30);

type Of<Q, T> = Arc<dyn Fn(&Q) -> T + Send + Sync>;

/// How the queries of one type are answered.
///
/// ```
/// use std::time::Duration;
/// use cqrs::{CacheTag, Query, QuerySettings};
///
/// #[derive(Query)]
/// #[query(output = u64)]
/// struct BalanceOf { account: String }
///
/// let settings = QuerySettings::<BalanceOf>::new()
///     .within(Duration::from_secs(2))
///     .tags(|query| vec![CacheTag::row_of("statements", &query.account)]);
/// # #[cfg(feature = "cache")]
/// let settings = settings.cached(|query| query.account.clone()).ttl(Duration::from_secs(60));
/// ```
pub struct QuerySettings<Q: Query> {
    pub(super) within: Duration,
    pub(super) tags: Option<Of<Q, Vec<CacheTag>>>,
    #[cfg(feature = "cache")]
    pub(super) caching: Option<super::cache::Caching<Q>>,
    query: PhantomData<fn() -> Q>,
}

impl<Q: Query> QuerySettings<Q> {
    /// 30 seconds for an answer, no tags, no cache.
    pub fn new() -> Self {
        Self {
            within: WITHIN,
            tags: None,
            #[cfg(feature = "cache")]
            caching: None,
            query: PhantomData,
        }
    }

    /// Sets how long the answerer may take.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Says what an answer is made from: the models, or the rows of them, with
    /// whose change it changes. A cached answer goes with that change, and a
    /// subscription brings the next one. They must name all that the answerer
    /// reads; if that depends on the answer, name the model.
    #[must_use]
    pub fn tags(mut self, tags: impl Fn(&Q) -> Vec<CacheTag> + Send + Sync + 'static) -> Self {
        self.tags = Some(Arc::new(tags));
        self
    }

    pub(super) fn tags_of(&self, query: &Q) -> Vec<CacheTag> {
        self.tags.as_ref().map(|tags| tags(query)).unwrap_or_default()
    }
}

#[cfg(feature = "cache")]
mod cached {
    use std::{sync::Arc, time::Duration};

    use es_core::Codec;
    use serde::{Serialize, de::DeserializeOwned};

    use super::QuerySettings;
    use crate::{
        Query,
        queries::cache::{Caching, Payload},
    };

    impl<Q: Query> QuerySettings<Q> {
        /// Caches answers; queries with the same key (of the same tenant) have the
        /// same answer. They are kept for 300 seconds, and 10,000 of them, unless
        /// you say otherwise.
        #[must_use]
        pub fn cached(mut self, key: impl Fn(&Q) -> String + Send + Sync + 'static) -> Self {
            self.caching = Some(Caching::new(Arc::new(key)));
            self
        }

        fn caching(mut self, change: impl FnOnce(&mut Caching<Q>)) -> Self {
            change(self.caching.as_mut().expect("`cached` stands before what says how"));
            self
        }

        /// Sets for how long an answer is good, whatever changes; at most 30 days.
        ///
        /// # Panics
        ///
        /// If [`cached`](Self::cached) was not called before.
        #[must_use]
        pub fn ttl(self, ttl: Duration) -> Self {
            self.caching(|caching| caching.ttl = ttl.min(es_core::CachePlace::LONGEST_TTL))
        }

        /// For so long after its time to live an answer is still handed out, marked
        /// as stale, while the next one is made. Not after a change of a tag, and
        /// not to whoever asks for a later position.
        ///
        /// # Panics
        ///
        /// If [`cached`](Self::cached) was not called before.
        #[must_use]
        pub fn stale_while_revalidate(self, grace: Duration) -> Self {
            self.caching(|caching| caching.grace = grace.min(es_core::CachePlace::LONGEST_TTL))
        }

        /// Sets the most that the cached answers may weigh together; without a
        /// [`weigh`](Self::weigh) each weighs 1.
        ///
        /// # Panics
        ///
        /// If [`cached`](Self::cached) was not called before.
        #[must_use]
        pub fn max_weight(self, weight: u64) -> Self {
            self.caching(|caching| caching.max_weight = weight)
        }

        /// Sets how much an answer weighs, such as its bytes.
        ///
        /// # Panics
        ///
        /// If [`cached`](Self::cached) was not called before.
        #[must_use]
        pub fn weigh(self, weigh: impl Fn(&Q::Output) -> u32 + Send + Sync + 'static) -> Self {
            self.caching(|caching| caching.weigh = Arc::new(weigh))
        }

        /// Keeps answers in the [shared cache](crate::QueriesBuilder::shared_cache)
        /// too, as JSON.
        ///
        /// # Panics
        ///
        /// If [`cached`](Self::cached) was not called before.
        #[must_use]
        pub fn shared(self) -> Self
        where
            Q::Output: Serialize + DeserializeOwned,
        {
            let encode = |answer: &Q::Output| Codec::Json.encode_value(answer).ok();
            let decode = |value: &[u8]| Codec::Json.decode_value(value).ok();
            let payload = Payload { encode, decode };
            self.caching(|caching| caching.payload = Some(payload))
        }
    }
}

impl<Q: Query> Default for QuerySettings<Q> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Q: Query> fmt::Debug for QuerySettings<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuerySettings")
            .field("query", &Q::NAME)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}
