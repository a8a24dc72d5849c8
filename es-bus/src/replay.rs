use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use es_core::{
    Address, Direction, EventStore, Fault, FaultKind, Message, OUTBOX_MESSAGE, Outgoing, Position,
    Read, RecordedEvent, StoreError, StoreErrorKind, Topic, World,
};
use futures_util::TryStreamExt;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::Ready;

/// By how much a clock may wake late and have it made up for: else a rate of thousands a second
/// would be as slow as the clock is coarse.
const LATE: Duration = Duration::from_millis(10);

/// Gives the events of a request to one handler once more, marked as a
/// [replay](Message::is_replay).
///
/// The handler is that of an endpoint, whether that runs or not, and gets each event as a
/// relay would have told it: with the event's id, so that an inbox absorbs what
/// was handled before. [`dedupe`](crate::Endpoint::dedupe) does not, as a replay is wanted.
/// An event of the outbox is the message that it holds, if that was for the endpoint and has not
/// expired.
///
/// The events come one after the other, in the order of the log, and up to where it ended when
/// the replay began. They are read by the page. What the handler cannot handle stops the replay,
/// and becomes no dead letter. The one in hand is handled to its end also if the replay is
/// dropped; none follows it.
///
/// ```
/// use es_bus::{Endpoint, Received, Replay};
/// use es_core::{
///     Batch, Codec, Event, EventStore, NewEvent, Read, StreamId, World, memory::MemoryStore,
/// };
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "order.placed")]
/// struct OrderPlaced { order: u64 }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let placed = NewEvent::encode(&OrderPlaced { order: 7 }, World::real().event_id(), Codec::Json)?;
/// store.append(Batch::to(StreamId::new("order", 7)?).event(placed)).await?;
///
/// let billing = Endpoint::new("billing")?.handle(|placed: Received<OrderPlaced>| async move {
///     assert!(placed.is_replay() && placed.event.order == 7);
///     Ok(())
/// });
/// let orders = Read::all().types_of::<OrderPlaced>();
/// let replayed = Replay::of(&store, orders).per_second(500).to(&billing).await?;
/// assert_eq!((replayed.handled, replayed.skipped), (1, 0));
/// # Ok(())
/// # }
/// ```
#[must_use = "a replay begins when it is given a handler"]
pub struct Replay<'a> {
    log: &'a dyn EventStore,
    read: Read,
    pause: Duration,
    world: World,
    progress: Box<dyn FnMut(Replayed) + Send + 'a>,
}

/// How far a [`Replay`] has come.
///
/// ```
/// assert_eq!(es_bus::Replayed::default().handled, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Replayed {
    /// Events that were handled.
    pub handled: u64,
    /// Events that the request asks for and the handler does not, or that are for the store's
    /// own use.
    pub skipped: u64,
    /// Every event at or before it that the request asks for was replayed: a replay of what is
    /// [after](Read::after) it goes on here.
    pub through: Position,
    /// Where the replay ends.
    pub up_to: Position,
}

/// Why a [`Replay`] stopped. Replay what is [after](Read::after) where it had come to when that
/// is mended.
///
/// ```
/// use es_bus::ReplayError;
/// use es_core::Read;
///
/// fn rest(of: Read, error: &ReplayError) -> Read {
///     of.after(error.so_far().through)
/// }
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log could not be read.
    #[error("the log cannot be read after position {}: {error}", so_far.through)]
    Store {
        /// What was replayed before.
        so_far: Replayed,
        /// Why.
        #[source]
        error: StoreError,
    },
    /// The handler failed or panicked, or could not read the event.
    #[error("the event at position {position} was not handled: {fault}")]
    Handler {
        /// What was replayed before.
        so_far: Replayed,
        /// Where the event stands; whoever can do without it goes on after it.
        position: Position,
        /// What the handler said.
        fault: Fault,
    },
}

impl ReplayError {
    /// What was replayed before.
    pub fn so_far(&self) -> Replayed {
        match self {
            Self::Store { so_far, .. } | Self::Handler { so_far, .. } => *so_far,
        }
    }
}

impl<'a> Replay<'a> {
    /// A replay of what this request reads, which goes forwards.
    pub fn of(log: &'a impl EventStore, read: Read) -> Self {
        let (pause, world) = (Duration::ZERO, World::real());
        Self { log, read, pause, world, progress: Box::new(|_| {}) }
    }

    /// Hands out so many events a second, and no more. Those that are skipped do not count.
    pub fn per_second(mut self, events: u32) -> Self {
        self.pause = Duration::from_secs(1) / events.max(1);
        self
    }

    /// Tells how far the replay has come, after each event and each page.
    pub fn on_progress(mut self, tell: impl FnMut(Replayed) + Send + 'a) -> Self {
        self.progress = Box::new(tell);
        self
    }

    /// Sets where time and tasks come from.
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// Replays to the handler of this endpoint.
    ///
    /// # Errors
    ///
    /// [`ReplayError`], which says how far it has come.
    pub async fn to(self, endpoint: &Ready) -> Result<Replayed, ReplayError> {
        let so_far = Replayed { through: self.read.after, ..Replayed::default() };
        let due = self.world.now();
        let mut replaying = Replaying { replay: self, endpoint, so_far, due };
        replaying.run().await?;
        Ok(replaying.so_far)
    }
}

/// A replay that is under way.
struct Replaying<'a> {
    replay: Replay<'a>,
    endpoint: &'a Ready,
    so_far: Replayed,
    /// When the next event may be handed out.
    due: DateTime<Utc>,
}

impl Replaying<'_> {
    async fn run(&mut self) -> Result<(), ReplayError> {
        let read = self.bounded().await.map_err(|error| self.unread(error))?;
        let is_limited = read.limit.is_some();
        let mut pages = self.replay.log.read(read);
        while let Some(page) = pages.try_next().await.map_err(|error| self.unread(error))? {
            // An upcaster may have made several events of one.
            for events in page.events.chunk_by(|one, next| one.position == next.position) {
                for event in events {
                    self.give(event).await?;
                }
                self.passed(events[0].position);
            }
            self.passed(page.through);
        }
        if !is_limited {
            self.passed(self.so_far.up_to);
        }
        Ok(())
    }

    /// The request, up to where the log ends for its followers: what others are still at before
    /// the last event is not passed over.
    async fn bounded(&mut self) -> Result<Read, StoreError> {
        if self.replay.read.direction == Direction::Backwards {
            return Err(StoreError::new(StoreErrorKind::Invalid, "a replay reads forwards"));
        }
        let end = self.replay.log.horizon().await?;
        let read = self.replay.read.clone();
        self.so_far.up_to = read.up_to.map_or(end, |up_to| up_to.min(end));
        Ok(read.up_to(self.so_far.up_to))
    }

    fn passed(&mut self, through: Position) {
        self.so_far.through = through.min(self.so_far.up_to).max(self.so_far.through);
        (self.replay.progress)(self.so_far);
    }

    async fn give(&mut self, event: &RecordedEvent) -> Result<(), ReplayError> {
        let was_handled = match self.told(event) {
            Ok(Some((to, message))) => self.hand_out(to, message).await,
            Ok(None) => Ok(false),
            Err(fault) => Err(fault),
        };
        let counter = match was_handled {
            Ok(true) => &mut self.so_far.handled,
            Ok(false) => &mut self.so_far.skipped,
            Err(fault) => {
                let (so_far, position) = (self.so_far, event.position);
                return Err(ReplayError::Handler { so_far, position, fault });
            }
        };
        *counter += 1;
        Ok(())
    }

    /// What the handler is told of the event, if anything is.
    fn told(&self, event: &RecordedEvent) -> Result<Option<(Address, Message)>, Fault> {
        if event.is_of_the_store() {
            return Ok(None);
        }
        if event.event_type != OUTBOX_MESSAGE {
            let topic = Topic::try_from(event.event_type.clone());
            let to = topic.map_or_else(|_| self.endpoint.group().clone().into(), Address::from);
            return Ok(Some((to, event.into())));
        }
        let outgoing = Outgoing::try_from(event)
            .map_err(|error| Fault::new(FaultKind::Undecodable, error.to_string()))?;
        let now = self.replay.world.now();
        let is_stale = outgoing.message.expires.is_some_and(|expires| expires <= now);
        let is_wanted = self.endpoint.listens_to(&outgoing.to) && !is_stale;
        Ok(is_wanted.then_some((outgoing.to, outgoing.message)))
    }

    async fn hand_out(&mut self, to: Address, message: Message) -> Result<bool, Fault> {
        let Replay { world, pause, .. } = &self.replay;
        let early = (self.due - world.now()).to_std().unwrap_or_default();
        if !early.is_zero() {
            // Never for longer, also if the clock was set back.
            world.sleep(early.min(*pause)).await;
        }
        let began = world.now();
        let was_handled = to_its_end(world, self.endpoint.replay(to, message)).await?;
        if was_handled {
            self.due = self.due.clamp(began - LATE, began) + *pause;
        }
        Ok(was_handled)
    }

    fn unread(&self, error: StoreError) -> ReplayError {
        ReplayError::Store { so_far: self.so_far, error }
    }
}

/// Handles in a task, which goes on if nobody waits for it any more.
async fn to_its_end(
    world: &World,
    handling: impl Future<Output = Result<bool, Fault>> + Send + 'static,
) -> Result<bool, Fault> {
    let (done, outcome) = oneshot::channel();
    world.detach(async move { drop(done.send(handling.await)) });
    let stopped = |_| Err(Fault::new(FaultKind::Transient, "its task was stopped"));
    outcome.await.unwrap_or_else(stopped)
}

impl fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay")
            .field("read", &self.read)
            .field("pause", &self.pause)
            .finish_non_exhaustive()
    }
}
