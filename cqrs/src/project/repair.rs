//! What an operator does with events that a model could not take.

use es_core::{EventStoreExt, Name, Part, Position, Read, RecordedEvent, Views, failpoint};
use futures_util::future::try_join_all;

use super::{
    handler::Handler,
    parked::{self, Parked, ParkedState, waiting},
    parking::Sequence,
    visit::Visit,
};
use crate::{ProjectionError, Projector};

/// Most parked events that are taken in one transaction.
const RETRIED: usize = 256;
/// Most bytes of payloads in one transaction, but for its last event.
const BYTES: usize = 32 * 1024 * 1024;
/// Most of them that are read at once.
const READS: usize = 16;

/// Events to be tried again, and where one was removed that comes after them.
type Found = (Vec<(Parked, RecordedEvent)>, Option<Position>);

impl<V: Views> Projector<V> {
    /// What is parked of a model, and what was skipped or discarded; the events of one
    /// sequence in their order.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails.
    pub async fn parked(&self, model: &str) -> Result<Vec<Parked>, ProjectionError> {
        let name = Name::new(model).map_err(ProjectionError::handler)?;
        parked::all(&self.inner.views, &name).await
    }

    /// Gives the parked events of a sequence to the model again, in their order, up to the
    /// first that it still cannot take. Returns how many it took. The parts of the model
    /// that have parked them stand still for that time, one after the other, however long
    /// it is; what was taken of many events stays taken if it is killed on the way.
    ///
    /// # Errors
    ///
    /// What the model said to the event that it cannot take; it stays parked, with all
    /// that come after it.
    pub async fn retry(&self, model: &str, sequence: &str) -> Result<usize, ProjectionError> {
        let (name, builds) = self.look(model).await?;
        let recipe = self.recipe(&name)?;
        let Some(build) = builds.iter().find(|build| build.serves) else { return Ok(0) };
        let (sequence, mut taken) = (self.sequence(sequence), 0);
        for state in &build.parts {
            let part = build.part(state.slices);
            if waiting(&self.inner.views, &part, &sequence, 1).await?.is_empty() {
                continue;
            }
            let visit = Visit::new(&self.inner);
            let retrying = async {
                let mut handler = visit.take(&*recipe, build, state).await?;
                self.retry_part(&mut *handler, &sequence).await
            };
            let retried = visit.during(retrying).await;
            failpoint!("retry.before_leave");
            let left = visit.leave().await;
            taken += retried?;
            left?;
        }
        Ok(taken)
    }

    async fn retry_part(
        &self,
        handler: &mut dyn Handler<V>,
        sequence: &Sequence,
    ) -> Result<usize, ProjectionError> {
        let (views, part) = (&self.inner.views, handler.held().part.clone());
        let mut taken = 0;
        loop {
            let waiting = waiting(views, &part, sequence, RETRIED).await?;
            if waiting.is_empty() {
                return Ok(taken);
            }
            let (events, removed) = self.events(waiting).await?;
            taken += events.len();
            if !events.is_empty() {
                handler.retry(views, events).await?;
            }
            if let Some(position) = removed {
                let message = format!("the event at {position} was removed, discard it");
                return Err(ProjectionError::handler(message));
            }
        }
    }

    /// The parked events as the log has them, up to one that was removed from it.
    async fn events(&self, waiting: Vec<Parked>) -> Result<Found, ProjectionError> {
        let (mut events, mut bytes) = (Vec::with_capacity(waiting.len()), 0);
        for some in waiting.chunks(READS) {
            let found = try_join_all(some.iter().map(|parked| self.event(parked))).await?;
            for (parked, event) in some.iter().zip(found) {
                let Some(event) = event else { return Ok((events, Some(parked.position))) };
                bytes += event.payload.len();
                events.push((parked.clone(), event));
            }
            if bytes >= BYTES {
                break;
            }
        }
        Ok((events, None))
    }

    async fn event(&self, parked: &Parked) -> Result<Option<RecordedEvent>, ProjectionError> {
        let before = Position::new(parked.position.get().saturating_sub(1));
        let read = Read::all().every_tenant().after(before).up_to(parked.position);
        let found = self.inner.store.events(read).await?.into_iter().next();
        // Of what was truncated a marker may stand in its place.
        let found =
            found.filter(|event| event.version == parked.version() && !event.is_truncated());
        Ok(found.map(|event| parked.edited(event)))
    }

    /// Decides to do without the first parked event of a sequence. The note says who has
    /// decided so, and why, and is kept.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails.
    pub async fn discard(
        &self,
        model: &str,
        sequence: &str,
        actor: &str,
        why: &str,
    ) -> Result<(), ProjectionError> {
        let now = self.inner.world.now();
        self.amend(model, sequence, |parked| {
            parked.state = ParkedState::Discarded;
            parked.note(now, actor, format!("discarded: {why}"));
        })
        .await
    }

    /// Replaces the payload with which the first parked event of a sequence is tried again.
    /// The log is not changed, so that a rebuild meets the event as it was. The note says
    /// who has done so, and why, and is kept as long as the event is parked.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails.
    pub async fn edit(
        &self,
        model: &str,
        sequence: &str,
        payload: &str,
        actor: &str,
        why: &str,
    ) -> Result<(), ProjectionError> {
        let now = self.inner.world.now();
        self.amend(model, sequence, |parked| {
            parked.payload = Some(payload.to_owned());
            parked.note(now, actor, format!("edited: {why}"));
        })
        .await
    }

    /// Changes the first parked event of a sequence, in each part that has parked it.
    async fn amend(
        &self,
        model: &str,
        sequence: &str,
        amend: impl Fn(&mut Parked),
    ) -> Result<(), ProjectionError> {
        let (name, builds) = self.look(model).await?;
        self.recipe(&name)?;
        let Some(build) = builds.iter().find(|build| build.serves) else { return Ok(()) };
        let (views, sequence) = (&self.inner.views, self.sequence(sequence));
        let first = async |part: &Part| {
            let first = waiting(views, part, &sequence, 1).await?;
            Ok::<_, ProjectionError>(first.into_iter().next())
        };
        let visit = Visit::new(&self.inner);
        let amending = async {
            let mut mine = Vec::new();
            for state in &build.parts {
                if first(&build.part(state.slices)).await?.is_none() {
                    continue;
                }
                let held = visit.hold(build, state).await?;
                mine.extend(first(&held.part).await?.map(|parked| (held, parked)));
            }
            let position = mine.iter().map(|(_, parked)| parked.position).min();
            mine.retain(|(_, parked)| Some(parked.position) == position);
            for (mut held, mut parked) in mine {
                let gone = parked.gone()?;
                amend(&mut parked);
                // What does not wait any more has another place.
                let gone = (!parked.waits()).then_some(gone);
                held.park(views, gone.into_iter().chain([parked.row()?]).collect()).await?;
            }
            Ok(())
        };
        let amended = visit.during(amending).await;
        let left = visit.leave().await;
        amended.and(left)
    }

    fn sequence(&self, name: &str) -> Sequence {
        Sequence { tenant: self.tenant.clone(), name: name.to_owned() }
    }
}
