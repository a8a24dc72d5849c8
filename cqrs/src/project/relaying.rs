use std::panic::{AssertUnwindSafe, catch_unwind};

use async_trait::async_trait;
use es_core::{
    Address, Message, Name, Position, RecordedEvent, StoreError, StoreErrorKind, Views, World,
    failpoint,
};
use tokio::sync::watch;

use super::{
    batch::PageBatch,
    handler::{About, Handler, Held, Rebuilds, Recipe},
    parked::{FailureClass, Parked},
    parking::{Parking, Reason, said},
    reaction::StartAt,
    relay::{Relay, sequence},
    settings::ModelSettings,
};
use crate::ProjectionError;

/// Most events that are published before the checkpoint moves: as many may be published
/// once more after a kill.
const IN_FLIGHT: usize = 1_000;

/// Makes what keeps the parts of a relay.
pub(crate) struct RelayRecipe {
    about: About,
    relay: Relay,
}

impl RelayRecipe {
    pub(crate) fn new(relay: Relay, start: StartAt, settings: ModelSettings) -> Self {
        let about = About {
            name: Name::from_static(relay.name),
            types: relay.types.clone(),
            revision: 0,
            settings,
            rebuilds: Rebuilds::Never,
            start,
        };
        Self { about, relay }
    }
}

#[async_trait]
impl<V: Views> Recipe<V> for RelayRecipe {
    fn about(&self) -> &About {
        &self.about
    }

    async fn handler(
        &self,
        views: &V,
        held: Held,
        world: World,
    ) -> Result<Box<dyn Handler<V>>, ProjectionError> {
        let poison = self.about.settings.poison;
        let parking = Parking::load(views, &held.part, poison, world).await?;
        Ok(Box::new(RelayHandler { held, relay: self.relay.clone(), parking }))
    }
}

/// Publishes the events of some streams.
struct RelayHandler {
    held: Held,
    relay: Relay,
    parking: Parking,
}

/// Why an event was not published.
type Refused = Box<(Reason, ProjectionError)>;

impl RelayHandler {
    async fn publish(&self, events: &[&RecordedEvent]) -> Result<(), Refused> {
        let told = events.iter().filter_map(|event| self.told(event).transpose());
        let told = told.collect::<Result<_, _>>()?;
        self.relay.publisher.publish_all(told).await.map_err(refused)
    }

    fn told(&self, event: &RecordedEvent) -> Result<Option<(Address, Message)>, Refused> {
        // The program's own route.
        let told = catch_unwind(AssertUnwindSafe(|| self.relay.told(event)));
        told.map_err(|panic| {
            let panic = said(&*panic);
            let reason = Reason::new(FailureClass::Panic, &panic);
            Box::new((reason, ProjectionError::handler(panic)))
        })?
        .map_err(refused)
    }

    /// Publishes what does not stand behind a parked event.
    async fn publish_free(&mut self, events: &[&RecordedEvent]) -> Result<(), Refused> {
        if self.parking.is_empty() {
            return self.publish(events).await;
        }
        let is_free = |event: &&RecordedEvent| !self.parking.blocks(&sequence(event));
        let free: Vec<_> = events.iter().copied().filter(is_free).collect();
        self.publish(&free).await?;
        for event in events {
            self.parking.holds_back_of(|| sequence(event), event);
        }
        Ok(())
    }

    /// Publishes one by one what was refused together, and parks what is refused alone.
    async fn one_by_one<V: Views>(
        &mut self,
        views: &V,
        events: &[&RecordedEvent],
    ) -> Result<(), ProjectionError> {
        for &event in events {
            if self.parking.holds_back_of(|| sequence(event), event) {
                continue;
            }
            if let Err(refused) = self.publish(&[event]).await {
                let (reason, error) = *refused;
                if !is_poison(&error) {
                    return Err(error);
                }
                let before = Position::new(event.position.get() - 1);
                self.held.pass(views, &mut self.parking, before).await?;
                self.parking.poisoned(sequence(event), event, reason, error)?;
            }
        }
        Ok(())
    }
}

fn refused(error: StoreError) -> Refused {
    let error = ProjectionError::Broker(error);
    Box::new((Reason::of(&error), error))
}

/// Whether the event is at fault, and not the broker.
fn is_poison(error: &ProjectionError) -> bool {
    match error {
        ProjectionError::Broker(error) => error.kind() == StoreErrorKind::Invalid,
        error => matches!(error, ProjectionError::Handler(_)),
    }
}

#[async_trait]
impl<V: Views> Handler<V> for RelayHandler {
    fn held(&self) -> &Held {
        &self.held
    }

    fn held_mut(&mut self) -> &mut Held {
        &mut self.held
    }

    async fn handle(
        &mut self,
        views: &V,
        batch: &PageBatch,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), ProjectionError> {
        let is_due = |event: &&RecordedEvent| {
            self.relay.types.contains(&event.event_type) && self.held.is_due(event)
        };
        let due: Vec<_> = batch.events.iter().filter(is_due).collect();
        for some in due.chunks(IN_FLIGHT) {
            match self.publish_free(some).await {
                Ok(()) => {}
                Err(refused) if is_poison(&refused.1) => self.one_by_one(views, some).await?,
                Err(refused) => return Err(refused.1),
            }
            failpoint!("relay.after_publish");
            if let Some(last) = some.last() {
                self.held.pass(views, &mut self.parking, last.position).await?;
            }
            if *stop.borrow() {
                return Ok(());
            }
        }
        self.held.pass(views, &mut self.parking, batch.through).await
    }

    async fn recover(&mut self, views: &V) -> Result<(), ProjectionError> {
        self.held.recover(views).await?;
        self.parking.reload(views).await
    }

    async fn retry(
        &mut self,
        views: &V,
        parked: Vec<(Parked, RecordedEvent)>,
    ) -> Result<(), ProjectionError> {
        let (mut beside, mut failure) = (Vec::with_capacity(parked.len()), None);
        for (parked, event) in &parked {
            match self.publish(&[event]).await {
                Ok(()) => beside.push(parked.gone()?),
                Err(refused) => {
                    let (reason, error) = *refused;
                    if is_poison(&error) {
                        beside.push(parked.refused(&reason)?);
                    }
                    failure = Some(error);
                    break;
                }
            }
        }
        self.held.park(views, beside).await?;
        failure.map_or(Ok(()), Err)
    }
}
