use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::{Name, StoreError, TakenTimer, Timer, TimerId, Timers};

/// Timers that live as long as the process; clones share them. See [`Timers`] for an example.
#[derive(Debug, Clone, Default)]
pub struct MemoryTimers {
    timers: Arc<Mutex<Wheel>>,
}

#[derive(Debug, Default)]
struct Wheel {
    /// Each with when it is to be taken.
    by_id: BTreeMap<TimerId, (DateTime<Utc>, Timer)>,
    by_owner: BTreeMap<Name, BTreeSet<(DateTime<Utc>, TimerId)>>,
}

impl MemoryTimers {
    /// No timer yet.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Timers for MemoryTimers {
    async fn set(&self, timer: Timer) -> Result<(), StoreError> {
        self.timers.lock().put(timer.due, timer);
        Ok(())
    }

    async fn take_due(
        &self,
        owner: &Name,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<TakenTimer>, StoreError> {
        let mut wheel = self.timers.lock();
        let waiting = wheel.by_owner.get(owner).into_iter().flatten();
        let due = waiting.take_while(|(wake, _)| *wake <= now).take(limit);
        let due: Vec<_> = due.filter_map(|(_, id)| wheel.by_id.get(id).cloned()).collect();
        let taken = due.into_iter().map(|(_, timer)| {
            wheel.put(until, timer.clone());
            TakenTimer { timer, until }
        });
        Ok(taken.collect())
    }

    async fn done(&self, TakenTimer { timer, until }: &TakenTimer) -> Result<(), StoreError> {
        let mut wheel = self.timers.lock();
        let found = wheel.by_id.get(&timer.id);
        if found.is_some_and(|(wake, found)| wake == until && found.due == timer.due) {
            wheel.forget(&timer.id);
        }
        Ok(())
    }

    async fn cancel(&self, id: &TimerId) -> Result<(), StoreError> {
        self.timers.lock().forget(id);
        Ok(())
    }

    async fn next_due(&self, owner: &Name) -> Result<Option<DateTime<Utc>>, StoreError> {
        let wheel = self.timers.lock();
        Ok(wheel.by_owner.get(owner).and_then(|waiting| Some(waiting.first()?.0)))
    }
}

impl Wheel {
    fn put(&mut self, wake: DateTime<Utc>, timer: Timer) {
        self.forget(&timer.id);
        let waiting = self.by_owner.entry(timer.id.owner.clone()).or_default();
        waiting.insert((wake, timer.id.clone()));
        self.by_id.insert(timer.id.clone(), (wake, timer));
    }

    fn forget(&mut self, id: &TimerId) {
        let Some((wake, _)) = self.by_id.remove(id) else { return };
        if let Some(waiting) = self.by_owner.get_mut(&id.owner) {
            waiting.remove(&(wake, id.clone()));
            if waiting.is_empty() {
                self.by_owner.remove(&id.owner);
            }
        }
    }
}
