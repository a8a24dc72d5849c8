//! What an operator watches, each with a handle that is made once, when the store
//! is opened. Without the feature `metrics` nothing of it is left.

use es_core::{AppendError, Appended, StoreErrorKind, World};

#[cfg(feature = "metrics")]
use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use chrono::{DateTime, Utc};
#[cfg(not(feature = "metrics"))]
use nothing::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// What a store tells of itself.
#[derive(Debug)]
pub(crate) struct Metrics {
    appended: Counter,
    repeated: Counter,
    conflict: Counter,
    overtaken: Counter,
    claimed: Counter,
    gone: Counter,
    invalid: Counter,
    unknown: Counter,
    failed: Counter,
    events: Counter,
    latency: Histogram,
    group: Histogram,
    held: Gauge,
}

/// When an append was asked for, if anybody wants to know how long it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Begun(Option<DateTime<Utc>>);

impl Metrics {
    pub(crate) fn new(schema: &str) -> Self {
        let of = |outcome: &'static str| counter!("gesta_appends_total", "schema" => schema.to_owned(), "outcome" => outcome);
        Self {
            appended: of("appended"),
            repeated: of("repeated"),
            conflict: of("conflict"),
            overtaken: of("overtaken"),
            claimed: of("claimed"),
            gone: of("gone"),
            invalid: of("invalid"),
            unknown: of("unknown"),
            failed: of("failed"),
            events: counter!("gesta_events_appended_total", "schema" => schema.to_owned()),
            latency: histogram!("gesta_append_seconds", "schema" => schema.to_owned()),
            group: histogram!("gesta_append_group_size", "schema" => schema.to_owned()),
            held: gauge!("gesta_horizon_held_seconds", "schema" => schema.to_owned()),
        }
    }

    pub(crate) fn begin(world: &World) -> Begun {
        Begun(cfg!(feature = "metrics").then(|| world.now()))
    }

    /// An append of so many events was answered.
    pub(crate) fn answered(
        &self,
        world: &World,
        begun: Begun,
        events: usize,
        outcome: &Result<Appended, AppendError>,
    ) {
        use StoreErrorKind::{Invalid, Unknown};
        let Begun(Some(begun)) = begun else { return };
        self.latency.record((world.now() - begun).to_std().unwrap_or_default());
        let counter = match outcome {
            Ok(appended) if appended.repeated => &self.repeated,
            Ok(_) => {
                self.events.increment(events as u64);
                &self.appended
            }
            Err(AppendError::Conflict(_)) => &self.conflict,
            Err(AppendError::Overtaken { .. }) => &self.overtaken,
            Err(AppendError::Claimed { .. }) => &self.claimed,
            Err(AppendError::Gone { .. }) => &self.gone,
            Err(AppendError::Repeated { .. }) => &self.repeated,
            Err(AppendError::Invalid(_)) => &self.invalid,
            Err(AppendError::Store(error)) if error.kind() == Invalid => &self.invalid,
            Err(AppendError::Store(error)) if error.kind() == Unknown => &self.unknown,
            Err(_) => &self.failed,
        };
        counter.increment(1);
    }

    /// So many appends go to the server together.
    pub(crate) fn grouped(&self, appends: usize) {
        self.group.record(u32::try_from(appends).unwrap_or(u32::MAX));
    }

    /// For so long followers have been kept from what is there.
    pub(crate) fn held(&self, held: std::time::Duration) {
        self.held.set(held);
    }
}

/// What is told of the connections for one purpose.
#[derive(Debug)]
pub(crate) struct Connected {
    in_use: Gauge,
    lost: Counter,
}

impl Connected {
    pub(crate) fn new(schema: &str, purpose: &'static str) -> Self {
        let schema = || schema.to_owned();
        Self {
            in_use: gauge!(
                "gesta_connections_in_use", "schema" => schema(), "purpose" => purpose
            ),
            lost: counter!(
                "gesta_connections_lost_total", "schema" => schema(), "purpose" => purpose
            ),
        }
    }

    pub(crate) fn in_use(&self) -> InUse {
        self.in_use.increment(1);
        InUse { in_use: self.in_use.clone(), lost: self.lost.clone(), is_back: false }
    }

    /// So many have to be opened anew.
    pub(crate) fn lost(&self, connections: usize) {
        self.lost.increment(connections as u64);
    }
}

/// Counts a connection for as long as it is lent, and as lost if it does not come
/// back.
#[derive(Debug)]
pub(crate) struct InUse {
    in_use: Gauge,
    lost: Counter,
    pub(crate) is_back: bool,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.in_use.decrement(1);
        if !self.is_back {
            self.lost.increment(1);
        }
    }
}

/// In the place of the crate `metrics`.
#[cfg(not(feature = "metrics"))]
mod nothing {
    #[derive(Debug, Clone)]
    pub(super) struct Nothing;
    pub(super) use Nothing as Counter;
    pub(super) use Nothing as Gauge;
    pub(super) use Nothing as Histogram;

    #[expect(clippy::unused_self, reason = "it stands for what is not there")]
    impl Nothing {
        pub(super) fn increment(&self, _: u64) {}
        pub(super) fn decrement(&self, _: u64) {}
        pub(super) fn set<T>(&self, _: T) {}
        pub(super) fn record<T>(&self, _: T) {}
    }

    macro_rules! nothing {
        ($name:literal $(, $label:literal => $value:expr)*) => {{
            $(let _ = $value;)*
            $crate::metrics::nothing::Nothing
        }};
    }
    pub(super) use nothing as counter;
    pub(super) use nothing as gauge;
    pub(super) use nothing as histogram;
}
