use std::{panic::AssertUnwindSafe, sync::Arc};

use async_trait::async_trait;
use es_core::{Name, Position, Recorded, RecordedEvent, Views, World, event_names, failpoint};
use futures_util::FutureExt;

use tokio::sync::watch;

use super::{
    batch::{PageBatch, decode},
    free::{PAUSE, is_poison},
    handler::{About, Handler, Held, Rebuilds, Recipe},
    parked::{FailureClass, Parked},
    parking::{Parking, Reason, Sequence, said},
    reaction::{Live, StartAt},
    settings::ModelSettings,
};
use crate::{ProjectionError, Reaction};

/// Most events whose effects are done before the checkpoint moves: as many may be done
/// once more after a kill.
const IN_FLIGHT: usize = 64;

/// Makes what runs the parts of a reaction.
pub(crate) struct ReactionRecipe<R: Reaction> {
    about: About,
    with: Arc<With<R>>,
}

struct With<R: Reaction> {
    reaction: R,
    tools: R::Tools,
}

impl<R: Reaction> ReactionRecipe<R> {
    pub(crate) fn new(
        reaction: R,
        tools: R::Tools,
        start: StartAt,
        settings: ModelSettings,
    ) -> Self {
        let about = About {
            name: Name::from_static(R::NAME),
            types: event_names::<R::Event>().collect(),
            revision: 0,
            settings,
            rebuilds: Rebuilds::Never,
            start,
        };
        Self { about, with: Arc::new(With { reaction, tools }) }
    }
}

#[async_trait]
impl<V: Views, R: Reaction> Recipe<V> for ReactionRecipe<R> {
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
        let with = Arc::clone(&self.with);
        Ok(Box::new(ReactionHandler::<R> { held, with, parking, settings, world }))
    }
}

/// Runs one part of a reaction: on the events of some streams, one after the other.
struct ReactionHandler<R: Reaction> {
    held: Held,
    with: Arc<With<R>>,
    parking: Parking,
    settings: ModelSettings,
    world: World,
}

impl<R: Reaction> ReactionHandler<R> {
    async fn react(&self, event: &R::Event, envelope: &RecordedEvent) -> Result<(), Reason> {
        let With { reaction, tools } = &*self.with;
        let mut live = Live::new(tools, R::NAME, envelope.id);
        let reacting = reaction.react(Recorded { event, envelope }, &mut live);
        match AssertUnwindSafe(reacting).catch_unwind().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Reason::of(&error)),
            Err(panic) => Err(Reason::new(FailureClass::Panic, said(&*panic))),
        }
    }

    /// What was parked.
    async fn once_more(&self, envelope: &RecordedEvent) -> Result<(), Reason> {
        match decode::<R::Event>(envelope) {
            Ok(Some(event)) => self.react(&event, envelope).await,
            Ok(None) => Ok(()),
            Err(error) => Err(Reason::of(&error.into())),
        }
    }

    /// Again and again, with longer and longer pauses.
    async fn persist(&self, event: &R::Event, envelope: &RecordedEvent) -> Result<(), Reason> {
        let (mut tries, mut pause) = (1, PAUSE);
        loop {
            match self.react(event, envelope).await {
                Err(_) if tries < self.settings.tries => {
                    self.world.sleep(pause).await;
                    (tries, pause) = (tries + 1, pause * 2);
                }
                outcome => return outcome.map_err(|reason| Reason { tries, ..reason }),
            }
        }
    }

    async fn one<V: Views>(
        &mut self,
        views: &V,
        envelope: &RecordedEvent,
        event: Option<&R::Event>,
    ) -> Result<(), ProjectionError> {
        if self.parking.holds_back(envelope) {
            return Ok(());
        }
        let reason = match (event, decode::<R::Event>(envelope)) {
            (Some(event), _) => match self.persist(event, envelope).await {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            },
            (None, Ok(_)) => return Ok(()),
            (None, Err(error)) => {
                let error = ProjectionError::from(error);
                if !is_poison(&error) {
                    self.pass(views, Position::new(envelope.position.get() - 1)).await?;
                    return Err(error);
                }
                Reason::of(&error)
            }
        };
        let error = ProjectionError::handler(reason.error.clone());
        self.pass(views, Position::new(envelope.position.get() - 1)).await?;
        self.parking.poisoned(Sequence::of_stream(&envelope.stream), envelope, reason, error)?;
        self.pass(views, envelope.position).await
    }

    /// Moves the checkpoint.
    async fn pass<V: Views>(
        &mut self,
        views: &V,
        through: Position,
    ) -> Result<(), ProjectionError> {
        self.held.pass(views, &mut self.parking, through).await
    }
}

#[async_trait]
impl<V: Views, R: Reaction> Handler<V> for ReactionHandler<R> {
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
        let mut in_flight = 0;
        for (place, event) in batch.decoded::<R::Event>().iter() {
            let envelope = &batch.events[*place];
            if !self.held.is_due(envelope) {
                continue;
            }
            self.one(views, envelope, event.as_ref().ok()).await?;
            failpoint!("reaction.after_effect");
            in_flight += 1;
            if in_flight % IN_FLIGHT == 0 || *stop.borrow() {
                self.pass(views, envelope.position).await?;
            }
            if *stop.borrow() {
                return Ok(());
            }
        }
        self.pass(views, batch.through).await
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
        for some in parked.chunks(IN_FLIGHT) {
            let (mut beside, mut refused) = (Vec::with_capacity(some.len()), None);
            for (parked, envelope) in some {
                let Err(reason) = self.once_more(envelope).await else {
                    beside.push(parked.gone()?);
                    continue;
                };
                beside.push(parked.refused(&reason)?);
                refused = Some(reason.error);
                break;
            }
            self.held.park(views, beside).await?;
            if let Some(error) = refused {
                return Err(ProjectionError::handler(error));
            }
        }
        Ok(())
    }
}
