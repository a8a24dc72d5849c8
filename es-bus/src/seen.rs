use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::time::before;

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
    in_hand: HashSet<String>,
    keys: HashSet<String>,
    by_age: VecDeque<(DateTime<Utc>, String)>,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    /// A message with it is being handled, and may yet fail.
    InHand,
    Handled,
}

impl Seen {
    pub(crate) fn new(ttl: Duration) -> Self {
        Self { ttl, kept: Mutex::default() }
    }

    /// What is known of the key; if it is nothing, it is in hand from now on.
    pub(crate) fn enter(&self, key: &str, now: DateTime<Utc>) -> Known {
        let mut kept = self.kept.lock();
        kept.forget(before(now, self.ttl));
        if kept.keys.contains(key) {
            return Known::Handled;
        }
        match kept.in_hand.insert(key.to_owned()) {
            true => Known::Nothing,
            false => Known::InHand,
        }
    }

    /// The message that has entered is not in hand any more.
    pub(crate) fn leave(&self, key: String, was_handled: bool, now: DateTime<Utc>) {
        let mut kept = self.kept.lock();
        kept.in_hand.remove(&key);
        if was_handled && kept.keys.insert(key.clone()) {
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
