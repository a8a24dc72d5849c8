//! What an operator watches, told through the crate `metrics` where its feature is on, under
//! the names that dashboards of event buses know.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

#[cfg(feature = "metrics")]
use ::metrics::{Counter, Histogram, counter, gauge, histogram};
use es_core::Group;
#[cfg(feature = "metrics")]
use {
    crate::{Letters, running::Stop},
    es_core::World,
    futures_util::{StreamExt, TryStreamExt},
    tokio::sync::watch,
};

/// A number that is told, and can be asked for.
#[derive(Debug)]
pub(crate) struct Counted {
    value: AtomicU64,
    #[cfg(feature = "metrics")]
    told: Counter,
}

impl Counted {
    #[cfg(feature = "metrics")]
    fn new(told: Counter) -> Self {
        Self { value: AtomicU64::new(0), told }
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn of(name: &'static str, group: &Group) -> Self {
        Self::new(counter!(name, "group" => group.to_string()))
    }

    #[cfg(not(feature = "metrics"))]
    pub(crate) fn of(_: &'static str, _: &Group) -> Self {
        Self { value: AtomicU64::new(0) }
    }

    /// Messages of a group that ended so.
    #[cfg(feature = "metrics")]
    pub(crate) fn processed(group: &Group, outcome: &'static str) -> Self {
        const NAME: &str = "event_bus_events_processed_total";
        Self::new(counter!(NAME, "group" => group.to_string(), "outcome" => outcome))
    }

    #[cfg(not(feature = "metrics"))]
    pub(crate) fn processed(group: &Group, _: &'static str) -> Self {
        Self::of("", group)
    }

    pub(crate) fn one_more(&self) {
        self.value.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.told.increment(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// How long handlers take.
#[derive(Debug)]
pub(crate) struct Timed {
    #[cfg(feature = "metrics")]
    told: Histogram,
}

impl Timed {
    #[cfg(feature = "metrics")]
    pub(crate) fn of(group: &Group) -> Self {
        const NAME: &str = "event_bus_processing_duration_seconds";
        Self { told: histogram!(NAME, "group" => group.to_string()) }
    }

    #[cfg(not(feature = "metrics"))]
    pub(crate) fn of(_: &Group) -> Self {
        Self {}
    }

    #[cfg_attr(not(feature = "metrics"), expect(clippy::unused_self, reason = "none is told"))]
    pub(crate) fn took(&self, _time: Duration) {
        #[cfg(feature = "metrics")]
        self.told.record(_time);
    }
}

/// What a bus has published.
#[derive(Debug)]
pub(crate) struct Published {
    #[cfg(feature = "metrics")]
    outcomes: [Counter; 2],
}

impl Published {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(feature = "metrics")]
            outcomes: ["failed", "confirmed"]
                .map(|outcome| counter!("event_bus_events_published_total", "outcome" => outcome)),
        }
    }

    #[cfg_attr(not(feature = "metrics"), expect(clippy::unused_self, reason = "none is told"))]
    pub(crate) fn ended(&self, _messages: usize, _confirmed: bool) {
        #[cfg(feature = "metrics")]
        self.outcomes[usize::from(_confirmed)].increment(_messages as u64);
    }
}

/// Tells every now and then how many dead letters the group has, until it stops. Only so many
/// are counted, as each is read for it.
#[cfg(feature = "metrics")]
pub(crate) async fn tell_dead_letters(
    letters: Letters,
    world: World,
    mut stopping: watch::Receiver<Stop>,
) {
    const PAUSE: Duration = Duration::from_secs(60);
    const MOST: usize = 100;
    let told = gauge!("event_bus_dlq_size", "group" => letters.group.to_string());
    loop {
        let counted =
            letters.all().take(MOST).try_fold(0_u32, async |count, _| Ok(count + 1)).await;
        match counted {
            Ok(count) => told.set(count),
            Err(error) => tracing::debug!(%error, "the number of dead letters is not known"),
        }
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop != Stop::Not) => return,
            () = world.sleep(PAUSE) => {}
        }
    }
}
