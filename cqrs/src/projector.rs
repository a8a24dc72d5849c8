use std::{fmt, sync::Arc, time::Duration};

use es_core::{
    EventStore, EventStoreExt, Name, Pages, Position, Read, RowId, Rows, StoreError, Tenant, Views,
    World, limits,
};
use futures_util::{
    StreamExt,
    future::{join_all, ready},
    stream::Fuse,
};
use tokio::sync::{Mutex, mpsc, watch};

use crate::{
    Projecting, Projection, ProjectionError, View,
    batch::PageBatch,
    handler::{Handler, ProjectionHandler, ViewHandler, decode_row},
};

/// Most events that are handled in one transaction.
const BATCH: usize = 16_384;
/// How long a batch that began with a full page gathers more: under load larger
/// batches rewrite fewer rows, and without load nobody waits.
const GATHER: Duration = Duration::from_millis(200);
/// Rows that [`Projector::all`] asks for at once.
const ROWS: usize = 1_000;
/// How often a failing store is asked again before the projector stops.
const TRIES: u32 = 8;

/// Keeps read models: reads the log once for all of them, and brings each to
/// the same position in its own transaction, together with its checkpoint.
///
/// Only one projector can write a model: whoever starts takes the checkpoint
/// over, and with that the one before can write no more.
///
/// See [`View`] for an example. Clones share everything.
pub struct Projector<V: Views> {
    inner: Arc<Inner<V>>,
    tenant: Tenant,
}

struct Inner<V: Views> {
    store: Arc<dyn EventStore>,
    views: V,
    handlers: Mutex<Vec<Box<dyn Handler<V>>>>,
    progress: watch::Sender<Progress>,
    world: World,
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
    /// Every model shows every event at or before it.
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
        let inner = Inner {
            store: Arc::new(store),
            views,
            handlers: Mutex::default(),
            progress: watch::Sender::default(),
            world: World::real(),
        };
        Self { inner: Arc::new(inner), tenant: Tenant::default() }
    }

    /// Sets where time and tasks come from.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        let inner = Arc::get_mut(&mut self.inner).expect("the world is set before it is shared");
        inner.world = world;
        self
    }

    /// Adds a view.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn view<W: View>(self) -> Self {
        self.add(Box::new(ViewHandler::<W>::new()))
    }

    /// Adds a free-form projection.
    ///
    /// # Panics
    ///
    /// If the projector runs already, or is shared.
    #[must_use]
    pub fn projection<P: Projection<V::Tx>>(self, projection: P) -> Self {
        self.add(Box::new(ProjectionHandler::<P, V>::new(projection)))
    }

    fn add(mut self, handler: Box<dyn Handler<V>>) -> Self {
        let inner =
            Arc::get_mut(&mut self.inner).expect("projections are added before it is shared");
        inner.handlers.get_mut().push(handler);
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
        let head = self.inner.store.head().await?;
        self.run(Some(head)).await?;
        Ok(*self.inner.progress.borrow())
    }

    /// Deletes every model and builds it anew from history.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`]; starting again goes on where it stopped.
    pub async fn rebuild(&self) -> Result<Progress, ProjectionError> {
        {
            let mut handlers =
                self.inner.handlers.try_lock().map_err(|_| ProjectionError::Running)?;
            for handler in handlers.iter_mut() {
                handler.reset(&self.inner.views).await?;
            }
            self.inner.progress.send_modify(|progress| progress.position = Position::START);
        }
        self.catch_up().await
    }

    /// Follows the log in a task of its own, until what comes back is told to
    /// stop, or is dropped.
    pub fn start(&self) -> Projecting<V> {
        let (stop, mut stopped) = watch::channel(false);
        let (failure, failed) = watch::channel(None);
        let projector = self.clone();
        let task = self.inner.world.spawn(async move {
            tokio::select! {
                outcome = projector.run(None) => {
                    failure.send_replace(outcome.err().map(Arc::new));
                }
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
        Projecting { projector: self.clone(), stop, failed, task }
    }

    /// Tells how far it has come, each time that changes.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.progress.subscribe()
    }

    /// The row with this key, if there is one.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails or the row cannot be read.
    pub async fn get<W: View>(&self, key: &W::Key) -> Result<Option<W>, ProjectionError> {
        let ids = Rows::These(vec![RowId::new(self.tenant.clone(), key.to_string())]);
        let rows = self.inner.views.rows(&Name::from_static(W::NAME), ids).await?;
        let row = rows.into_iter().next().and_then(|row| Some((row.id, row.value?)));
        row.map(|(id, value)| decode_row(&id, &value)).transpose()
    }

    /// All rows of a view, in the order of their keys as text.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails or a row cannot be read.
    pub async fn all<W: View>(&self) -> Result<Vec<(String, W)>, ProjectionError> {
        let mut all: Vec<(String, W)> = Vec::new();
        loop {
            let after = all.last().map(|(key, _)| key.clone());
            let page = Rows::Of { tenant: self.tenant.clone(), after, limit: ROWS };
            let rows = self.inner.views.rows(&Name::from_static(W::NAME), page).await?;
            let last = rows.len() < ROWS;
            for row in rows {
                let value = row.value.unwrap_or_default();
                let decoded = decode_row(&row.id, &value)?;
                all.push((row.id.key, decoded));
            }
            if last {
                return Ok(all);
            }
        }
    }

    async fn run(&self, until: Option<Position>) -> Result<(), ProjectionError> {
        let mut handlers = self.inner.handlers.try_lock().map_err(|_| ProjectionError::Running)?;
        let mut tries = 0;
        loop {
            match self.run_once(&mut handlers, until, &mut tries).await {
                Err(ProjectionError::Store(error)) if error.is_transient() && tries < TRIES => {
                    tries += 1;
                    self.inner.world.sleep(Duration::from_millis(10 << tries)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn run_once(
        &self,
        handlers: &mut [Box<dyn Handler<V>>],
        until: Option<Position>,
        tries: &mut u32,
    ) -> Result<(), ProjectionError> {
        let (from, head) = self.take_over(handlers).await?;
        let types: Vec<_> = handlers.iter().flat_map(|handler| handler.types()).collect();
        let read = Read::all().every_tenant().types(types).after(from);
        let pages = match until {
            Some(head) if from >= head => return Ok(()),
            Some(head) => self.inner.store.read(read.up_to(head)),
            None => self.inner.store.follow(read),
        };
        let (ahead, mut batches) = mpsc::channel(1);
        self.inner.world.detach(gather(pages.fuse(), head, ahead, self.inner.world.clone()));
        while let Some(batch) = batches.recv().await {
            let batch = batch?;
            let views = &self.inner.views;
            let handled = handlers.iter_mut().map(|handler| handler.handle(views, &batch));
            join_all(handled).await.into_iter().collect::<Result<(), _>>()?;
            self.inner.progress.send_modify(|progress| {
                progress.position = batch.through;
                progress.head = progress.head.max(batch.through);
                progress.events += batch.events.len() as u64;
            });
            *tries = 0;
        }
        Ok(())
    }

    /// The head is looked at last: until then the owner before may still move
    /// the checkpoints, past a head that was seen before.
    async fn take_over(
        &self,
        handlers: &mut [Box<dyn Handler<V>>],
    ) -> Result<(Position, Position), ProjectionError> {
        let mut checkpoints = Vec::with_capacity(handlers.len());
        for handler in handlers.iter_mut() {
            checkpoints.push(handler.take_over(&self.inner.views).await?.position);
        }
        let head = self.inner.store.head().await?;
        for (handler, &checkpoint) in handlers.iter().zip(&checkpoints) {
            if checkpoint > head {
                let name = handler.name().to_string();
                return Err(ProjectionError::Ahead { name, checkpoint, head });
            }
        }
        let from = checkpoints.into_iter().min().unwrap_or(head);
        self.inner.progress.send_modify(|progress| {
            progress.position = from;
            progress.head = head;
        });
        Ok((from, head))
    }
}

/// Reads one batch ahead of the one that is being handled.
async fn gather(
    mut pages: Fuse<Pages>,
    head: Position,
    ahead: mpsc::Sender<Result<PageBatch, StoreError>>,
    world: World,
) {
    loop {
        let batch = tokio::select! {
            batch = next_batch(&mut pages, head, &world) => batch,
            () = ahead.closed() => return,
        };
        let Some(batch) = batch.transpose() else { return };
        if ahead.send(batch).await.is_err() {
            return;
        }
    }
}

/// The next page, with more of them until the batch is full: those that must
/// come before `head` is reached, and under load those of the next moment.
async fn next_batch(
    pages: &mut Fuse<Pages>,
    head: Position,
    world: &World,
) -> Result<Option<PageBatch>, StoreError> {
    let Some(page) = pages.next().await else { return Ok(None) };
    let mut batch = PageBatch::default();
    let under_load = page.as_ref().is_ok_and(|page| page.events.len() >= limits::PAGE_EVENTS);
    batch.add(page?);
    while batch.events.len() < BATCH && batch.through < head {
        let Some(page) = pages.next().await else { return Ok(Some(batch)) };
        batch.add(page?);
    }
    let mut moment = if under_load { world.sleep(GATHER) } else { Box::pin(ready(())) };
    while batch.events.len() < BATCH {
        tokio::select! {
            biased;
            page = pages.next() => match page {
                Some(page) => batch.add(page?),
                None => break,
            },
            () = &mut moment => break,
        }
    }
    Ok(Some(batch))
}

impl<V: Views> Clone for Projector<V> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), tenant: self.tenant.clone() }
    }
}

impl<V: Views> fmt::Debug for Projector<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Projector").field("progress", &*self.inner.progress.borrow()).finish()
    }
}
