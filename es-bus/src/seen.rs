use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

/// Most keys that one endpoint remembers; the oldest are forgotten first.
const REMEMBERED: usize = 100_000;

/// The keys of the messages that were handled of late.
#[derive(Debug)]
pub(crate) struct Seen {
    ttl: Duration,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    keys: HashSet<String>,
    by_age: VecDeque<(DateTime<Utc>, String)>,
}

impl Seen {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, kept: Mutex::default() }
    }

    pub(crate) fn contains(&self, key: &str, now: DateTime<Utc>) -> bool {
        let mut kept = self.kept.lock();
        kept.forget(now - self.ttl);
        kept.keys.contains(key)
    }

    pub(crate) fn insert(&self, key: String, now: DateTime<Utc>) {
        let mut kept = self.kept.lock();
        if kept.keys.insert(key.clone()) {
            kept.by_age.push_back((now, key));
        }
        if kept.by_age.len() > REMEMBERED {
            kept.forget_one();
        }
    }
}

impl Kept {
    fn forget(&mut self, before: DateTime<Utc>) {
        while self.by_age.front().is_some_and(|(at, _)| *at <= before) {
            self.forget_one();
        }
    }

    fn forget_one(&mut self) {
        if let Some((_, key)) = self.by_age.pop_front() {
            self.keys.remove(&key);
        }
    }
}
