use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

/// Whether an endpoint does its work. That of several is the greatest of theirs.
///
/// ```
/// use es_bus::Health;
///
/// let slow = Health::Degraded("half of all tries fail".into());
/// let all = [Health::Healthy, slow.clone()];
/// assert_eq!(all.iter().max(), Some(&slow));
/// assert!(slow.is_ready() && slow.to_string().contains("half"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Health {
    /// It does.
    Healthy,
    /// It does, and somebody should look at it: why.
    Degraded(String),
    /// It does not: why.
    Unhealthy(String),
}

impl Health {
    /// Whether it does its work, well or not: the answer to a probe of readiness. A probe of
    /// liveness should not ask for it, as a restart heals no broker.
    pub fn is_ready(&self) -> bool {
        !matches!(self, Self::Unhealthy(_))
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Degraded(why) => write!(f, "degraded: {why}"),
            Self::Unhealthy(why) => write!(f, "unhealthy: {why}"),
        }
    }
}

/// What an endpoint waits for.
#[derive(Debug)]
pub(crate) struct Waits {
    /// Since when there are no deliveries, and why.
    away: Mutex<Option<(DateTime<Utc>, String)>>,
    /// Since when each task has had messages in hand, in milliseconds; 0: it has none.
    in_hand: Box<[AtomicI64]>,
}

impl Waits {
    pub(crate) fn of(tasks: usize) -> Self {
        let in_hand = (0..tasks).map(|_| AtomicI64::new(0)).collect();
        Self { away: Mutex::default(), in_hand }
    }

    pub(crate) fn broker_fails(&self, now: DateTime<Utc>, why: String) {
        let mut away = self.away.lock();
        let since = away.as_ref().map_or(now, |(since, _)| *since);
        *away = Some((since, why));
    }

    pub(crate) fn broker_is_there(&self) {
        *self.away.lock() = None;
    }

    pub(crate) fn begins(&self, task: usize, now: DateTime<Utc>) {
        self.in_hand[task].store(now.timestamp_millis(), Ordering::Relaxed);
    }

    pub(crate) fn ends(&self, task: usize) {
        self.in_hand[task].store(0, Ordering::Relaxed);
    }

    /// What keeps the endpoint from its work.
    pub(crate) fn health(&self, now: DateTime<Utc>, stuck_after: Duration) -> Health {
        let since = |then: DateTime<Utc>| (now - then).to_std().unwrap_or_default();
        if let Some((then, why)) = &*self.away.lock() {
            return Health::Unhealthy(format!("no deliveries for {:?}: {why}", since(*then)));
        }
        let begun = self.in_hand.iter().map(|one| one.load(Ordering::Relaxed));
        let oldest =
            begun.filter(|begun| *begun > 0).min().and_then(DateTime::from_timestamp_millis);
        match oldest.map(since) {
            Some(time) if time >= stuck_after => {
                Health::Unhealthy(format!("a handler has not ended for {time:?}"))
            }
            _ => Health::Healthy,
        }
    }
}
