use std::{
    any::{Any, TypeId},
    fmt,
    sync::Arc,
};

use dashmap::DashMap;
use es_core::{
    Aggregate, AppendId, Codec, EventStore, Metadata, StreamId, Tenant, World, stream_of,
};
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

use crate::{
    Command, Decide, Dispatch, Failure, NameClaimedTwice, Outcome, SendError, Sent, Settings,
    ToAggregate,
    bus::{Bus, Layered},
    catalogue::Catalogue,
    context::Context,
    lanes::{Answer, Entered, Lanes, Waiting},
    metrics::Metrics,
    runner::Runner,
};

/// How often a decision is made before it counts as contended.
const ATTEMPTS: u32 = 16;

/// The command bus: loads the aggregate, lets it decide, appends what follows,
/// and decides again if another writer was faster.
///
/// Commands for one aggregate queue up in front of it, and those that wait go
/// into one append; commands for different aggregates run side by side. A caller
/// that stops waiting leaves its command running. Clones share everything.
///
/// ```
/// use cqrs::{Aggregate, Command, Commands, Decide, Event, Evolve, SendError};
/// use es_core::memory::MemoryStore;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "account")]
/// enum AccountEvent { Deposited { amount: u64 }, Withdrawn { amount: u64 } }
///
/// #[derive(Default, Aggregate)]
/// #[aggregate(error = &'static str)]
/// struct Account { balance: u64 }
///
/// impl Evolve for Account {
///     type Event = AccountEvent;
///     fn evolve(&mut self, event: &AccountEvent) {
///         match event {
///             AccountEvent::Deposited { amount } => self.balance += amount,
///             AccountEvent::Withdrawn { amount } => self.balance -= amount,
///         }
///     }
/// }
///
/// #[derive(Command)]
/// #[command(aggregate = Account)]
/// struct Deposit { #[id] account: String, amount: u64 }
///
/// impl Decide<Deposit> for Account {
///     fn decide(&self, command: &Deposit) -> Result<Vec<AccountEvent>, &'static str> {
///         Ok(vec![AccountEvent::Deposited { amount: command.amount }])
///     }
/// }
///
/// #[derive(Command)]
/// #[command(aggregate = Account)]
/// struct Withdraw { #[id] account: String, amount: u64 }
///
/// impl Decide<Withdraw> for Account {
///     fn decide(&self, command: &Withdraw) -> Result<Vec<AccountEvent>, &'static str> {
///         if command.amount > self.balance { return Err("not enough money"); }
///         Ok(vec![AccountEvent::Withdrawn { amount: command.amount }])
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let commands = Commands::new(MemoryStore::new());
/// let sent = commands.send(Deposit { account: "ada".into(), amount: 5 }).await?;
/// assert_eq!(sent.version.get(), 1);
/// let refused = commands.send(Withdraw { account: "ada".into(), amount: 7 }).await;
/// assert!(matches!(refused, Err(SendError::Rejected("not enough money"))));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Commands {
    pub(crate) bus: Arc<Bus>,
    pub(crate) context: Context,
}

impl Commands {
    /// A bus over this store, with default settings and no layers.
    pub fn new(store: impl EventStore) -> Self {
        Self::builder(store).build()
    }

    /// A bus over this store, to be configured.
    pub fn builder(store: impl EventStore) -> CommandsBuilder {
        CommandsBuilder {
            bus: Bus {
                store: Arc::new(store),
                world: World::real(),
                codec: Codec::default(),
                layered: None,
                catalogue: Catalogue::default(),
                lanes: DashMap::new(),
                running: watch::Sender::new(0),
                attempts: ATTEMPTS,
                metrics: Metrics::new(),
            },
        }
    }

    /// The same bus; what is sent through it carries this metadata.
    #[must_use]
    pub fn with(&self, metadata: Metadata) -> Self {
        let context = Context { metadata, ..self.context.clone() };
        Self { bus: Arc::clone(&self.bus), context }
    }

    /// The same bus; what is sent through it belongs to this tenant.
    #[must_use]
    pub fn of(&self, tenant: Tenant) -> Self {
        let context = Context { tenant, ..self.context.clone() };
        Self { bus: Arc::clone(&self.bus), context }
    }

    /// The same bus for one command with this id: whoever sends it again gets
    /// the first result, and nothing happens twice.
    #[must_use]
    pub fn once(&self, command_id: AppendId) -> Self {
        let context = Context { command_id: Some(command_id), ..self.context.clone() };
        Self { bus: Arc::clone(&self.bus), context }
    }

    /// Sends a command to its aggregate and waits for what became of it.
    ///
    /// # Errors
    ///
    /// [`SendError`]: the variant says what to do.
    pub async fn send<C>(&self, command: C) -> Answer<C::Aggregate>
    where
        C: Command,
        C::Aggregate: Decide<C>,
    {
        let answer = self.send_unmeasured(Arc::new(command)).await;
        self.bus.metrics.answered(&answer);
        answer
    }

    async fn send_unmeasured<C>(&self, command: Arc<C>) -> Answer<C::Aggregate>
    where
        C: Command,
        C::Aggregate: Decide<C>,
    {
        if self.bus.layered.is_none() {
            return self.to_aggregate(command).await;
        }
        let stream = stream_of::<C::Aggregate>(command.id()).map_err(Failure::from)?;
        let streams = vec![stream.of(self.context.tenant.clone())];
        let sent = Arc::clone(&command);
        let run = |commands: Commands| async move { commands.to_aggregate(sent).await };
        self.through_layers(C::NAME, streams, command, run).await
    }

    /// Waits until no command is being carried out any more.
    pub async fn drain(&self) {
        let mut running = self.bus.running.subscribe();
        let _ = running.wait_for(|count| *count == 0).await;
    }

    async fn to_aggregate<C>(&self, command: Arc<C>) -> Answer<C::Aggregate>
    where
        C: Command,
        C::Aggregate: Decide<C>,
    {
        let stream = stream_of::<C::Aggregate>(command.id()).map_err(Failure::from)?;
        let stream = stream.of(self.context.tenant.clone());
        let lanes = self.bus.lanes::<C::Aggregate>().map_err(Failure::from)?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting {
            ask: command,
            metadata: self.context.metadata.clone(),
            id: self.context.command_id,
            tried: None,
            answer,
        };
        match lanes.enter(&stream, waiting) {
            Entered::Full => return Err(SendError::Contended { attempts: 0 }),
            Entered::Wait => {}
            Entered::Run(first) => {
                let bus = Arc::clone(&self.bus);
                let runner = Runner { bus, lanes, stream, ended: false };
                self.bus.run(runner, first).await;
            }
        }
        answered.await.unwrap_or_else(|_| Err(Failure::Panicked.into()))
    }

    /// Hands a command to the layers, if there are any; the innermost runs it.
    pub(crate) async fn through_layers<E, F>(
        &self,
        command_name: &'static str,
        streams: Vec<StreamId>,
        command: Arc<dyn Any + Send + Sync>,
        run: impl FnOnce(Self) -> F + Send + 'static,
    ) -> Result<Sent, SendError<E>>
    where
        F: Future<Output = Result<Sent, SendError<E>>> + Send + 'static,
        E: Send + 'static,
    {
        let commands = self.clone();
        let Some(layered) = self.bus.layered.clone() else { return run(commands).await };
        let run = move |metadata| {
            let running = run(commands.with(metadata));
            let outcome = async move {
                let answer = running.await;
                let refusal = answer.as_ref().err().map(SendError::kind);
                Outcome { refusal, answer: Box::new(answer) }
            };
            Box::pin(outcome) as BoxFuture<'static, Outcome>
        };
        let dispatch = Dispatch {
            command_name,
            tenant: self.context.tenant.clone(),
            streams,
            metadata: self.context.metadata.clone(),
            command,
            run: Box::new(run),
        };
        let outcome = layered.oneshot(dispatch).await.map_err(SendError::Refused)?;
        let answer = outcome.answer.downcast::<Result<Sent, SendError<E>>>();
        *answer.map_err(|_| SendError::Refused("a layer answered for another command".into()))?
    }
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").field("bus", &self.bus).field("context", &self.context).finish()
    }
}

/// Configures [`Commands`].
///
/// ```
/// use std::time::Duration;
/// use cqrs::Commands;
/// use es_core::memory::MemoryStore;
/// use tower::timeout::TimeoutLayer;
///
/// let commands = Commands::builder(MemoryStore::new())
///     .layer(TimeoutLayer::new(Duration::from_secs(2)))
///     .build();
/// ```
#[derive(Debug)]
pub struct CommandsBuilder {
    bus: Bus,
}

impl CommandsBuilder {
    /// Sets how the commands of one type of aggregate are carried out, and
    /// claims the names of its events. Without it that happens with the first
    /// command, with default [`Settings`].
    ///
    /// # Errors
    ///
    /// [`NameClaimedTwice`] if another type writes events of one of its names.
    pub fn aggregate<A: Aggregate>(self, settings: Settings<A>) -> Result<Self, NameClaimedTwice> {
        self.bus.catalogue.claim::<A::Event>()?;
        self.bus.lanes.insert(TypeId::of::<A>(), Arc::new(Lanes::new(settings)));
        Ok(self)
    }

    /// Wraps a tower layer around the bus; the last one added is the outermost.
    ///
    /// Timeouts and concurrency limits come from tower; so does the rate limit,
    /// behind a buffer, because its service cannot be cloned. For authorization
    /// and validation see [`Guard`](crate::Guard).
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Layered>,
        L::Service: Service<Dispatch, Response = Outcome> + Clone + Send + Sync + 'static,
        <L::Service as Service<Dispatch>>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        <L::Service as Service<Dispatch>>::Future: Send + 'static,
    {
        let inner = self.bus.layered.take();
        let inner = inner.unwrap_or_else(|| BoxCloneSyncService::new(ToAggregate));
        let outer = layer.layer(inner).map_err(Into::into);
        self.bus.layered = Some(BoxCloneSyncService::new(outer));
        self
    }

    /// Sets how often a decision over a query, or about several aggregates, is
    /// made before it counts as contended; 16 by default. For commands to one
    /// aggregate see [`Settings`].
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.bus.attempts = attempts.max(1);
        self
    }

    /// Sets where time, ids, randomness and tasks come from.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.bus.world = world;
        self
    }

    /// Sets how events are written; JSON by default.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.bus.codec = codec;
        self
    }

    /// The bus.
    pub fn build(self) -> Commands {
        Commands { bus: Arc::new(self.bus), context: Context::default() }
    }
}
