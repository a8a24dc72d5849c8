use std::{
    any::Any,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use es_core::{EventStore, EventStoreExt, Position, Tenant, Views, World};
use futures_util::{FutureExt, stream::BoxStream};
use tokio::sync::watch;

use super::{
    free::FreeRecipe,
    gather::Batching,
    handler::Recipe,
    inner::Inner,
    parking::said,
    projecting::Projecting,
    reacting::ReactionRecipe,
    reaction::StartAt,
    relay::Relay,
    relaying::RelayRecipe,
    settings::ModelSettings,
    viewing::ViewRecipe,
    worker::{Work, Worker},
};
use crate::{
    Change as Changed, InlineViews, Projection, ProjectionError, Reaction, View, metrics::report,
};

/// The shortest lease: shorter ones would be renewed all the time.
const SHORTEST: Duration = Duration::from_millis(50);

/// Keeps read models: reads the log once for all of them, and brings each to
/// the same position in its own transaction, together with its checkpoint.
///
/// [`start`](Self::start) keeps all of them in this process: whoever starts takes the
/// checkpoints over, and with that the one before can write no more.
/// [`start_worker`](Self::start_worker) shares them with the other processes that do
/// so too.
///
/// See [`View`] for an example. Clones share everything.
pub struct Projector<V: Views> {
    pub(crate) inner: Arc<Inner<V>>,
    pub(crate) tenant: Tenant,
}

/// How far a projector has come.
///
/// ```
/// use cqrs::Progress;
/// use es_core::Position;
///
/// let progress = Progress { position: Position::new(70), head: Position::new(100), events: 70 };
/// assert_eq!(progress.behind(), 30);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Every model shows every event at or before it, as far as this process keeps
    /// them. It stands while a model is paused, or built anew by code that has changed.
    pub position: Position,
    /// The end of the log, when it was last looked at.
    pub head: Position,
    /// The events handled since the projector was made.
    pub events: u64,
}

impl Progress {
    /// How many positions are still to go.
    pub fn behind(&self) -> u64 {
        self.head.get().saturating_sub(self.position.get())
    }
}

impl<V: Views> Projector<V> {
    /// A projector without projections.
    pub fn new(store: impl EventStore, views: V) -> Self {
        Self { inner: Arc::new(Inner::new(Arc::new(store), views)), tenant: Tenant::default() }
    }

    /// Sets where time and tasks come from.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn world(self, world: World) -> Self {
        self.set(|inner| inner.world = world)
    }

    /// Sets how much is handled in one transaction: at most so many events, and so much
    /// time from the first of them on. 16,384 events and 200 ms.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn batches(self, events: usize, age: Duration) -> Self {
        self.set(|inner| inner.batching = Batching { events: events.max(1), age })
    }

    /// Sets how long a part stays with an owner who does not move: 10 seconds, and at
    /// least 50 ms.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        self.set(|inner| inner.lease = lease.max(SHORTEST))
    }

    /// Adds a view.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn view<W: View>(self) -> Self {
        self.view_with::<W>(ModelSettings::new())
    }

    /// Adds a view that is kept in this way.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn view_with<W: View>(self, settings: ModelSettings) -> Self {
        self.add(ViewRecipe::<W>::new(settings))
    }

    /// Tells of what appends change in these views as of all others, in
    /// [`changes`](Self::changes) and in caches. It does not add them.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn inline(self, views: &InlineViews) -> Self {
        self.set(|inner| inner.changes = views.changes.clone())
    }

    /// Adds a free-form projection.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn projection<P: Projection<V::Tx>>(self, projection: P) -> Self {
        self.projection_with(projection, ModelSettings::new())
    }

    /// Adds a free-form projection that is kept in this way. Each of its parts gets the
    /// events of some streams.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn projection_with<P>(self, projection: P, settings: ModelSettings) -> Self
    where
        P: Projection<V::Tx>,
    {
        self.add(FreeRecipe::new::<V::Tx>(projection, settings))
    }

    /// Adds a reaction with the tools for its effects. One that has no checkpoint yet
    /// begins at `start`.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn reaction<R: Reaction>(self, reaction: R, tools: R::Tools, start: StartAt) -> Self {
        self.reaction_with(reaction, tools, start, ModelSettings::new())
    }

    /// Adds a reaction that is run in this way. Each of its parts gets the events of some
    /// streams.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn reaction_with<R: Reaction>(
        self,
        reaction: R,
        tools: R::Tools,
        start: StartAt,
        settings: ModelSettings,
    ) -> Self {
        self.add(ReactionRecipe::new(reaction, tools, start, settings))
    }

    /// Adds a relay, which tells others of the log. One that has no checkpoint yet begins at
    /// `start`.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn relay(self, relay: Relay, start: StartAt) -> Self {
        self.relay_with(relay, start, ModelSettings::new())
    }

    /// Adds a relay that is run in this way. Each of its parts tells of some streams.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn relay_with(self, relay: Relay, start: StartAt, settings: ModelSettings) -> Self {
        self.add(RelayRecipe::new(relay, start, settings))
    }

    pub(crate) fn add(self, recipe: impl Recipe<V> + 'static) -> Self {
        self.set(|inner| inner.recipes.push(Arc::new(recipe)))
    }

    fn set(mut self, set: impl FnOnce(&mut Inner<V>)) -> Self {
        set(Arc::get_mut(&mut self.inner).expect("a projector is set up before it is shared"));
        self
    }

    /// The same projector, answering for this tenant.
    #[must_use]
    pub fn of(&self, tenant: Tenant) -> Self {
        Self { inner: Arc::clone(&self.inner), tenant }
    }

    /// Brings every model to the end of the log as it is now.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`]; what was committed before stays.
    pub async fn catch_up(&self) -> Result<Progress, ProjectionError> {
        let _running = self.inner.running()?;
        self.inner.is_alone.store(true, Ordering::Release);
        self.inner.changes.tell(Changed::Everything);
        let (_go_on, stop) = watch::channel(false);
        let mut worker = Worker::new(&self.inner, Work::Alone, stop);
        let handlers = worker.take_all().await?;
        let until = self.inner.store.head().await?;
        self.inner.seen(until);
        let mut ended = worker.bring(handlers, until).await;
        let handed_over = worker.hand_over().await;
        match ended.error() {
            Some(error) => Err(error),
            None => handed_over.map(|()| *self.inner.progress().borrow()),
        }
    }

    /// Follows the log in a task of its own, until what comes back is told to
    /// stop, or is dropped. All models are kept here: whoever had them before cannot
    /// write any more.
    pub fn start(&self) -> Projecting<V> {
        self.start_as(Work::Alone)
    }

    /// Keeps a fair share of the parts of the models, beside the other processes that do
    /// so too, until what comes back is told to stop, or is dropped. What a dead one
    /// kept is taken over when its lease ends; what a stopped one kept, at once.
    pub fn start_worker(&self) -> Projecting<V> {
        self.start_as(Work::Shared)
    }

    fn start_as(&self, work: Work) -> Projecting<V> {
        let (stop, stopped) = watch::channel(false);
        let (failure, failed) = watch::channel(None);
        let projector = self.clone();
        let task = self.inner.world.spawn(async move {
            let kept = async {
                let _running = projector.inner.running()?;
                projector.inner.is_alone.store(work == Work::Alone, Ordering::Release);
                projector.inner.changes.tell(Changed::Everything);
                Worker::new(&projector.inner, work, stopped).run().await
            };
            let kept = AssertUnwindSafe(kept).catch_unwind();
            let reporting = async {
                // To measure how far it is behind reads the log, and may panic as that does.
                if AssertUnwindSafe(report(&projector)).catch_unwind().await.is_err() {
                    tracing::error!("the lag cannot be measured: what reads the log has panicked");
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                outcome = kept => {
                    let panicked = |panic: Box<dyn Any + Send>| {
                        Err(ProjectionError::handler(said(&*panic)))
                    };
                    failure.send_replace(outcome.unwrap_or_else(panicked).err().map(Arc::new));
                }
                () = reporting => {}
            }
        });
        Projecting { projector: self.clone(), stop, failed, task }
    }

    /// Tells how far it has come, each time that changes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.progress()
    }

    /// What this process commits from now on. A change is told after its commit and before
    /// [`progress`](Self::progress) moves. Whoever listens too slowly is told that
    /// [everything](Changed::Everything) has changed, and so is everybody when the
    /// projector takes its models over.
    pub fn changes(&self) -> BoxStream<'static, Changed> {
        self.inner.changes.listen()
    }
}

impl<V: Views> Clone for Projector<V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), tenant: self.tenant.clone() }
    }
}

impl<V: Views> fmt::Debug for Projector<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("progress", &*self.inner.progress().borrow()).finish()
    }
}
