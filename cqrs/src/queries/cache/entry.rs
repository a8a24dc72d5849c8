use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use es_core::{Position, Tenant};

use crate::{
    Answered, Stale,
    queries::tags::{Tag, Tags},
};

/// Which answer of a query type.
pub(super) type Key = (Tenant, String);

/// An answer that is remembered, with what tells whether it still is one.
pub(super) struct Entry<T> {
    pub(super) answer: Arc<T>,
    /// Taken before the answer was made.
    pub(super) as_of: Position,
    pub(super) born: Birth,
    pub(super) until: DateTime<Utc>,
    /// Whether another process has made it.
    pub(super) shared: bool,
}

/// What is held before an answer is made: what changes afterwards is known.
#[derive(Clone)]
pub(super) struct Birth {
    pub(super) tags: Vec<Arc<Tag>>,
    pub(super) era: u64,
}

/// How an entry looks to whoever finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Good,
    /// Its time is over, and nothing else is wrong with it.
    InGrace,
    Useless,
}

impl Birth {
    pub(super) fn now(tags: &Tags, texts: &[String]) -> Self {
        Self { era: tags.era(), tags: tags.hold(texts) }
    }

    /// Whether an answer as of then shows every change since that is known.
    ///
    /// It does not matter whether a change is told before or after the answer is
    /// remembered: what counts is the position at which it happened.
    pub(super) fn shows_all(&self, as_of: Position, tags: &Tags) -> bool {
        self.era == tags.era() && self.tags.iter().all(|tag| tag.changed() <= as_of)
    }
}

impl<T> Entry<T> {
    pub(super) fn condition(&self, tags: &Tags, now: DateTime<Utc>, grace: Duration) -> Condition {
        if !self.born.shows_all(self.as_of, tags) {
            Condition::Useless
        } else if now < self.until {
            Condition::Good
        } else if now < self.until + grace {
            Condition::InGrace
        } else {
            Condition::Useless
        }
    }

    pub(super) fn answered(&self, cached: bool, stale: Option<Stale>) -> Answered<T> {
        Answered { answer: Arc::clone(&self.answer), as_of: self.as_of, cached, stale }
    }
}
