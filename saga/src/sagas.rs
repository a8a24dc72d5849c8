use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, SubsecRound, Utc};
use es_core::{
    AppendError, EventStore, EventStoreExt, Metadata, Name, TakenTimer, Timer, TimerId, Timers,
    Version, World, failpoint,
};
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Notify, Semaphore, watch};

use crate::{
    Definition, Phase, SagaError, SagaEvent, SagaId, SagaState, StepError, Story, Way,
    decide::{Failed, Outcome, after},
    driving::Driving,
    live::{Live, Registry, decode},
    metrics::Metrics,
};

/// Bounds of a lease, and of the pause between two looks.
const SHORTEST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// How often an answer or an operation is recorded anew after others have been faster.
pub(crate) const CONFLICTS: u32 = 32;

/// What begins sagas, goes on with them, and tells of them.
///
/// A saga is a stream in the log. Whatever happens to it is appended before it happens
/// outside: which step begins, that it is undone, that it is tried again. A timer in the
/// store of timers says who goes on with it, and when: a process that dies loses its sagas
/// to another one after the [lease](Self::LEASE). A step is tried **at least once**, each
/// time with the same key.
///
/// Clones share everything.
///
/// ```
/// use saga::{Definition, Path, Phase, SagaId, Sagas, Step, StepError, Work};
/// use es_core::memory::{MemoryStore, MemoryTimers};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Trip { city: String, room: Option<u32> }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hotel = Step::new("hotel", |work: Work<Trip>| async move {
///         println!("a room in {}", work.data.city);
///         Ok(7)
///     })
///     .extend(|trip, room| trip.room = Some(room))
///     .compensate(|work| async move {
///         println!("no room {:?} any more", work.data.room);
///         Ok(())
///     });
/// let flight = Step::new("flight", |_: Work<Trip>| async {
///     Err::<(), _>(StepError::refused("no seat is free"))
/// });
/// let trip = Definition::new("trip", 1, Path::of(hotel).step(flight))?;
///
/// let sagas = Sagas::new(MemoryStore::new(), MemoryTimers::new()).with(trip)?;
/// let running = sagas.start().await?;
/// let id = SagaId::new("trip", 42)?;
/// sagas.begin(&id, &Trip { city: "Rome".into(), ..Trip::default() }).await?;
/// assert_eq!(sagas.ended(&id).await?, Phase::Compensated);
/// running.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sagas {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Clone)]
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) timers: Arc<dyn Timers>,
    pub(crate) world: World,
    pub(crate) registry: Registry,
    pub(crate) owner: Name,
    pub(crate) lease: Duration,
    pub(crate) poll: Duration,
    pub(crate) at_once: usize,
    /// The name of this process.
    pub(crate) node: Arc<str>,
    pub(crate) metrics: Metrics,
    pub(crate) shared: Arc<Shared>,
}

/// What the clones of one [`Sagas`] share.
pub(crate) struct Shared {
    /// The sagas that this process goes on with.
    driven: Mutex<HashMap<SagaId, Arc<Local>>>,
    /// How many it may.
    pub(crate) room: Arc<Semaphore>,
    /// How many workers run.
    pub(crate) running: watch::Sender<Option<bool>>,
    /// Something is due before the worker would look.
    pub(crate) sooner: Notify,
    /// When it looks next, in milliseconds since 1970.
    pub(crate) looks: AtomicI64,
}

impl Shared {
    fn new(room: usize) -> Self {
        Self {
            driven: Mutex::default(),
            room: Arc::new(Semaphore::new(room)),
            running: watch::Sender::new(None),
            sooner: Notify::new(),
            looks: AtomicI64::new(i64::MIN),
        }
    }
}

/// A saga in the hands of this process.
#[derive(Default)]
pub(crate) struct Local {
    flag: AtomicBool,
    notify: Notify,
}

impl Local {
    pub(crate) fn tell(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.notify.notify_one();
    }

    pub(crate) async fn told(&self) {
        while !self.flag.swap(false, Ordering::SeqCst) {
            self.notify.notified().await;
        }
    }
}

/// What has become of [`Sagas::begin`].
///
/// ```
/// assert_ne!(saga::Begun::New, saga::Begun::Known);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The saga has begun.
    New,
    /// It had begun before; nothing was done.
    Known,
}

impl Sagas {
    /// How long a process may stand still before another one goes on with its sagas, unless
    /// another time is set.
    pub const LEASE: Duration = Duration::from_secs(10);
    /// How often it looks for what other processes have left, unless another time is set.
    pub const POLL: Duration = Duration::from_millis(200);
    /// How many sagas one process goes on with at once, unless another number is set.
    pub const AT_ONCE: usize = 256;
    /// The owner of its timers, unless another one is set.
    pub const OWNER: &'static str = "sagas";

    /// Sagas in this log, whose timers are in this store.
    pub fn new(store: impl EventStore, timers: impl Timers) -> Self {
        let world = World::real();
        let inner = Inner {
            store: Arc::new(store),
            timers: Arc::new(timers),
            registry: Registry::default(),
            owner: Name::from_static(Self::OWNER),
            lease: Self::LEASE,
            poll: Self::POLL,
            at_once: Self::AT_ONCE,
            node: node(&world),
            world,
            metrics: Metrics::new(),
            shared: Arc::new(Shared::new(Self::AT_ONCE)),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Knows this definition, beside its other versions. New sagas begin by the highest one.
    ///
    /// # Errors
    ///
    /// [`SagaError::RegisteredTwice`] if it knows one of this name and version.
    pub fn with<D>(mut self, definition: Definition<D>) -> Result<Self, SagaError>
    where
        D: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
    {
        let (name, version) = (definition.name().to_owned(), definition.version());
        if Arc::make_mut(&mut self.inner).registry.add(Arc::new(definition)) {
            return Ok(self);
        }
        Err(SagaError::RegisteredTwice { definition: name, version })
    }

    /// Takes time, chance and ids from this world.
    #[must_use]
    pub fn in_world(mut self, world: World) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        inner.node = node(&world);
        inner.world = world;
        self
    }

    /// Sets how long a process may stand still before another one goes on with its sagas.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        Arc::make_mut(&mut self.inner).lease = lease.clamp(SHORTEST, LONGEST);
        self
    }

    /// Sets how often it looks for what other processes have left: so late may it go on.
    #[must_use]
    pub fn poll(mut self, every: Duration) -> Self {
        Arc::make_mut(&mut self.inner).poll = every.clamp(SHORTEST, LONGEST);
        self
    }

    /// Sets how many sagas this process goes on with at once; at least one.
    #[must_use]
    pub fn at_once(mut self, sagas: usize) -> Self {
        let inner = Arc::make_mut(&mut self.inner);
        inner.at_once = sagas.clamp(1, Semaphore::MAX_PERMITS);
        inner.shared = Arc::new(Shared::new(inner.at_once));
        self
    }

    /// Keeps its timers apart from those of other programs on the same store.
    #[must_use]
    pub fn owner(mut self, owner: Name) -> Self {
        Arc::make_mut(&mut self.inner).owner = owner;
        self
    }

    /// Begins a saga with these data. Once this returns it is in the log, and comes to its
    /// end; of many that begin one with the same id, one does.
    ///
    /// # Errors
    ///
    /// [`SagaError`] if nobody has registered its definition, the data are not what that
    /// takes, or a store fails: begin it again then, with the same id.
    pub async fn begin<D: Serialize + Sync>(
        &self,
        id: &SagaId,
        data: &D,
    ) -> Result<Begun, SagaError> {
        self.begin_with(id, data, Metadata::new()).await
    }

    /// Begins a saga with metadata that all of its events bear, and that its steps are told.
    ///
    /// # Errors
    ///
    /// As of [`begin`](Self::begin).
    pub async fn begin_with<D: Serialize + Sync>(
        &self,
        id: &SagaId,
        data: &D,
        metadata: Metadata,
    ) -> Result<Begun, SagaError> {
        let inner = &self.inner;
        let definition = inner.registry.newest(id.definition())?;
        let broken =
            |source| SagaError::Data { saga: id.clone(), what: "its input".into(), source };
        let input = serde_json::to_value(data).map_err(broken)?;
        let (version, at) = (definition.version(), inner.world.now());
        let deadline = definition.deadline().map(|time| after(at, time));
        let mut live = Live::new(id.clone(), definition, &input, metadata)?;
        let mut events = vec![SagaEvent::Started { version, input, at, deadline }];
        live.apply(&events[0])?;
        let here = inner.may_drive(id);
        if here.is_some() {
            live.follow(&mut events, &inner.world, &inner.node)?;
        }
        if inner.store.version(id.stream()).await? > Version::NONE {
            return Ok(Begun::Known);
        }
        // If this process dies right after the append, somebody looks for the saga.
        let timer = inner.set_timer(id, at + inner.lease).await?;
        failpoint!("saga.before_begin");
        match live.append(&*inner.store, &inner.world, &events).await {
            Ok(()) => {}
            Err(SagaError::Append(AppendError::Conflict(_))) => return Ok(Begun::Known),
            Err(error) => return Err(error),
        }
        inner.metrics.recorded(id, &events);
        match here {
            Some(here) => {
                here.drive(move |inner, local| Driving::with(inner, live, local, timer, &events))
            }
            None => drop(inner.set_timer(id, inner.world.now()).await?),
        }
        Ok(Begun::New)
    }

    /// Gives a step the answer that it [waits for](crate::Step::ask). An answer that comes
    /// twice, or for which nobody waits any more, is recorded and ignored.
    ///
    /// # Errors
    ///
    /// [`SagaError`] if there is no such saga, the answer is not what the step takes, or a
    /// store fails: give it again then.
    pub async fn answer<O: Serialize + Sync>(
        &self,
        id: &SagaId,
        step: &str,
        output: &O,
    ) -> Result<(), SagaError> {
        let broken = |source| SagaError::Data { saga: id.clone(), what: step.into(), source };
        let output = serde_json::to_value(output).map_err(broken)?;
        self.settle(id, step, Ok(output)).await
    }

    /// Says that a step that waits for an answer was refused.
    ///
    /// # Errors
    ///
    /// As of [`answer`](Self::answer).
    pub async fn refuse(&self, id: &SagaId, step: &str, reason: &str) -> Result<(), SagaError> {
        self.settle(id, step, Err(reason.to_owned())).await
    }

    async fn settle(
        &self,
        id: &SagaId,
        step: &str,
        answer: Result<serde_json::Value, String>,
    ) -> Result<(), SagaError> {
        self.change(id, |live, world, node| {
            let at = live.definition.graph().find(step);
            let waits = at.and_then(|at| live.definition.limits(at, Way::Forward).waits);
            if waits.is_none() {
                let why = format!("it has no step {step} that waits for an answer");
                return Err(SagaError::Refused { saga: id.clone(), why });
            }
            let result = match &answer {
                Ok(output) => Ok(output.clone()),
                Err(reason) => Err(Failed::from(StepError::refused(reason))),
            };
            let outcome = Outcome {
                step: step.to_owned(),
                way: Way::Forward,
                attempt: live.state.known(step).attempts,
                result,
                answers: true,
            };
            Ok(vec![live.sight(world, node).accept(&outcome)])
        })
        .await
    }

    /// Appends to a saga what this makes of it, and lets whoever has it go on.
    pub(crate) async fn change(
        &self,
        id: &SagaId,
        change: impl Fn(&Live, &World, &str) -> Result<Vec<SagaEvent>, SagaError>,
    ) -> Result<(), SagaError> {
        let Inner { store, registry, world, node, .. } = &*self.inner;
        for _ in 0..CONFLICTS {
            let mut live = Live::load(&**store, registry, id).await?;
            let events = change(&live, world, node)?;
            match live.append(&**store, world, &events).await {
                Ok(()) => {
                    self.inner.metrics.recorded(id, &events);
                    return self.inner.wake(id).await;
                }
                Err(SagaError::Append(AppendError::Conflict(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SagaError::Contended { saga: id.clone() })
    }

    /// Where a saga is.
    ///
    /// # Errors
    ///
    /// [`SagaError`] if there is none, or the store fails.
    pub async fn state(&self, id: &SagaId) -> Result<SagaState, SagaError> {
        let live = Live::load(&*self.inner.store, &self.inner.registry, id).await?;
        Ok(live.state)
    }

    /// All that has happened to a saga, and its data.
    ///
    /// # Errors
    ///
    /// [`SagaError`] if there is none, or the store fails.
    pub async fn story(&self, id: &SagaId) -> Result<Story, SagaError> {
        Story::read(&self.inner, id).await
    }

    /// Waits until a saga has ended, and says how. It must have begun.
    ///
    /// # Errors
    ///
    /// [`SagaError`] if the store fails.
    pub async fn ended(&self, id: &SagaId) -> Result<Phase, SagaError> {
        self.reached(id, Phase::is_terminal).await
    }

    /// Waits until a saga is in such a phase, and says in which.
    ///
    /// # Errors
    ///
    /// As of [`ended`](Self::ended).
    pub async fn reached(
        &self,
        id: &SagaId,
        wanted: impl Fn(Phase) -> bool,
    ) -> Result<Phase, SagaError> {
        let mut state = SagaState::default();
        let mut pages = self.inner.store.follow(es_core::Read::stream(id.stream()));
        while let Some(page) = pages.try_next().await? {
            for event in &page.events {
                state.apply(&decode(event)?);
                if wanted(state.phase) {
                    return Ok(state.phase);
                }
            }
        }
        Err(SagaError::Missing { saga: id.clone() })
    }
}

/// The right to go on with a saga in this process; it ends with this.
pub(crate) struct Hold {
    inner: Arc<Inner>,
    id: SagaId,
    local: Arc<Local>,
    room: tokio::sync::OwnedSemaphorePermit,
}

impl Hold {
    /// Goes on with it in a task of its own.
    pub(crate) fn drive(
        self,
        driving: impl FnOnce(Arc<Inner>, Arc<Local>) -> Driving + Send + 'static,
    ) {
        let driving = driving(Arc::clone(&self.inner), Arc::clone(&self.local));
        let world = self.inner.world.clone();
        world.detach(async move {
            if let Err(error) = driving.run().await {
                tracing::warn!(saga = %self.id, %error, "a saga goes on after its lease");
            }
            drop(self);
        });
    }

    /// Reads it from its stream, and goes on with it.
    pub(crate) fn take_over(self, taken: TakenTimer) {
        let (inner, local) = (Arc::clone(&self.inner), Arc::clone(&self.local));
        self.inner.world.clone().detach(async move {
            if let Err(error) = inner.take_over(&self.id, local, taken).await {
                tracing::warn!(saga = %self.id, %error, "a saga goes on after its lease");
            }
            drop(self);
        });
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut driven = self.inner.shared.driven.lock();
        if driven.get(&self.id).is_some_and(|local| Arc::ptr_eq(local, &self.local)) {
            driven.remove(&self.id);
        }
        let _ = &self.room;
    }
}

impl Inner {
    /// The right to go on with this saga, if this process runs sagas, has room, and does not
    /// go on with it already; then that is told to look.
    pub(crate) fn may_drive(self: &Arc<Self>, id: &SagaId) -> Option<Hold> {
        if self.shared.running.borrow().is_none_or(|stopping| stopping) {
            return None;
        }
        let mut driven = self.shared.driven.lock();
        if let Some(local) = driven.get(id) {
            local.tell();
            return None;
        }
        let room = Arc::clone(&self.shared.room).try_acquire_owned().ok()?;
        let local = Arc::<Local>::default();
        driven.insert(id.clone(), Arc::clone(&local));
        Some(Hold { inner: Arc::clone(self), id: id.clone(), local, room })
    }

    pub(crate) fn is_driven(&self, id: &SagaId) -> bool {
        let driven = self.shared.driven.lock();
        driven.get(id).map(|local| local.tell()).is_some()
    }

    /// Lets go of a saga, unless something came for it meanwhile.
    pub(crate) fn leave(&self, id: &SagaId, local: &Arc<Local>) -> bool {
        let mut driven = self.shared.driven.lock();
        if local.flag.swap(false, Ordering::SeqCst) {
            return false;
        }
        if driven.get(id).is_some_and(|known| Arc::ptr_eq(known, local)) {
            driven.remove(id);
        }
        true
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.running.borrow().is_none_or(|stopping| stopping)
    }

    async fn take_over(
        self: &Arc<Self>,
        id: &SagaId,
        local: Arc<Local>,
        taken: TakenTimer,
    ) -> Result<(), SagaError> {
        let live = match Live::load(&*self.store, &self.registry, id).await {
            Err(SagaError::Missing { .. }) => return self.unborn(&taken).await,
            live => live?,
        };
        if is_wake(&taken) && !live.sight(&self.world, &self.node).lost().is_empty() {
            // Whoever has it sees what has come with its next look, or has lost it soon.
            return Ok(self.timers.done(&taken).await?);
        }
        let (timer, wake) = match is_wake(&taken) {
            true => (self.set_timer(id, self.world.now() + self.lease).await?, Some(taken)),
            false => (taken, None),
        };
        failpoint!("saga.after_take");
        Driving::take_over(Arc::clone(self), live, local, timer, wake).run().await
    }

    /// The timer is set before the saga begins: it is looked at for a while.
    async fn unborn(&self, taken: &TakenTimer) -> Result<(), SagaError> {
        if self.world.now() > taken.timer.due + self.lease * UNBORN {
            self.timers.done(taken).await?;
        }
        Ok(())
    }

    /// Lets whoever has it, or somebody, look at a saga at once.
    pub(crate) async fn wake(self: &Arc<Self>, id: &SagaId) -> Result<(), SagaError> {
        if self.is_driven(id) {
            return Ok(());
        }
        self.set(self.timer(id, WAKE, self.world.now())).await
    }

    /// Says when somebody has to go on with a saga; as if it was taken until then.
    pub(crate) async fn set_timer(
        &self,
        id: &SagaId,
        due: DateTime<Utc>,
    ) -> Result<TakenTimer, SagaError> {
        // As exact as every store keeps it.
        let timer = self.timer(id, GO_ON, due.trunc_subsecs(6));
        self.set(timer.clone()).await?;
        Ok(TakenTimer { until: timer.due, timer })
    }

    async fn set(&self, timer: Timer) -> Result<(), SagaError> {
        let due = timer.due.timestamp_millis();
        self.timers.set(timer).await?;
        if due < self.shared.looks.load(Ordering::SeqCst) {
            self.shared.sooner.notify_one();
        }
        Ok(())
    }

    fn timer(&self, id: &SagaId, what: &str, due: DateTime<Utc>) -> Timer {
        let name = format!("{what}{}", id.stream().id());
        // As long as the name of the stream, which was checked.
        let name = Name::new(name).expect("as long as the name of the stream");
        let id = TimerId { tenant: id.tenant().clone(), owner: self.owner.clone(), name };
        Timer { id, due, payload: Default::default() }
    }
}

/// Somebody has to go on with a saga: who had it is gone, or something is due.
const GO_ON: &str = "due-";
/// Something has come for a saga.
const WAKE: &str = "new-";
/// For how many leases a saga is looked for that has not begun.
const UNBORN: u32 = 10;

pub(crate) fn is_wake(taken: &TakenTimer) -> bool {
    taken.timer.id.name.as_str().starts_with(WAKE)
}

/// The saga for which a timer was set.
pub(crate) fn whose(taken: &TakenTimer) -> Option<SagaId> {
    let TimerId { tenant, name, .. } = &taken.timer.id;
    let id = name.as_str().strip_prefix(GO_ON).or_else(|| name.as_str().strip_prefix(WAKE))?;
    Some(id.parse::<SagaId>().ok()?.of(tenant.clone()))
}

fn node(world: &World) -> Arc<str> {
    format!("{:016x}", world.random_u64()).into()
}

impl fmt::Debug for Sagas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sagas")
            .field("node", &self.inner.node)
            .field("lease", &self.inner.lease)
            .finish_non_exhaustive()
    }
}
