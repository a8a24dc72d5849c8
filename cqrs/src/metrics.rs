//! What an operator watches, each with a handle that is made once. Without the
//! feature `metrics` nothing of it is left.

#[cfg(feature = "metrics")]
use ::metrics::{Counter, counter};
#[cfg(not(feature = "metrics"))]
use nothing::{Counter, counter};

use es_core::Views;

use crate::{Answered, AskError, Projector, SendError, Sent};

/// What a bus tells of itself.
#[derive(Debug)]
pub(crate) struct Metrics {
    sent: Counter,
    repeated: Counter,
    rejected: Counter,
    claimed: Counter,
    gone: Counter,
    model: Counter,
    refused: Counter,
    contended: Counter,
    store: Counter,
    retries: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let of = |outcome: &'static str| counter!("gesta_commands_total", "outcome" => outcome);
        Self {
            sent: of("sent"),
            repeated: of("repeated"),
            rejected: of("rejected"),
            claimed: of("claimed"),
            gone: of("gone"),
            model: of("model"),
            refused: of("refused"),
            contended: of("contended"),
            store: of("store"),
            retries: counter!("gesta_command_retries_total"),
        }
    }

    pub(crate) fn answered<E>(&self, answer: &Result<Sent, SendError<E>>) {
        let counter = match answer {
            Ok(sent) if sent.repeated => &self.repeated,
            Ok(_) => &self.sent,
            Err(SendError::Rejected(_)) => &self.rejected,
            Err(SendError::Claimed { .. }) => &self.claimed,
            Err(SendError::Gone { .. }) => &self.gone,
            Err(SendError::Model { .. }) => &self.model,
            Err(SendError::Refused(_)) => &self.refused,
            Err(SendError::Contended { .. }) => &self.contended,
            Err(SendError::Store(_)) => &self.store,
        };
        counter.increment(1);
    }

    /// So many commands are decided once more.
    pub(crate) fn again(&self, commands: usize) {
        self.retries.increment(commands as u64);
    }
}

/// What a query bus tells of itself.
#[derive(Debug)]
pub(crate) struct Asked {
    cached: Counter,
    loaded: Counter,
    stale: Counter,
    behind: Counter,
    refused: Counter,
    failed: Counter,
    loads: Counter,
}

impl Asked {
    pub(crate) fn new() -> Self {
        let of = |outcome: &'static str| counter!("gesta_queries_total", "outcome" => outcome);
        Self {
            cached: of("cached"),
            loaded: of("loaded"),
            stale: of("stale"),
            behind: of("behind"),
            refused: of("refused"),
            failed: of("failed"),
            loads: counter!("gesta_query_loads_total"),
        }
    }

    pub(crate) fn answered<T>(&self, answer: &Result<Answered<T>, AskError>) {
        let counter = match answer {
            Ok(answer) if answer.is_stale() => &self.stale,
            Ok(answer) if answer.cached => &self.cached,
            Ok(_) => &self.loaded,
            Err(AskError::Behind { .. }) => &self.behind,
            Err(AskError::Refused(_)) => &self.refused,
            Err(_) => &self.failed,
        };
        counter.increment(1);
    }

    /// An answerer was asked.
    pub(crate) fn loaded(&self) {
        self.loads.increment(1);
    }
}

/// What a projector counts.
#[derive(Debug)]
pub(crate) struct Projected(Counter);

impl Projected {
    pub(crate) fn new() -> Self {
        Self(counter!("gesta_events_projected_total"))
    }

    pub(crate) fn handled(&self, events: usize) {
        self.0.increment(events as u64);
    }
}

/// Tells every now and then how far each model is behind, for ever.
#[cfg(feature = "metrics")]
pub(crate) async fn report<V: Views>(projector: &Projector<V>) {
    use ::metrics::gauge;

    const PAUSE: std::time::Duration = std::time::Duration::from_secs(5);
    let names = projector.inner.names().into_iter().map(|name| name.to_string());
    let events_and_age = |name: String| {
        let events = gauge!("gesta_projection_lag_events", "projection" => name.clone());
        (events, gauge!("gesta_projection_lag_seconds", "projection" => name))
    };
    let gauges: Vec<_> = names.map(events_and_age).collect();
    loop {
        match projector.lag().await {
            Ok(all) => {
                for ((events, age), (_, lag)) in gauges.iter().zip(all) {
                    #[expect(clippy::cast_precision_loss, reason = "nobody counts so far")]
                    events.set(lag.events as f64);
                    age.set(lag.age.unwrap_or_default());
                }
            }
            Err(error) => tracing::debug!(%error, "the lag of the projections is not known"),
        }
        projector.inner.world.sleep(PAUSE).await;
    }
}

#[cfg(not(feature = "metrics"))]
pub(crate) async fn report<V: Views>(_: &Projector<V>) {
    std::future::pending().await
}

/// In the place of the crate `metrics`.
#[cfg(not(feature = "metrics"))]
mod nothing {
    #[derive(Debug)]
    pub(super) struct Counter;

    impl Counter {
        #[expect(clippy::unused_self, reason = "it stands for what is not there")]
        pub(super) fn increment(&self, _: u64) {}
    }

    macro_rules! counter {
        ($name:literal $(, $label:literal => $value:expr)*) => {{
            $(let _ = $value;)*
            $crate::metrics::nothing::Counter
        }};
    }
    pub(super) use counter;
}
