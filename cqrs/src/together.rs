use std::sync::Arc;

use es_core::{
    Aggregate, AppendError, Appended, Batch, Expected, InvalidBatch, Loaded, Metadata, NewEvent,
    Position, StreamId, Version, Write, stream_of,
};
use futures_util::future::BoxFuture;

use crate::{Commands, Failure, SendError, Sent, command::short_name, decision::refused};

/// A decision about several aggregates at once: all their events are appended,
/// or none, and only if none of them has moved since it was read.
///
/// ```
/// use cqrs::{Aggregate, Commands, DecideTogether, Event, Evolve};
/// use es_core::memory::MemoryStore;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "account")]
/// enum AccountEvent { Credited { amount: i64 } }
///
/// #[derive(Default, Aggregate)]
/// struct Account { balance: i64 }
///
/// impl Evolve for Account {
///     type Event = AccountEvent;
///     fn evolve(&mut self, AccountEvent::Credited { amount }: &AccountEvent) {
///         self.balance += amount;
///     }
/// }
///
/// struct Transfer { from: String, to: String, amount: i64 }
///
/// impl DecideTogether for Transfer {
///     type Aggregates = (Account, Account);
///     type Error = &'static str;
///
///     fn ids(&self) -> (String, String) {
///         (self.from.clone(), self.to.clone())
///     }
///     fn decide(
///         &self,
///         (from, _to): (&Account, &Account),
///     ) -> Result<(Vec<AccountEvent>, Vec<AccountEvent>), &'static str> {
///         if from.balance < self.amount { return Err("not enough money"); }
///         let credited = |amount| vec![AccountEvent::Credited { amount }];
///         Ok((credited(-self.amount), credited(self.amount)))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let commands = Commands::new(MemoryStore::new());
/// let transfer = Transfer { from: "ada".into(), to: "bob".into(), amount: 5 };
/// assert!(commands.send_together(transfer).await.is_err());
/// # Ok(())
/// # }
/// ```
pub trait DecideTogether: Send + Sync + 'static {
    /// The aggregates: a tuple of two, three or four.
    type Aggregates: Together;
    /// Why it may be refused.
    type Error: Send + Sync + 'static;

    /// Its name for layers and logs: that of the Rust type, unless you say so.
    fn name() -> &'static str {
        short_name::<Self>()
    }

    /// Which aggregates; two of one type must not have the same id.
    fn ids(&self) -> <Self::Aggregates as Together>::Ids;

    /// Decides; an aggregate without events is only checked for not having
    /// moved.
    ///
    /// # Errors
    ///
    /// The reason why not.
    fn decide(
        &self,
        aggregates: <Self::Aggregates as Together>::Refs<'_>,
    ) -> Result<<Self::Aggregates as Together>::Events, Self::Error>;
}

/// A tuple of aggregates; implemented for tuples of two, three and four.
///
/// See [`DecideTogether`] for an example.
pub trait Together: Sized + Send + Sync + 'static {
    /// Their ids.
    type Ids: Send + Sync;
    /// References to their states.
    type Refs<'a>;
    /// The events that follow for each.
    type Events: Send;
    /// Each with its version.
    #[doc(hidden)]
    type Loaded: Send + Sync;

    #[doc(hidden)]
    fn streams(ids: &Self::Ids) -> Result<Vec<StreamId>, Failure>;
    #[doc(hidden)]
    fn load<'a>(
        commands: &'a Commands,
        ids: &'a Self::Ids,
    ) -> BoxFuture<'a, Result<Self::Loaded, Failure>>;
    #[doc(hidden)]
    fn refs(loaded: &Self::Loaded) -> Self::Refs<'_>;
    #[doc(hidden)]
    fn writes(
        commands: &Commands,
        loaded: &Self::Loaded,
        events: Self::Events,
    ) -> Result<Vec<Write>, Failure>;
}

macro_rules! together {
    ($($type:ident $field:tt),+) => {
        impl<$($type: Aggregate),+> Together for ($($type,)+) {
            type Ids = ($($type::Id,)+);
            type Refs<'a> = ($(&'a $type,)+);
            type Events = ($(Vec<$type::Event>,)+);
            type Loaded = ($((StreamId, Loaded<$type>),)+);

            fn streams(ids: &Self::Ids) -> Result<Vec<StreamId>, Failure> {
                Ok(vec![$(stream_of::<$type>(&ids.$field)?),+])
            }

            fn load<'a>(
                commands: &'a Commands,
                ids: &'a Self::Ids,
            ) -> BoxFuture<'a, Result<Self::Loaded, Failure>> {
                Box::pin(async move { Ok(($(load::<$type>(commands, &ids.$field).await?,)+)) })
            }

            fn refs(loaded: &Self::Loaded) -> Self::Refs<'_> {
                ($(&loaded.$field.1.state,)+)
            }

            fn writes(
                commands: &Commands,
                loaded: &Self::Loaded,
                events: Self::Events,
            ) -> Result<Vec<Write>, Failure> {
                Ok(vec![$(write(commands, &loaded.$field, &events.$field)?,)+])
            }
        }
    };
}

together!(A 0, B 1);
together!(A 0, B 1, C 2);
together!(A 0, B 1, C 2, D 3);

async fn load<A: Aggregate>(
    commands: &Commands,
    id: &A::Id,
) -> Result<(StreamId, Loaded<A>), Failure> {
    let stream = stream_of::<A>(id)?.of(commands.context.tenant.clone());
    let bus = &commands.bus;
    let lanes = bus.lanes::<A>()?;
    let loaded = (lanes.settings.load)(&*bus.store, &stream).await?;
    Ok((stream, loaded))
}

fn write<A: Aggregate>(
    commands: &Commands,
    (stream, loaded): &(StreamId, Loaded<A>),
    events: &[A::Event],
) -> Result<Write, Failure> {
    let bus = &commands.bus;
    let events = NewEvent::encode_all(events, &bus.world, bus.codec)?;
    let write = Write::new(stream.clone()).expect(Expected::Exact(loaded.version));
    Ok(write.events(events))
}

impl Commands {
    /// Decides about several aggregates at once, and again if one of them has
    /// moved.
    ///
    /// # Errors
    ///
    /// [`SendError`], as for [`send`](Self::send).
    pub async fn send_together<D: DecideTogether>(
        &self,
        command: D,
    ) -> Result<Sent, SendError<D::Error>> {
        let (command, tenant) = (Arc::new(command), &self.context.tenant);
        let streams = D::Aggregates::streams(&command.ids())?.into_iter();
        let streams = streams.map(|stream| stream.of(tenant.clone())).collect();
        let asked = Arc::clone(&command);
        let run = |commands: Self| async move {
            let bus = Arc::clone(&commands.bus);
            let made = bus.ask(async move { commands.make_together(&*asked).await }).await;
            made.unwrap_or_else(|| Err(Failure::Panicked.into()))
        };
        let answer = self.through_layers(D::name(), streams, command, run).await;
        self.bus.metrics.answered(&answer);
        answer
    }

    async fn make_together<D: DecideTogether>(
        &self,
        command: &D,
    ) -> Result<Sent, SendError<D::Error>> {
        let id = self.context.command_id.unwrap_or_else(|| self.bus.world.append_id());
        let ids = command.ids();
        for attempt in 0..self.bus.attempts {
            self.bus.metrics.again(usize::from(attempt > 0));
            let loaded = D::Aggregates::load(self, &ids).await?;
            let decided = command.decide(D::Aggregates::refs(&loaded));
            let events = match decided {
                Ok(events) => events,
                Err(reason) => {
                    let first = self.first_result(id, attempt).await?;
                    return first.ok_or(SendError::Rejected(reason));
                }
            };
            let writes = D::Aggregates::writes(self, &loaded, events)?;
            check_apart(&writes)?;
            let batch = told(Batch::new(writes), &self.context.metadata).append_id(id);
            if batch.is_empty() {
                let (version, position) = (Version::NONE, Position::START);
                let nothing = Sent { version, position, repeated: false };
                return Ok(self.first_result(id, attempt).await?.unwrap_or(nothing));
            }
            match self.bus.store.append(batch).await {
                Ok(appended) => return Ok(sent(&appended)),
                Err(AppendError::Conflict(_)) => {}
                Err(AppendError::Store(error)) if error.is_transient() => {
                    self.bus.back_off(attempt).await;
                }
                Err(error) => return Err(refused(error)),
            }
        }
        Err(SendError::Contended { attempts: self.bus.attempts })
    }
}

/// No version could be expected of the second write to the same stream.
fn check_apart(writes: &[Write]) -> Result<(), Failure> {
    let twice = |at: usize| writes[..at].iter().any(|one| one.stream == writes[at].stream);
    if (0..writes.len()).any(twice) {
        let why = "a decision about several aggregates names one of them twice";
        return Err(InvalidBatch::Malformed(why).into());
    }
    Ok(())
}

/// The version is that of the aggregate whose event came last: a repeated
/// append does not tell about those that were only looked at.
fn sent(appended: &Appended) -> Sent {
    let position = appended.position;
    let last = appended.writes.iter().rev().find(|write| write.position == position);
    let version = last.map_or(appended.version(), |write| write.version);
    Sent { version, position, repeated: appended.repeated }
}

fn told(mut batch: Batch, metadata: &Metadata) -> Batch {
    for event in batch.writes.iter_mut().flat_map(|write| &mut write.events) {
        event.metadata = metadata.clone();
    }
    batch
}
