use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound, Utc};
use cqrs::{Live, ProjectionError, Reaction};
use es_core::{
    AppendError, AppendId, Batch, Codec, ContentType, DecodeError, Event, EventStore,
    EventStoreExt, Evolve, Expected, Message, Metadata, Name, NameError, NewEvent, Read, Recorded,
    StoreError, StreamId, TakenTimer, Task, Tenant, Timer, TimerId, Timers, Version, World,
    failpoint,
};
use futures_util::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::{SagaError, decide::after};

/// How often an input is recorded anew after others have been faster.
const CONFLICTS: u32 = 32;
/// How long whoever takes a timer has to handle it; then another one does.
const TURN: Duration = Duration::from_secs(30);
/// Most timers that are taken in one turn.
const TAKEN: usize = 64;
/// How often timers are looked at that other processes have set.
const POLL: Duration = Duration::from_millis(200);
/// The category of the streams of all of them.
const CATEGORY: &str = "process";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A saga that hears events and says what follows: a process manager.
///
/// It is a fold of what it has heard, and pure: what `react` returns is recorded with the
/// event in one append, and done after that, **at least once**, each time with the same id.
///
/// ```
/// use std::time::Duration;
/// use cqrs::{Event, Evolve};
/// use es_core::Recorded;
/// use saga::{Hears, Reply, Saga};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "order")]
/// enum OrderEvent { Placed { order: String }, Paid { order: String } }
///
/// #[derive(Serialize, Deserialize)]
/// enum Do { AskForMoney, Ship, GiveUp }
///
/// #[derive(Default)]
/// struct Shipping;
///
/// impl Evolve for Shipping {
///     type Event = OrderEvent;
///     fn evolve(&mut self, _: &OrderEvent) {}
/// }
///
/// impl Saga for Shipping {
///     const NAME: &'static str = "shipping";
///     type Command = Do;
///
///     fn correlate(event: Recorded<'_, OrderEvent>) -> Hears {
///         match event.event {
///             OrderEvent::Placed { order } => Hears::Start(order.clone()),
///             OrderEvent::Paid { order } => Hears::Go(order.clone()),
///         }
///     }
///
///     fn react(&self, event: &OrderEvent) -> Vec<Reply<Do>> {
///         match event {
///             OrderEvent::Placed { .. } => {
///                 vec![Reply::Send(Do::AskForMoney), Reply::wake("late", Duration::from_secs(3_600))]
///             }
///             OrderEvent::Paid { .. } => vec![Reply::Send(Do::Ship), Reply::End],
///         }
///     }
///
///     fn wake(&self, _: &str) -> Vec<Reply<Do>> {
///         vec![Reply::Send(Do::GiveUp), Reply::End]
///     }
/// }
/// ```
pub trait Saga: Evolve {
    /// Its name: where it is kept, and part of the ids of its commands. Letters, digits, dots
    /// and underscores.
    const NAME: &'static str;
    /// What it may want done.
    type Command: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Which ones hear an event.
    fn correlate(event: Recorded<'_, Self::Event>) -> Hears;

    /// What follows from an event that it has just been evolved by.
    fn react(&self, event: &Self::Event) -> Vec<Reply<Self::Command>>;

    /// What follows when a timer that it has set is due.
    fn wake(&self, timer: &str) -> Vec<Reply<Self::Command>> {
        let _ = timer;
        Vec::new()
    }
}

/// Who hears an event, each named by its id.
///
/// ```
/// assert_ne!(saga::Hears::Start("7".into()), saga::Hears::MustStart("7".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hears {
    /// Nobody.
    Nobody,
    /// This one, which begins if it is not there.
    Start(String),
    /// This one, which must not be there.
    MustStart(String),
    /// This one, if it is there.
    Go(String),
    /// This one, which must be there.
    MustGo(String),
    /// Several.
    All(Vec<Self>),
}

/// What follows from what a saga has heard.
///
/// ```
/// use saga::Reply;
///
/// let sent: Reply<&str> = Reply::Send("ship");
/// assert_ne!(sent, Reply::End);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply<C> {
    /// This is to be done.
    Send(C),
    /// It is woken so long after what it has heard, unless it has ended. A timer of the same
    /// name is set anew.
    Wake {
        /// Which timer.
        timer: String,
        /// How long.
        after: Duration,
    },
    /// It is not woken by this timer.
    Sleep(String),
    /// It hears nothing more.
    End,
}

impl<C> Reply<C> {
    /// It is woken by this timer after so long.
    pub fn wake(timer: &str, after: Duration) -> Self {
        Self::Wake { timer: timer.to_owned(), after }
    }
}

/// What a saga wants done; see [`ProcessManager::new`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Order<C> {
    /// What.
    pub command: C,
    /// The same each time it is sent: by it a receiver tells the second time from the first.
    /// It can be the id of a command.
    pub id: AppendId,
    /// Whose it is.
    pub tenant: Tenant,
    /// The id of the saga.
    pub saga: String,
    /// That of the event: correlation, user, trace.
    pub metadata: Metadata,
}

/// What is recorded of a saga that hears events: what it heard, and all that follows, in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "process")]
enum ProcessEvent {
    Heard {
        kind: String,
        schema: u32,
        payload: Value,
        #[serde(flatten)]
        follows: Follows,
    },
    Woken {
        timer: String,
        #[serde(flatten)]
        follows: Follows,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Follows {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    timers: Vec<(String, DateTime<Utc>)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cancelled: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ends: bool,
}

/// Lets sagas of one kind hear what the log tells.
///
/// It is a [`Reaction`]: a projector gives it the events, in parts over several processes if
/// asked, and parks what cannot be handled. [`start`](Self::start) lets timers wake them.
///
/// ```
/// use cqrs::{Projector, StartAt};
/// use es_core::memory::{MemoryStore, MemoryTimers, MemoryViews};
/// use saga::ProcessManager;
/// # use cqrs::{Event, Evolve};
/// # use saga::{Hears, Reply, Saga};
/// # #[derive(serde::Serialize, serde::Deserialize, Event)]
/// # #[event(name = "order.placed")]
/// # struct Placed { order: String }
/// # #[derive(serde::Serialize, serde::Deserialize, Debug)]
/// # enum Do { Ship }
/// # #[derive(Default)]
/// # struct Shipping;
/// # impl Evolve for Shipping { type Event = Placed; fn evolve(&mut self, _: &Placed) {} }
/// # impl Saga for Shipping {
/// #     const NAME: &'static str = "shipping";
/// #     type Command = Do;
/// #     fn correlate(event: es_core::Recorded<'_, Placed>) -> Hears { Hears::Start(event.event.order.clone()) }
/// #     fn react(&self, _: &Placed) -> Vec<Reply<Do>> { vec![Reply::Send(Do::Ship), Reply::End] }
/// # }
///
/// let store = MemoryStore::new();
/// let shipping = ProcessManager::<Shipping>::new(store.clone(), MemoryTimers::new(), |order| async move {
///     println!("{:?} for {}, id {}", order.command, order.saga, order.id);
///     Ok(())
/// });
/// let projector = Projector::new(store, MemoryViews::new())
///     .reaction(shipping, (), StartAt::Beginning);
/// ```
pub struct ProcessManager<S: Saga> {
    inner: Arc<Inner<S>>,
}

type Deliver<C> = Box<dyn Fn(Order<C>) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

struct Inner<S: Saga> {
    store: Arc<dyn EventStore>,
    timers: Arc<dyn Timers>,
    world: World,
    deliver: Deliver<S::Command>,
    sooner: Notify,
}

/// One saga as its stream tells.
struct Heard<S> {
    state: S,
    version: Version,
    ended: bool,
    timers: BTreeMap<String, DateTime<Utc>>,
    /// What followed from the input that is looked for, if it is there.
    known: Option<Follows>,
}

/// What a saga hears, and when.
struct Input<'e, E> {
    cause: AppendId,
    at: DateTime<Utc>,
    what: What<'e, E>,
    metadata: Metadata,
}

enum What<'e, E> {
    Event(&'e E),
    Timer(&'e str),
}

impl<S: Saga> ProcessManager<S> {
    /// Sagas whose streams are in this log, and whose timers are in this store. What they want
    /// done is done by `deliver`, at least once: an error is tried again by the projector, and
    /// parked.
    pub fn new<F>(
        store: impl EventStore,
        timers: impl Timers,
        deliver: impl Fn(Order<S::Command>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let inner = Inner {
            store: Arc::new(store),
            timers: Arc::new(timers),
            world: World::real(),
            deliver: Box::new(move |order| deliver(order).boxed()),
            sooner: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes time and ids from this world.
    ///
    /// # Panics
    ///
    /// If it was cloned before.
    #[must_use]
    pub fn in_world(mut self, world: World) -> Self {
        Arc::get_mut(&mut self.inner).expect("it was not cloned before").world = world;
        self
    }

    /// The saga with this id, if it is there.
    ///
    /// # Errors
    ///
    /// [`SagaError`] if its events cannot be read.
    pub async fn load(&self, tenant: &Tenant, id: &str) -> Result<Option<S>, SagaError> {
        let stream = stream_of::<S>(tenant, id)?;
        let heard = self.inner.load(&stream, AppendId::default()).await?;
        Ok((heard.version > Version::NONE).then_some(heard.state))
    }

    /// Wakes sagas whose timers are due, from now on.
    pub fn start(&self) -> Waking {
        let (stop, stopping) = watch::channel(false);
        let task = self.inner.world.spawn(wake(Arc::clone(&self.inner), stopping));
        Waking { stop, task: Some(task) }
    }
}

impl<S: Saga> Reaction for ProcessManager<S> {
    const NAME: &'static str = S::NAME;
    type Event = S::Event;
    type Tools = ();

    async fn react(
        &self,
        event: Recorded<'_, S::Event>,
        _: &mut Live<'_, ()>,
    ) -> Result<(), ProjectionError> {
        let mut left = vec![S::correlate(event)];
        while let Some(hears) = left.pop() {
            let (id, wanted) = match hears {
                Hears::Nobody => continue,
                Hears::All(all) => {
                    left.extend(all.into_iter().rev());
                    continue;
                }
                Hears::Start(id) => (id, Wanted::Either),
                Hears::MustStart(id) => (id, Wanted::New),
                Hears::Go(id) => (id, Wanted::IfThere),
                Hears::MustGo(id) => (id, Wanted::There),
            };
            let tenant = event.envelope.stream.tenant();
            let input = Input {
                cause: AppendId::derive(&format!("{}\n{id}\n{}", S::NAME, event.envelope.id)),
                at: event.envelope.recorded_at,
                what: What::Event(event.event),
                metadata: event.envelope.metadata.clone(),
            };
            self.inner.hear(tenant, &id, wanted, &input).await.map_err(projection_error)?;
        }
        Ok(())
    }
}

fn projection_error(error: ProcessError) -> ProjectionError {
    match error {
        ProcessError::Saga(SagaError::Store(error))
        | ProcessError::Saga(SagaError::Append(AppendError::Store(error))) => error.into(),
        error => ProjectionError::handler(error),
    }
}

/// Whether a saga has to be there.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Either,
    New,
    IfThere,
    There,
}

#[derive(Debug, thiserror::Error)]
enum ProcessError {
    #[error("{0} was to begin with this event, and has begun already")]
    Begun(StreamId),
    #[error("{0} was to hear this event, and has not begun")]
    NotBegun(StreamId),
    #[error("a command of {0} was not done")]
    NotDone(StreamId, #[source] BoxError),
    #[error(transparent)]
    Saga(#[from] SagaError),
}

impl<E: Into<SagaError>> From<E> for ProcessError
where
    E: NotSagaError,
{
    fn from(error: E) -> Self {
        Self::Saga(error.into())
    }
}

trait NotSagaError {}
impl NotSagaError for StoreError {}
impl NotSagaError for NameError {}

impl<S: Saga> Inner<S> {
    /// Records what a saga hears and what follows, and does that.
    async fn hear(
        &self,
        tenant: &Tenant,
        id: &str,
        wanted: Wanted,
        input: &Input<'_, S::Event>,
    ) -> Result<(), ProcessError> {
        let stream = stream_of::<S>(tenant, id)?;
        for _ in 0..CONFLICTS {
            let mut heard = self.load(&stream, input.cause).await?;
            let follows = match heard.known.take() {
                // It was recorded; whether all of it was done nobody knows.
                Some(known) => known,
                None => {
                    let is_there = heard.version > Version::NONE;
                    match wanted {
                        Wanted::New if is_there => return Err(ProcessError::Begun(stream)),
                        Wanted::There if !is_there => return Err(ProcessError::NotBegun(stream)),
                        Wanted::IfThere if !is_there => return Ok(()),
                        _ if heard.ended => return Ok(()),
                        _ => {}
                    }
                    match self.record(&stream, &mut heard, input).await? {
                        Some(follows) => follows,
                        None => continue,
                    }
                }
            };
            failpoint!("process.after_append");
            return self.follow(&stream, id, input, follows).await;
        }
        Err(AppendConflicts(stream).into())
    }

    async fn load(&self, stream: &StreamId, looked_for: AppendId) -> Result<Heard<S>, SagaError> {
        let mut heard = Heard {
            state: S::default(),
            version: Version::NONE,
            ended: false,
            timers: BTreeMap::new(),
            known: None,
        };
        for recorded in self.store.events(Read::stream(stream)).await? {
            let event = recorded.decode::<ProcessEvent>();
            let broken = |source| {
                let (version, position) = (recorded.version, recorded.position);
                es_core::LoadError::Event { stream: stream.clone(), version, position, source }
            };
            let unknown =
                || DecodeError::UnknownType { event_type: recorded.event_type.to_string() };
            let event = event.and_then(|event| event.ok_or_else(unknown)).map_err(broken)?;
            let follows = match event {
                ProcessEvent::Heard { kind, schema, payload, follows } => {
                    let kind = Name::new(kind)?;
                    let mut message =
                        Message::new("", kind, ContentType::JSON, payload.to_string());
                    message.schema_version = schema;
                    if let Some(event) = message.decode::<S::Event>().map_err(broken)? {
                        heard.state.evolve(&event);
                    }
                    follows
                }
                ProcessEvent::Woken { timer, follows } => {
                    heard.timers.remove(&timer);
                    follows
                }
            };
            heard.take(&follows);
            heard.version = recorded.version;
            if recorded.append_id == Some(looked_for) {
                heard.known = Some(follows);
            }
        }
        Ok(heard)
    }

    /// `None` if others were faster.
    async fn record(
        &self,
        stream: &StreamId,
        heard: &mut Heard<S>,
        input: &Input<'_, S::Event>,
    ) -> Result<Option<Follows>, SagaError> {
        let replies = match input.what {
            What::Event(event) => {
                heard.state.evolve(event);
                heard.state.react(event)
            }
            What::Timer(timer) => heard.state.wake(timer),
        };
        let broken = |source| data(stream, source);
        let follows = heard.follows(replies, input.at).map_err(broken)?;
        let event = match input.what {
            What::Timer(timer) => {
                ProcessEvent::Woken { timer: timer.to_owned(), follows: follows.clone() }
            }
            What::Event(event) => {
                let message = Message::encode(event, "", Codec::Json)?;
                ProcessEvent::Heard {
                    kind: message.kind.to_string(),
                    schema: message.schema_version,
                    payload: serde_json::from_slice(&message.payload).map_err(broken)?,
                    follows: follows.clone(),
                }
            }
        };
        let mut event = NewEvent::encode(&event, self.world.event_id(), Codec::Json)?;
        event.metadata = input.metadata.clone();
        let expected = match heard.version {
            Version::NONE => Expected::NoStream,
            version => Expected::Exact(version),
        };
        let batch = Batch::to(stream.clone()).expect(expected).event(event).append_id(input.cause);
        failpoint!("process.before_append");
        match self.store.append(batch).await {
            // One that is there already is looked up with the next load.
            Ok(appended) if appended.repeated => Ok(None),
            Ok(_) => Ok(Some(follows)),
            Err(AppendError::Conflict(_) | AppendError::Repeated { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Does what follows, perhaps once more.
    async fn follow(
        &self,
        stream: &StreamId,
        id: &str,
        input: &Input<'_, S::Event>,
        follows: Follows,
    ) -> Result<(), ProcessError> {
        let timer = |name: &str| timer::<S>(stream.tenant(), id, name);
        for (name, due) in &follows.timers {
            let timer = Timer { id: timer(name)?, due: *due, payload: Default::default() };
            self.timers.set(timer).await?;
            self.sooner.notify_one();
        }
        for name in &follows.cancelled {
            self.timers.cancel(&timer(name)?).await?;
        }
        for (number, command) in follows.commands.into_iter().enumerate() {
            let command = serde_json::from_value(command).map_err(|source| data(stream, source))?;
            let order = Order {
                command,
                id: AppendId::derive(&format!("{}\n{}\n{number}", stream.tenant(), input.cause)),
                tenant: stream.tenant().clone(),
                saga: id.to_owned(),
                metadata: input.metadata.clone(),
            };
            let done = (self.deliver)(order).await;
            done.map_err(|error| ProcessError::NotDone(stream.clone(), error))?;
            failpoint!("process.after_command");
        }
        Ok(())
    }

    async fn wake(&self, taken: &TakenTimer) -> Result<(), ProcessError> {
        let TimerId { tenant, name, .. } = &taken.timer.id;
        let Some((id, timer)) = name.as_str().rsplit_once('/') else {
            return Ok(self.timers.done(taken).await?);
        };
        let due = taken.timer.due;
        let stream = stream_of::<S>(tenant, id)?;
        let cause =
            AppendId::derive(&format!("{}\n{id}\n{timer}\n{}", S::NAME, due.timestamp_micros()));
        let heard = self.load(&stream, cause).await?;
        // One that was set anew or cancelled meanwhile does not wake it.
        if heard.known.is_some() || heard.timers.get(timer) == Some(&due) {
            let what = What::Timer(timer);
            let input = Input { cause, at: due, what, metadata: Metadata::new() };
            self.hear(tenant, id, Wanted::IfThere, &input).await?;
        }
        Ok(self.timers.done(taken).await?)
    }
}

impl<S: Saga> Heard<S> {
    fn take(&mut self, follows: &Follows) {
        for name in &follows.cancelled {
            self.timers.remove(name);
        }
        self.timers.extend(follows.timers.iter().cloned());
        self.ended |= follows.ends;
    }

    fn follows(
        &self,
        replies: Vec<Reply<S::Command>>,
        at: DateTime<Utc>,
    ) -> Result<Follows, serde_json::Error> {
        let mut follows = Follows::default();
        for reply in replies {
            match reply {
                Reply::Send(command) => follows.commands.push(serde_json::to_value(command)?),
                Reply::Wake { timer, after: time } => {
                    // As exact as every store keeps it.
                    follows.timers.push((timer, after(at, time).trunc_subsecs(6)));
                }
                Reply::Sleep(timer) => follows.cancelled.push(timer),
                Reply::End => follows.ends = true,
            }
        }
        if follows.ends {
            follows.timers.clear();
            follows.cancelled = self.timers.keys().cloned().collect();
        }
        Ok(follows)
    }
}

fn stream_of<S: Saga>(tenant: &Tenant, id: &str) -> Result<StreamId, NameError> {
    crate::id::check_word(S::NAME)?;
    Ok(StreamId::new(CATEGORY, format_args!("{}-{id}", S::NAME))?.of(tenant.clone()))
}

fn timer<S: Saga>(tenant: &Tenant, id: &str, timer: &str) -> Result<TimerId, NameError> {
    let owner = Name::new(format!("{CATEGORY}-{}", S::NAME))?;
    Ok(TimerId { tenant: tenant.clone(), owner, name: Name::new(format!("{id}/{timer}"))? })
}

fn data(stream: &StreamId, source: serde_json::Error) -> SagaError {
    SagaError::Command { stream: stream.clone(), source }
}

struct AppendConflicts(StreamId);

impl From<AppendConflicts> for ProcessError {
    fn from(AppendConflicts(stream): AppendConflicts) -> Self {
        let message = format!("{stream} was changed by others each time, try again");
        SagaError::from(StoreError::new(es_core::StoreErrorKind::Busy, message)).into()
    }
}

/// Timers that wake sagas until this is stopped or dropped; see [`ProcessManager`].
#[derive(Debug)]
#[must_use = "nothing is woken any more when this is dropped"]
pub struct Waking {
    stop: watch::Sender<bool>,
    task: Option<Task>,
}

impl Waking {
    /// Ends once what was taken is handled.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            task.await;
        }
    }
}

impl Drop for Waking {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn wake<S: Saga>(inner: Arc<Inner<S>>, mut stopping: watch::Receiver<bool>) {
    while !*stopping.borrow() {
        let pause = match wake_due(&inner).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(saga = S::NAME, %error, "the timers of sagas cannot be read");
                POLL
            }
        };
        if pause.is_zero() {
            continue;
        }
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = inner.sooner.notified() => {}
            () = inner.world.sleep(pause) => {}
        }
    }
}

async fn wake_due<S: Saga>(inner: &Inner<S>) -> Result<Duration, SagaError> {
    let now = inner.world.now();
    let owner = timer::<S>(&Tenant::default(), "any", "any")?.owner;
    let next = inner.timers.next_due(&owner).await?;
    let wait = next.map_or(POLL, |next| (next - now).to_std().unwrap_or_default());
    if !wait.is_zero() {
        return Ok(wait.min(POLL));
    }
    let taken = inner.timers.take_due(&owner, now, now + TURN, TAKEN).await?;
    for timer in &taken {
        if let Err(error) = inner.wake(timer).await {
            let timer = &timer.timer.id.name;
            tracing::warn!(saga = S::NAME, %timer, %error, "a saga is woken later");
        }
    }
    Ok(Duration::ZERO)
}

impl<S: Saga> Clone for ProcessManager<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S: Saga> fmt::Debug for ProcessManager<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessManager").field("name", &S::NAME).finish_non_exhaustive()
    }
}
