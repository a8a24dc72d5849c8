use std::sync::Arc;

use es_core::{
    AppendError, AppendId, Batch, Criteria, EventStoreExt, Evolve, LoadError, NameError, NewEvent,
    Position, Read, RecordedEvent, StreamId, Version, Write, event_names,
};
use futures_util::TryStreamExt;

use crate::{Commands, Failure, SendError, Sent, command::short_name};

/// A decision over a query instead of one stream: fold whatever meets the
/// criteria, decide, and append unless something new meets them.
///
/// Only the types that its state knows take part in the criteria.
///
/// ```
/// use cqrs::{Commands, Decision, Event, Evolve};
/// use es_core::{Criteria, NameError, StreamId, Tag, memory::MemoryStore};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "seat")]
/// enum SeatEvent { Taken { #[tag] course: String, #[tag] student: String } }
///
/// #[derive(Default)]
/// struct Seats { taken: usize }
///
/// impl Evolve for Seats {
///     type Event = SeatEvent;
///     fn evolve(&mut self, _: &SeatEvent) { self.taken += 1; }
/// }
///
/// struct TakeSeat { course: String, student: String }
///
/// impl Decision for TakeSeat {
///     type State = Seats;
///     type Error = &'static str;
///
///     fn criteria(&self) -> Result<Criteria, NameError> {
///         Ok(Criteria::tag(Tag::new("course", &self.course)?))
///     }
///     fn stream(&self, _: &SeatEvent) -> Result<StreamId, NameError> {
///         StreamId::new("seat", format!("{}/{}", self.course, self.student))
///     }
///     fn decide(&self, seats: &Seats) -> Result<Vec<SeatEvent>, &'static str> {
///         if seats.taken == 2 { return Err("the course is full"); }
///         let (course, student) = (self.course.clone(), self.student.clone());
///         Ok(vec![SeatEvent::Taken { course, student }])
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let commands = Commands::new(MemoryStore::new());
/// let take = |student: &str| TakeSeat { course: "rust".into(), student: student.into() };
/// commands.decide(take("ada")).await?;
/// commands.decide(take("bob")).await?;
/// assert!(commands.decide(take("cyd")).await.is_err());
/// # Ok(())
/// # }
/// ```
pub trait Decision: Send + Sync + 'static {
    /// What the decision needs to know.
    type State: Evolve;
    /// Why it may be refused.
    type Error: Send + Sync + 'static;

    /// Its name for layers and logs: that of the Rust type, unless you say so.
    fn name() -> &'static str {
        short_name::<Self>()
    }

    /// Which events it needs to know of.
    ///
    /// # Errors
    ///
    /// [`NameError`] if a value makes no tag.
    fn criteria(&self) -> Result<Criteria, NameError>;

    /// The stream to which an event that follows belongs.
    ///
    /// # Errors
    ///
    /// [`NameError`] if a value makes no stream name.
    fn stream(&self, event: &<Self::State as Evolve>::Event) -> Result<StreamId, NameError>;

    /// Decides.
    ///
    /// # Errors
    ///
    /// The reason why not.
    fn decide(
        &self,
        state: &Self::State,
    ) -> Result<Vec<<Self::State as Evolve>::Event>, Self::Error>;
}

/// What the decision has seen.
struct Seen<S> {
    state: S,
    through: Position,
}

impl Commands {
    /// Makes a decision over a query, and makes it again if something new has
    /// met the criteria.
    ///
    /// # Errors
    ///
    /// [`SendError`], as for [`send`](Self::send).
    pub async fn decide<D: Decision>(&self, decision: D) -> Result<Sent, SendError<D::Error>> {
        let decision = Arc::new(decision);
        let asked = Arc::clone(&decision);
        let run = |commands: Self| async move {
            let bus = Arc::clone(&commands.bus);
            let made = bus.ask(async move { commands.make(&*asked).await }).await;
            made.unwrap_or_else(|| Err(Failure::Panicked.into()))
        };
        let answer = self.through_layers(D::name(), Vec::new(), decision, run).await;
        self.bus.metrics.answered(&answer);
        answer
    }

    async fn make<D: Decision>(&self, decision: &D) -> Result<Sent, SendError<D::Error>> {
        let types: Vec<_> = event_names::<<D::State as Evolve>::Event>().collect();
        let criteria = decision.criteria().map_err(Failure::from)?.within_types(&types);
        let id = self.context.command_id.unwrap_or_else(|| self.bus.world.append_id());
        let mut seen = Seen { state: D::State::default(), through: Position::START };
        for attempt in 0..self.bus.attempts {
            self.bus.metrics.again(usize::from(attempt > 0));
            self.look(&criteria, &mut seen).await?;
            let events = match decision.decide(&seen.state) {
                Ok(events) => events,
                Err(reason) => {
                    let first = self.first_result(id, attempt).await?;
                    return first.ok_or(SendError::Rejected(reason));
                }
            };
            if events.is_empty() {
                let version = Version::NONE;
                let nothing = Sent { version, position: seen.through, repeated: false };
                return Ok(self.first_result(id, attempt).await?.unwrap_or(nothing));
            }
            let batch = self.batch(decision, &events, id)?.unless(criteria.clone(), seen.through);
            match self.bus.store.append(batch).await {
                Ok(appended) => {
                    let (version, position) = (appended.version(), appended.position);
                    return Ok(Sent { version, position, repeated: appended.repeated });
                }
                Err(AppendError::Overtaken { .. } | AppendError::Conflict(_)) => {}
                Err(AppendError::Store(error)) if error.is_transient() => {
                    self.bus.back_off(attempt).await;
                }
                Err(error) => return Err(refused(error)),
            }
        }
        Err(SendError::Contended { attempts: self.bus.attempts })
    }

    async fn look<S: Evolve>(
        &self,
        criteria: &Criteria,
        seen: &mut Seen<S>,
    ) -> Result<(), Failure> {
        let read = Read::matching(criteria.clone()).of(self.context.tenant.clone());
        let mut pages = self.bus.store.read(read.after(seen.through));
        while let Some(page) = pages.try_next().await? {
            for event in &page.events {
                seen.state.absorb(event)?;
            }
            seen.through = page.through;
        }
        Ok(())
    }

    fn batch<D: Decision>(
        &self,
        decision: &D,
        events: &[<D::State as Evolve>::Event],
        id: AppendId,
    ) -> Result<Batch, Failure> {
        let mut batch = Batch::new([]);
        for (event, event_id) in events.iter().zip(self.bus.world.event_ids()) {
            let stream = decision.stream(event)?.of(self.context.tenant.clone());
            let mut new = NewEvent::encode(event, event_id, self.bus.codec)?;
            new.metadata = self.context.metadata.clone();
            batch = batch.write(Write::new(stream).append_id(id).events([new]));
        }
        Ok(batch)
    }

    /// What a command with this id has done before: for a sender that chose the
    /// id, or in an earlier attempt whose answer was lost.
    pub(crate) async fn first_result(
        &self,
        id: AppendId,
        attempt: u32,
    ) -> Result<Option<Sent>, Failure> {
        if self.context.command_id.is_none() && attempt == 0 {
            return Ok(None);
        }
        let read = Read::append(id).of(self.context.tenant.clone());
        let events = self.bus.store.events(read).await?;
        let sent = |event: &RecordedEvent| Sent {
            version: event.version,
            position: event.position,
            repeated: true,
        };
        Ok(events.last().map(sent))
    }
}

/// A state over several streams takes events as they come.
trait Absorb {
    fn absorb(&mut self, event: &RecordedEvent) -> Result<(), LoadError>;
}

impl<S: Evolve> Absorb for S {
    fn absorb(&mut self, event: &RecordedEvent) -> Result<(), LoadError> {
        let decoded = event.decode().map_err(|source| LoadError::Event {
            stream: event.stream.clone(),
            version: event.version,
            position: event.position,
            source,
        })?;
        if let Some(event) = decoded {
            self.evolve(&event);
        }
        Ok(())
    }
}

/// What a refused append means to whoever asked.
pub(crate) fn refused<E>(error: AppendError) -> SendError<E> {
    match error {
        AppendError::Claimed { scope, key, holder } => SendError::Claimed { scope, key, holder },
        AppendError::Gone { stream } => SendError::Gone { stream },
        AppendError::Model { model, why } => SendError::Model { model, why },
        AppendError::Store(error) => Failure::from(error).into(),
        AppendError::Invalid(invalid) => Failure::from(invalid).into(),
        other => {
            let kind = es_core::StoreErrorKind::Other;
            Failure::from(es_core::StoreError::new(kind, other.to_string())).into()
        }
    }
}
