use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use tokio::sync::{Mutex, MutexGuard};

/// Most messages of which is known how often they failed in an outage.
const FORGIVEN: usize = 10_000;

/// Whether everything fails. Then one message is tried at a time, with pauses, and none
/// becomes a dead letter because of it: an outage of what the handler needs is not the
/// messages' fault.
#[derive(Debug)]
pub(crate) struct Outage {
    /// So many failures one after the other are an outage; 0: nothing is.
    after: u32,
    failed: AtomicU32,
    /// Whether anything has been handled here: until then it is not known whether what failed
    /// elsewhere has failed in an outage.
    has_gone_well: AtomicBool,
    turn: Mutex<()>,
    /// How often a message failed because of it, by its id: these tries do not count.
    forgiven: parking_lot::Mutex<Forgiven>,
}

#[derive(Debug, Default)]
struct Forgiven {
    times: HashMap<String, u32>,
}

impl Forgiven {
    /// How often the message is forgiven, from so often on.
    fn of(&mut self, id: &str, from: u32) -> &mut u32 {
        if self.times.len() >= FORGIVEN && !self.times.contains_key(id) {
            // Its message may have ended elsewhere.
            let any = self.times.keys().next().cloned();
            any.map(|any| self.times.remove(&any));
        }
        self.times.entry(id.to_owned()).or_insert(from)
    }
}

impl Outage {
    pub(crate) fn new(after: u32) -> Self {
        let (failed, has_gone_well, turn, forgiven) = Default::default();
        Self { after, failed, has_gone_well, turn, forgiven }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.after > 0 && self.failed.load(Ordering::Relaxed) >= self.after
    }

    /// Waits for its turn, if there is an outage.
    pub(crate) async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        if !self.is_on() {
            return None;
        }
        let turn = self.turn.lock().await;
        self.is_on().then_some(turn)
    }

    pub(crate) fn went_well(&self) {
        if !self.has_gone_well.load(Ordering::Relaxed) {
            self.has_gone_well.store(true, Ordering::Relaxed);
        }
        if self.failed.load(Ordering::Relaxed) > 0 {
            self.failed.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn went_wrong(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// One more try of the message does not count.
    pub(crate) fn forgive(&self, id: &str) {
        *self.forgiven.lock().of(id, 0) += 1;
    }

    /// How many of so many tries of the message count, at least one.
    pub(crate) fn counted(&self, id: &str, tries: u32) -> u32 {
        let is_unsure = self.after > 0 && !self.has_gone_well.load(Ordering::Relaxed);
        let mut forgiven = self.forgiven.lock();
        let forgiven = match is_unsure {
            true => *forgiven.of(id, tries.saturating_sub(1)),
            false => forgiven.times.get(id).copied().unwrap_or_default(),
        };
        tries.saturating_sub(forgiven).max(1)
    }

    /// The message will not be tried again.
    pub(crate) fn forget(&self, id: &str) {
        let mut forgiven = self.forgiven.lock();
        if !forgiven.times.is_empty() {
            forgiven.times.remove(id);
        }
    }

    /// How long to wait until the next one is tried.
    pub(crate) fn pause(&self, first: Duration, cap: Duration) -> Duration {
        let beyond = self.failed.load(Ordering::Relaxed).saturating_sub(self.after).min(16);
        first.checked_mul(1 << beyond).map_or(cap, |pause| pause.min(cap))
    }
}
