use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::{Name, StoreError, Tenant, Timer, Timers};

type Key = (Tenant, Name);

/// Timers that live as long as the process; see [`Timers`] for an example.
#[derive(Debug, Default)]
pub struct MemoryTimers {
    timers: Mutex<Wheel>,
}

#[derive(Debug, Default)]
struct Wheel {
    by_name: BTreeMap<Key, Timer>,
    by_due: BTreeSet<(DateTime<Utc>, Key)>,
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
        let mut wheel = self.timers.lock();
        let key = (timer.tenant.clone(), timer.name.clone());
        wheel.forget(&key);
        wheel.by_due.insert((timer.due, key.clone()));
        wheel.by_name.insert(key, timer);
        Ok(())
    }

    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<Timer>, StoreError> {
        let wheel = self.timers.lock();
        let due = wheel.by_due.iter().take_while(|(due, _)| *due <= now).take(limit);
        Ok(due.filter_map(|(_, key)| wheel.by_name.get(key).cloned()).collect())
    }

    async fn cancel(&self, tenant: &Tenant, name: &Name) -> Result<(), StoreError> {
        self.timers.lock().forget(&(tenant.clone(), name.clone()));
        Ok(())
    }
}

impl Wheel {
    fn forget(&mut self, key: &Key) {
        if let Some(timer) = self.by_name.remove(key) {
            self.by_due.remove(&(timer.due, key.clone()));
        }
    }
}
