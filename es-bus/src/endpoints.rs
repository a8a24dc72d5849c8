use std::collections::HashSet;

use futures_util::future::join_all;

use crate::{BusError, Drained, EventBus, Health, Ready, Running};

/// All endpoints of a program, which start and end together, and can be listed.
///
/// ```
/// use es_bus::{Endpoint, Endpoints, EventBus, Received};
/// use es_core::Event;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "order.placed")]
/// struct OrderPlaced { order: u64 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let billing = Endpoint::new("billing")?.to("order.*")?;
/// let audit = Endpoint::new("audit")?.to("**")?;
/// let endpoints = Endpoints::new()
///     .with(billing.handle(|_: Received<OrderPlaced>| async { Ok(()) }))
///     .with(audit.handle_message(|_: Received<()>| async { Ok(()) }));
/// for endpoint in endpoints.iter() {
///     println!("{} {:?} {:?}", endpoint.group(), endpoint.patterns(), endpoint.types());
/// }
/// let running = endpoints.subscribe(&EventBus::for_testing()).await?;
/// assert!(running.health().await.is_ready());
/// assert!(running.drain().await.is_clean());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "they get nothing before they are subscribed"]
pub struct Endpoints(Vec<Ready>);

impl Endpoints {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn with(mut self, endpoint: Ready) -> Self {
        self.0.push(endpoint);
        self
    }

    /// Each of them, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Ready> {
        self.0.iter()
    }

    /// Starts one after the other. If one cannot be started, those before it are drained, and
    /// their groups stay.
    ///
    /// # Errors
    ///
    /// [`BusError::GroupTwice`] if two have one group; else as of [`EventBus::subscribe`].
    pub async fn subscribe(self, bus: &EventBus) -> Result<RunningEndpoints, BusError> {
        let mut groups = HashSet::new();
        if let Some(twice) = self.iter().map(Ready::group).find(|group| !groups.insert(*group)) {
            return Err(BusError::GroupTwice { group: twice.clone() });
        }
        let mut running = RunningEndpoints(Vec::with_capacity(self.0.len()));
        for endpoint in self.0 {
            match bus.subscribe(endpoint).await {
                Ok(started) => running.0.push(started),
                Err(error) => {
                    running.drain().await;
                    return Err(error);
                }
            }
        }
        Ok(running)
    }
}

/// [Endpoints] that run. Dropped they stop at once, as [each](Running) does.
#[derive(Debug)]
#[must_use = "endpoints stop when this is dropped"]
pub struct RunningEndpoints(Vec<Running>);

impl RunningEndpoints {
    /// Each of them, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Running> {
        self.0.iter()
    }

    /// The [health](Running::health) of the one that is worst off, with its group.
    pub async fn health(&self) -> Health {
        let named = async |one: &Running| match one.health().await {
            Health::Healthy => Health::Healthy,
            Health::Degraded(why) => Health::Degraded(format!("{}: {why}", one.group())),
            Health::Unhealthy(why) => Health::Unhealthy(format!("{}: {why}", one.group())),
        };
        let all = join_all(self.iter().map(named)).await;
        all.into_iter().max().unwrap_or(Health::Healthy)
    }

    /// [Drains](Running::drain) all of them at once.
    pub async fn drain(self) -> Drained {
        let drained = join_all(self.0.into_iter().map(Running::drain)).await;
        Drained { abandoned: drained.iter().map(|one| one.abandoned).sum() }
    }
}
