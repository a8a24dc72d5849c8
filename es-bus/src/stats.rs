use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use es_core::Group;
use parking_lot::Mutex;

use crate::metrics::{Counted, Timed};

/// The messages of which the latest times are kept.
const WINDOW: usize = 1_024;

/// What an endpoint has done since it began, and how it went of late.
///
/// ```
/// assert_eq!(es_bus::EndpointStats::default().handled, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Messages that were handled.
    pub handled: u64,
    /// Times that a handler failed.
    pub failed: u64,
    /// Messages that were given back to be tried again.
    pub retried: u64,
    /// Messages that became dead letters.
    pub dead_lettered: u64,
    /// Messages that had been handled before.
    pub repeated: u64,
    /// Messages of types that the handler does not name, or that its filter leaves out.
    pub passed: u64,
    /// Messages that nobody wanted to hear of any more.
    pub expired: u64,
    /// Messages that are in hand now.
    pub in_hand: u64,
    /// Whether everything fails, so that one message is tried at a time.
    pub is_in_outage: bool,
    /// The share of the last thousand tries that went well; 1 before the first.
    pub success_rate: f64,
    /// How long a handler took of late, on average.
    pub average: Duration,
    /// How long it took in 95 of 100 cases at most.
    pub p95: Duration,
    /// Messages a second of late.
    pub per_second: f64,
}

#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) handled: Counted,
    pub(crate) failed: Counted,
    pub(crate) retried: Counted,
    pub(crate) dead_lettered: Counted,
    pub(crate) repeated: Counted,
    pub(crate) passed: Counted,
    pub(crate) expired: Counted,
    pub(crate) in_hand: AtomicU64,
    took: Timed,
    latest: Mutex<VecDeque<Try>>,
}

#[derive(Debug, Clone, Copy)]
struct Try {
    at: DateTime<Utc>,
    took: Duration,
    went_well: bool,
}

impl Counters {
    pub(crate) fn of(group: &Group) -> Self {
        Self {
            handled: Counted::processed(group, "handled"),
            failed: Counted::of("event_bus_events_failed_total", group),
            retried: Counted::of("event_bus_events_retried_total", group),
            dead_lettered: Counted::of("event_bus_events_dead_lettered_total", group),
            repeated: Counted::processed(group, "repeated"),
            passed: Counted::processed(group, "passed"),
            expired: Counted::processed(group, "expired"),
            in_hand: AtomicU64::new(0),
            took: Timed::of(group),
            latest: Mutex::default(),
        }
    }

    pub(crate) fn tried(&self, began: DateTime<Utc>, at: DateTime<Utc>, went_well: bool) {
        let took = (at - began).to_std().unwrap_or_default();
        self.took.took(took);
        let mut latest = self.latest.lock();
        if latest.len() == WINDOW {
            latest.pop_front();
        }
        latest.push_back(Try { at, took, went_well });
    }

    pub(crate) fn stats(&self, now: DateTime<Utc>, is_in_outage: bool) -> EndpointStats {
        let latest: Vec<_> = self.latest.lock().iter().copied().collect();
        let known = EndpointStats {
            handled: self.handled.get(),
            failed: self.failed.get(),
            retried: self.retried.get(),
            dead_lettered: self.dead_lettered.get(),
            repeated: self.repeated.get(),
            passed: self.passed.get(),
            expired: self.expired.get(),
            in_hand: self.in_hand.load(Ordering::Relaxed),
            is_in_outage,
            success_rate: 1.0,
            ..EndpointStats::default()
        };
        of_late(known, &latest, now)
    }
}

fn of_late(known: EndpointStats, latest: &[Try], now: DateTime<Utc>) -> EndpointStats {
    let Some(first) = latest.first() else { return known };
    let count = u32::try_from(latest.len()).unwrap_or(u32::MAX);
    let well = latest.iter().filter(|one| one.went_well).count();
    let well = u32::try_from(well).unwrap_or(u32::MAX);
    let mut took: Vec<_> = latest.iter().map(|one| one.took).collect();
    took.sort_unstable();
    let span = (now - first.at).max(TimeDelta::milliseconds(1));
    let span = span.to_std().unwrap_or_default().as_secs_f64();
    EndpointStats {
        success_rate: f64::from(well) / f64::from(count),
        average: took.iter().sum::<Duration>() / count,
        p95: took[(took.len() - 1) * 95 / 100],
        per_second: f64::from(count) / span,
        ..known
    }
}
