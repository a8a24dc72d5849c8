mod worker;

use std::{sync::Arc, time::Duration};

use es_core::{DeadLetterQuery, Group, StoreError, Task, World};
use futures_util::future::join_all;
use tokio::sync::{Mutex, watch};

use self::worker::Worker;
use crate::{
    Broker, EndpointStats, Health, Ready, health::Waits, outage::Outage, seen::Seen,
    stats::Counters,
};

/// A broker that takes longer is away.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// An endpoint that runs. Dropped it stops at once, and what it had in hand comes again;
/// [drained](Self::drain) it ends what it has begun.
///
/// See [the crate](crate) for an example.
#[must_use = "an endpoint stops when this is dropped"]
pub struct Running {
    worker: Arc<Worker>,
    tasks: Vec<Task>,
    stop: watch::Sender<Stop>,
    world: World,
}

/// Whether an endpoint goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Not,
    /// Takes nothing more.
    Taking,
    /// Leaves what it has in hand.
    AtOnce,
}

/// How an endpoint ended.
///
/// ```
/// use es_bus::Drained;
///
/// assert!(Drained { abandoned: 0 }.is_clean());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Messages that were still in hand when the time was over; they come again.
    pub abandoned: u64,
}

impl Drained {
    /// Whether all that was begun was ended.
    pub fn is_clean(&self) -> bool {
        self.abandoned == 0
    }
}

impl Running {
    pub(crate) async fn start(
        broker: Arc<dyn Broker>,
        world: World,
        ready: Ready,
    ) -> Result<Self, StoreError> {
        let Ready { endpoint, work, .. } = ready;
        let deliveries = broker.consume(endpoint.subscription.clone()).await?;
        let (stop, stopping) = watch::channel(Stop::Not);
        let concurrency = endpoint.concurrency;
        let worker = Arc::new(Worker {
            broker,
            world: world.clone(),
            work,
            deliveries: Mutex::new(Some(deliveries)),
            stopping,
            outage: Outage::new(endpoint.outage_after),
            seen: endpoint.dedupe.as_ref().map(|(within, _)| Seen::new(*within)),
            counters: Counters::of(&endpoint.subscription.group),
            waits: Waits::of(concurrency),
            endpoint,
        });
        let run = |task| world.spawn(Arc::clone(&worker).run(task));
        let tasks = (0..concurrency).map(run).collect();
        #[cfg(feature = "metrics")]
        world.detach({
            let Worker { broker, endpoint, stopping, .. } = &*worker;
            let group = endpoint.subscription.group.clone();
            let letters = crate::Letters::new(Arc::clone(broker), world.clone(), group);
            crate::metrics::tell_dead_letters(letters, world.clone(), stopping.clone())
        });
        Ok(Self { worker, tasks, stop, world })
    }

    /// Its group.
    pub fn group(&self) -> &Group {
        &self.worker.endpoint.subscription.group
    }

    /// What it has done so far.
    pub fn stats(&self) -> EndpointStats {
        self.worker.counters.stats(self.world.now(), self.worker.outage.is_on())
    }

    /// Whether it does its work. It is degraded while [everything
    /// fails](EndpointStats::is_in_outage), or more than half of the last thousand tries did;
    /// it does nothing if the broker, which is asked for it, does not answer within five
    /// seconds, or a handler [does not end](crate::Endpoint::stuck_after).
    pub async fn health(&self) -> Health {
        let asked = DeadLetterQuery::of(self.group().clone()).limit(1);
        let away = tokio::select! {
            // One who says that a letter cannot be read is there.
            answer = self.worker.broker.dead_letters(asked) => {
                answer.err().filter(StoreError::is_transient).map(|error| error.to_string())
            }
            () = self.world.sleep(ANSWERS_WITHIN) => Some("it does not answer".into()),
        };
        if let Some(why) = away {
            return Health::Unhealthy(format!("the broker is away: {why}"));
        }
        let waits = self.worker.waits.health(self.world.now(), self.worker.endpoint.stuck_after);
        let stats = self.stats();
        let degraded = if stats.is_in_outage {
            Health::Degraded("everything fails, one message is tried at a time".into())
        } else if stats.success_rate < 0.5 {
            let failed = (1.0 - stats.success_rate) * 100.0;
            Health::Degraded(format!("{failed:.0} % of the last tries have failed"))
        } else {
            Health::Healthy
        };
        waits.max(degraded)
    }

    /// Takes nothing more, ends what it has in hand, and leaves the group. What takes
    /// [too long](crate::Endpoint::drain_within) is abandoned, and comes again.
    pub async fn drain(mut self) -> Drained {
        self.stop.send_replace(Stop::Taking);
        let mut tasks = join_all(std::mem::take(&mut self.tasks));
        let time = self.world.sleep(self.worker.endpoint.drain_within);
        let is_late = tokio::select! {
            _ = &mut tasks => false,
            () = time => true,
        };
        let abandoned = self.stats().in_hand;
        self.stop.send_replace(Stop::AtOnce);
        if is_late {
            tasks.await;
        }
        drop(self.worker.deliveries.lock().await.take());
        Drained { abandoned }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(Stop::AtOnce);
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("group", self.group())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
