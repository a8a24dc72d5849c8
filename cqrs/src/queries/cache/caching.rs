use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::Query;

/// How long an answer is good, unless its settings say otherwise.
const TTL: Duration = Duration::from_secs(300);
/// How many answers of a type are kept, unless its settings say otherwise.
const ANSWERS: u64 = 10_000;

type Of<T, R> = Arc<dyn Fn(&T) -> R + Send + Sync>;

/// How the answers to queries of one type are cached.
pub(in crate::queries) struct Caching<Q: Query> {
    pub(in crate::queries) key: Of<Q, String>,
    pub(in crate::queries) ttl: Duration,
    /// How long after its time an answer is still handed out.
    pub(in crate::queries) grace: Duration,
    pub(in crate::queries) max_weight: u64,
    pub(in crate::queries) weigh: Of<Q::Output, u32>,
    pub(in crate::queries) payload: Option<Payload<Q::Output>>,
}

/// How an answer is written for other processes; those that cannot be are not.
pub(in crate::queries) struct Payload<T> {
    pub(in crate::queries) encode: fn(&T) -> Option<Bytes>,
    pub(in crate::queries) decode: fn(&[u8]) -> Option<T>,
}

impl<Q: Query> Caching<Q> {
    pub(in crate::queries) fn new(key: Of<Q, String>) -> Self {
        Self {
            key,
            ttl: TTL,
            grace: Duration::ZERO,
            max_weight: ANSWERS,
            weigh: Arc::new(|_| 1),
            payload: None,
        }
    }
}

impl<Q: Query> Clone for Caching<Q> {
    fn clone(&self) -> Self {
        Self { key: Arc::clone(&self.key), weigh: Arc::clone(&self.weigh), ..*self }
    }
}

impl<T> Clone for Payload<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Payload<T> {}
