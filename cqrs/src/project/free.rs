use std::{marker::PhantomData, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{
    Changes, Event, Name, Part, Position, Recorded, RecordedEvent, Row, StoreErrorKind, Views,
    World, event_names,
};
use futures_util::FutureExt;

use tokio::sync::watch;

use super::{
    batch::{Decoded, PageBatch, decode},
    handler::{About, Handler, Held, Rebuilds, Recipe, Touched},
    parked::{FailureClass, Parked, each},
    parking::{Parking, Reason, Sequence, is_damaged, said},
    reaction::StartAt,
    settings::ModelSettings,
};
use crate::{Projection, ProjectionError};

/// The first pause before an event is tried again; the next ones are twice as long.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);

/// Makes what keeps the parts of a free-form projection.
pub(crate) struct FreeRecipe<P> {
    about: About,
    projection: Arc<P>,
}

impl<P> FreeRecipe<P> {
    pub(crate) fn new<Tx>(projection: P, settings: ModelSettings) -> Self
    where
        P: Projection<Tx>,
    {
        let about = About {
            name: Name::from_static(P::NAME),
            types: event_names::<P::Event>().collect(),
            revision: P::REVISION,
            settings,
            rebuilds: Rebuilds::InPlace,
            start: StartAt::Beginning,
        };
        Self { about, projection: Arc::new(projection) }
    }
}

#[async_trait]
impl<V: Views, P: Projection<V::Tx>> Recipe<V> for FreeRecipe<P> {
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
        let projection = Arc::clone(&self.projection);
        let views = PhantomData;
        Ok(Box::new(FreeHandler::<P, V> { held, projection, parking, settings, world, views }))
    }

    async fn empty(&self, views: &V, held: &mut Held) -> Result<(), ProjectionError> {
        let (mut tx, seen) = held.begin(views).await?;
        self.projection.reset(&mut tx).await?;
        // What is parked comes once more with all the others.
        let Part { model, build, .. } = &held.part;
        let mut gone = Vec::new();
        each(views, model, Some(*build), |id, _| gone.push(Row { id, value: None })).await?;
        let changes = Changes::default().parked(gone);
        held.commit(views, tx, changes, seen.at(Position::START), Touched::Anything).await
    }
}

/// Keeps one part of a free-form projection: the events of some streams.
struct FreeHandler<P, V> {
    held: Held,
    projection: Arc<P>,
    parking: Parking,
    settings: ModelSettings,
    world: World,
    views: PhantomData<fn() -> V>,
}

/// Events that are handled in one transaction, up to a position: their places among
/// the decoded ones of the batch.
struct Run<'a, E> {
    batch: &'a PageBatch,
    decoded: &'a Decoded<E>,
    places: &'a [usize],
    through: Position,
}

impl<'a, E: Event> Run<'a, E> {
    fn part(&self, from: usize, to: usize, through: Position) -> Self {
        Run { places: &self.places[from..to], through, ..*self }
    }

    fn envelope(&self, at: usize) -> &'a RecordedEvent {
        &self.batch.events[self.decoded[self.places[at]].0]
    }

    /// The event, decoded once more if that has failed, for the error.
    fn event(&self, at: usize) -> Result<&'a E, ProjectionError> {
        match &self.decoded[self.places[at]].1 {
            Ok(event) => Ok(event),
            Err(_) => match decode::<E>(self.envelope(at)) {
                Err(error) => Err(error.into()),
                Ok(_) => Err(ProjectionError::handler("an event can be read, and cannot")),
            },
        }
    }
}

impl<V: Views, P: Projection<V::Tx>> FreeHandler<P, V> {
    /// The events of the batch that this part has not seen.
    fn mine(&self, batch: &PageBatch, decoded: &Decoded<P::Event>) -> Vec<usize> {
        let places = decoded.iter().enumerate();
        let mine = places.filter(|(_, (place, _))| self.held.is_due(&batch.events[*place]));
        mine.map(|(at, _)| at).collect()
    }

    /// Handles all of them in one transaction. Given together they do not tell which of
    /// them is at fault, so then each is given by itself.
    async fn run(&mut self, views: &V, run: &Run<'_, P::Event>) -> Result<(), Failed> {
        match self.run_by(views, run, run.places.len()).await {
            Err(failed)
                if failed.at.is_none() && run.places.len() > 1 && is_poison(&failed.error) =>
            {
                self.parking.forget();
                self.run_by(views, run, 1).await
            }
            outcome => outcome,
        }
    }

    /// Handles all of them in one transaction, so many at once.
    async fn run_by(
        &mut self,
        views: &V,
        run: &Run<'_, P::Event>,
        at_once: usize,
    ) -> Result<(), Failed> {
        let (mut tx, seen) = self.held.begin(views).await.map_err(Failed::somewhere)?;
        let (mut places, mut events) = (Vec::new(), Vec::with_capacity(run.places.len()));
        for at in 0..run.places.len() {
            let envelope = run.envelope(at);
            if self.parking.holds_back(envelope) {
                continue;
            }
            let event = run.event(at).map_err(|error| {
                let at = Some((at, Reason::of(&error)));
                Failed { at, error }
            })?;
            places.push(at);
            events.push(Recorded { event, envelope });
        }
        let at_once = at_once.max(1);
        for (places, events) in places.chunks(at_once).zip(events.chunks(at_once)) {
            let projected = self.project(events, &mut tx).await;
            projected.map_err(|(reason, error)| {
                let only = places.first().filter(|_| places.len() == 1);
                Failed { at: only.map(|at| (*at, reason)), error }
            })?;
        }
        let parked = self.parking.rows().map_err(Failed::somewhere)?;
        let next = seen.at(run.through);
        let parked = Changes::default().parked(parked);
        let touched = if run.places.is_empty() { Touched::Rows } else { Touched::Anything };
        let committed = self.held.commit(views, tx, parked, next, touched).await;
        committed.map_err(Failed::somewhere)
    }

    async fn project(
        &self,
        events: &[Recorded<'_, P::Event>],
        tx: &mut V::Tx,
    ) -> Result<(), (Reason, ProjectionError)> {
        let projecting = AssertUnwindSafe(self.projection.project_all(events, tx));
        match projecting.catch_unwind().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err((Reason::of(&error), error)),
            Err(panic) => {
                let panic = said(&*panic);
                let reason = Reason::new(FailureClass::Panic, &panic);
                Err((reason, ProjectionError::handler(panic)))
            }
        }
    }

    /// Handles parked events, and tells which are left to be handled each by itself.
    async fn take_most<'p>(
        &mut self,
        views: &V,
        all: &'p [(Parked, RecordedEvent)],
    ) -> Result<&'p [(Parked, RecordedEvent)], ProjectionError> {
        let Err(Failed { at, error }) = self.take(views, all).await else { return Ok(&[]) };
        let at = at.map_or(0, |(at, _)| at);
        if at == 0 {
            return if is_poison(&error) { Ok(all) } else { Err(error) };
        }
        match self.take(views, &all[..at]).await {
            Ok(()) => Ok(&all[at..]),
            Err(failed) if is_poison(&failed.error) => Ok(all),
            Err(failed) => Err(failed.error),
        }
    }

    /// Handles parked events in one transaction.
    async fn take(&mut self, views: &V, all: &[(Parked, RecordedEvent)]) -> Result<(), Failed> {
        let (mut tx, seen) = self.held.begin(views).await.map_err(Failed::somewhere)?;
        let mut gone = Vec::with_capacity(all.len());
        for (at, (parked, envelope)) in all.iter().enumerate() {
            let projected = match decode::<P::Event>(envelope) {
                Ok(Some(event)) => {
                    self.project(&[Recorded { event: &event, envelope }], &mut tx).await
                }
                Ok(None) => Ok(()),
                Err(error) => {
                    let error = ProjectionError::from(error);
                    Err((Reason::of(&error), error))
                }
            };
            projected.map_err(|(reason, error)| Failed { at: Some((at, reason)), error })?;
            gone.push(parked.gone().map_err(Failed::somewhere)?);
        }
        let changes = Changes::default().parked(gone);
        let committed = self.held.commit(views, tx, changes, seen, Touched::Anything).await;
        committed.map_err(Failed::somewhere)
    }

    /// Handles one event by itself, again and again; then it counts as poison.
    async fn alone(&mut self, views: &V, run: &Run<'_, P::Event>) -> Result<(), ProjectionError> {
        let envelope = run.envelope(0);
        let (mut tries, mut pause) = (1, PAUSE);
        let Failed { at, error } = loop {
            match self.run(views, run).await {
                Ok(()) => return Ok(()),
                Err(failed) if failed.is_hopeless() || tries >= self.settings.tries => {
                    break failed;
                }
                Err(_) => {
                    self.world.sleep(pause).await;
                    pause *= 2;
                    tries += 1;
                }
            }
        };
        if !is_poison(&error) {
            return Err(error);
        }
        let reason =
            Reason { tries, ..at.map_or_else(|| Reason::of(&error), |(_, reason)| reason) };
        let stream = Sequence::of_stream(&envelope.stream);
        self.parking.poisoned(stream, envelope, reason, error)?;
        self.held.pass(views, &mut self.parking, envelope.position).await
    }
}

/// What went wrong, and at which event if that is known.
struct Failed {
    at: Option<(usize, Reason)>,
    error: ProjectionError,
}

impl Failed {
    fn somewhere(error: impl Into<ProjectionError>) -> Self {
        Self { at: None, error: error.into() }
    }

    /// Whether to try again is of no use.
    fn is_hopeless(&self) -> bool {
        matches!(self.error, ProjectionError::Event(_)) || !is_poison(&self.error)
    }
}

/// Whether it is the event's fault, and not the store's or the program's.
pub(crate) fn is_poison(error: &ProjectionError) -> bool {
    match error {
        ProjectionError::Event(error) => is_damaged(error),
        ProjectionError::Handler(_) => true,
        ProjectionError::Store(error) => {
            matches!(error.kind(), StoreErrorKind::Other | StoreErrorKind::Invalid)
        }
        _ => false,
    }
}

#[async_trait]
impl<V: Views, P: Projection<V::Tx>> Handler<V> for FreeHandler<P, V> {
    fn held(&self) -> &Held {
        &self.held
    }

    fn held_mut(&mut self) -> &mut Held {
        &mut self.held
    }

    /// All in one transaction. If that fails at an event, what comes before it is
    /// handled once more, then the event by itself, then the rest; if it is not known
    /// at which, each by itself.
    async fn handle(
        &mut self,
        views: &V,
        batch: &PageBatch,
        _: &watch::Receiver<bool>,
    ) -> Result<(), ProjectionError> {
        if batch.through <= self.held.checkpoint.position {
            return Ok(());
        }
        let decoded = batch.decoded::<P::Event>();
        let mine = self.mine(batch, &decoded);
        let all = Run { batch, decoded: &decoded, places: &mine, through: batch.through };
        let one = |at: usize| all.part(at, at + 1, all.envelope(at).position);
        let mut from = 0;
        loop {
            let Err(failed) = self.run(views, &all.part(from, mine.len(), all.through)).await
            else {
                return Ok(());
            };
            if !is_poison(&failed.error) || from == mine.len() {
                return Err(failed.error);
            }
            self.parking.forget();
            let bad = failed.at.as_ref().map_or(mine.len() - 1, |(at, _)| from + at);
            if failed.at.is_none() {
                for at in from..bad {
                    self.alone(views, &one(at)).await?;
                }
            } else if bad > from {
                let before = all.part(from, bad, all.envelope(bad - 1).position);
                if let Err(failed) = self.run(views, &before).await {
                    if !is_poison(&failed.error) {
                        return Err(failed.error);
                    }
                    self.parking.forget();
                    for at in from..bad {
                        self.alone(views, &one(at)).await?;
                    }
                }
            }
            self.alone(views, &one(bad)).await?;
            from = bad + 1;
        }
    }

    async fn recover(&mut self, views: &V) -> Result<(), ProjectionError> {
        self.held.recover(views).await?;
        self.parking.reload(views).await
    }

    /// All in one transaction. If that fails at an event, what comes before it is handled
    /// once more, then the event by itself; if it is not known at which, each by itself.
    async fn retry(
        &mut self,
        views: &V,
        parked: Vec<(Parked, RecordedEvent)>,
    ) -> Result<(), ProjectionError> {
        for one in self.take_most(views, &parked).await? {
            let Err(failed) = self.take(views, std::slice::from_ref(one)).await else { continue };
            if !is_poison(&failed.error) {
                return Err(failed.error);
            }
            let why = failed.at.map_or_else(|| Reason::of(&failed.error), |(_, why)| why);
            self.held.park(views, vec![one.0.refused(&why)?]).await?;
            return Err(failed.error);
        }
        Ok(())
    }
}
