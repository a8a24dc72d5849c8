use async_trait::async_trait;
use es_core::{
    Changes, Message, Name, Position, RecordedEvent, StoreError, StoreErrorKind, Views, World,
    failpoint,
};
use tokio::sync::watch;

use super::{
    batch::PageBatch,
    handler::{About, Handler, Held, Rebuilds, Recipe, Touched},
    parked::Parked,
    parking::{Parking, Reason, Sequence},
    reaction::StartAt,
    relay::Relay,
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
        let settings = self.about.settings;
        let parking = Parking::load(views, &held.part, settings.poison, world.clone()).await?;
        Ok(Box::new(RelayHandler { held, relay: self.relay.clone(), parking, settings, world }))
    }
}

/// Publishes the events of some streams.
struct RelayHandler {
    held: Held,
    relay: Relay,
    parking: Parking,
    settings: ModelSettings,
    world: World,
}

impl RelayHandler {
    /// The events of the batch that this part has to tell of, those left out that stand
    /// behind one that is parked.
    fn due<'b>(&mut self, batch: &'b PageBatch) -> Vec<&'b RecordedEvent> {
        let is_named = |event: &&RecordedEvent| self.relay.types.contains(&event.event_type);
        let mine = batch.events.iter().filter(is_named).filter(|event| self.held.is_due(event));
        let mut due: Vec<_> = mine.collect();
        if !self.parking.is_empty() {
            due.retain(|event| !self.stands_behind(event));
        }
        due
    }

    fn stands_behind(&mut self, event: &RecordedEvent) -> bool {
        let stream = Sequence::of_stream(&event.stream);
        let is_blocked = self.parking.blocks(&stream);
        if is_blocked {
            self.parking.follow(&stream, event);
        }
        is_blocked
    }

    async fn publish(&self, events: &[&RecordedEvent]) -> Result<(), StoreError> {
        let told = events
            .iter()
            .filter_map(|event| (self.relay.route)(event).map(|to| (to, Message::from(*event))));
        self.relay.publisher.publish_all(told.collect()).await
    }

    /// Publishes one by one what was refused together, and parks what is refused alone.
    async fn one_by_one<V: Views>(
        &mut self,
        views: &V,
        events: &[&RecordedEvent],
    ) -> Result<(), ProjectionError> {
        for &event in events {
            if self.stands_behind(event) {
                continue;
            }
            if let Err(error) = self.publish(&[event]).await {
                if !is_poison(&error) {
                    return Err(error.into());
                }
                let (error, tries) = (ProjectionError::from(error), self.settings.tries);
                let reason = Reason { tries, ..Reason::of(&error) };
                self.pass(views, Position::new(event.position.get() - 1)).await?;
                let stream = Sequence::of_stream(&event.stream);
                self.parking.poisoned(stream, event, reason, error)?;
            }
        }
        Ok(())
    }

    /// Moves the checkpoint.
    async fn pass<V: Views>(
        &mut self,
        views: &V,
        through: Position,
    ) -> Result<(), ProjectionError> {
        if through <= self.held.checkpoint.position {
            return Ok(());
        }
        failpoint!("relay.before_checkpoint");
        let (tx, seen) = self.held.begin(views).await?;
        let changes = Changes::default().parked(self.parking.rows()?);
        self.held.commit(views, tx, changes, seen.at(through), Touched::Rows).await
    }
}

/// Whether the message is at fault, and not the broker.
fn is_poison(error: &StoreError) -> bool {
    matches!(error.kind(), StoreErrorKind::Invalid)
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
        for some in self.due(batch).chunks(IN_FLIGHT) {
            match self.publish(some).await {
                Ok(()) => {}
                Err(error) if is_poison(&error) => self.one_by_one(views, some).await?,
                Err(error) => return Err(error.into()),
            }
            failpoint!("relay.after_publish");
            if let Some(last) = some.last() {
                self.pass(views, last.position).await?;
            }
            if *stop.borrow() {
                return Ok(());
            }
        }
        self.pass(views, batch.through).await
    }

    async fn recover(&mut self, views: &V) -> Result<(), ProjectionError> {
        self.held.recover(views).await?;
        let (part, world) = (&self.held.part, self.world.clone());
        self.parking = Parking::load(views, part, self.settings.poison, world).await?;
        Ok(())
    }

    async fn retry(
        &mut self,
        views: &V,
        parked: Vec<(Parked, RecordedEvent)>,
    ) -> Result<(), ProjectionError> {
        let (mut beside, mut refused) = (Vec::with_capacity(parked.len()), None);
        for (parked, event) in &parked {
            match self.publish(&[event]).await {
                Ok(()) => beside.push(parked.gone()?),
                Err(error) => {
                    let error = ProjectionError::from(error);
                    let mut parked = parked.clone();
                    parked.refused(&Reason::of(&error));
                    beside.push(parked.row()?);
                    refused = Some(error);
                    break;
                }
            }
        }
        let (tx, seen) = self.held.begin(views).await?;
        let changes = Changes::default().parked(beside);
        self.held.commit(views, tx, changes, seen, Touched::Rows).await?;
        refused.map_or(Ok(()), Err)
    }
}
