use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering},
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
    turn: Mutex<()>,
    /// How often a message failed because of it, by its id: these tries do not count.
    forgiven: parking_lot::Mutex<HashMap<String, u32>>,
}

impl Outage {
    pub(crate) fn new(after: u32) -> Self {
        let (failed, turn, forgiven) = Default::default();
        Self { after, failed, turn, forgiven }
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
        if self.failed.load(Ordering::Relaxed) > 0 {
            self.failed.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn went_wrong(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// One more try of the message does not count.
    pub(crate) fn forgive(&self, id: &str) {
        let mut forgiven = self.forgiven.lock();
        if let Some(times) = forgiven.get_mut(id) {
            *times += 1;
        } else if forgiven.len() < FORGIVEN {
            forgiven.insert(id.to_owned(), 1);
        }
    }

    /// How many tries of the message do not count.
    pub(crate) fn forgiven(&self, id: &str) -> u32 {
        self.forgiven.lock().get(id).copied().unwrap_or_default()
    }

    /// The message will not be tried again.
    pub(crate) fn forget(&self, id: &str) {
        let mut forgiven = self.forgiven.lock();
        if !forgiven.is_empty() {
            forgiven.remove(id);
        }
    }

    /// How long to wait until the next one is tried.
    pub(crate) fn pause(&self, first: Duration, cap: Duration) -> Duration {
        let beyond = self.failed.load(Ordering::Relaxed).saturating_sub(self.after).min(16);
        first.checked_mul(1 << beyond).map_or(cap, |pause| pause.min(cap))
    }
}
