//! One loop that reads the log once for some parts.

use std::{sync::Arc, time::Duration};

use es_core::{EventStoreExt, Part, Position, Read, StoreError, StoreErrorKind, Views};
use futures_util::{StreamExt, future::join_all};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    batch::PageBatch,
    gather::{Gathered, gather},
    handler::Handler,
    inner::Inner,
};
use crate::ProjectionError;

/// How often a failing store is asked again.
const TRIES: u32 = 8;

/// How much larger a batch is of whoever does not follow the log: rows that change often
/// are written less often.
const CATCHING_UP: usize = 2;

/// The parts that one loop keeps.
pub(crate) type Handlers<V> = Vec<Box<dyn Handler<V>>>;

/// How a loop has ended.
pub(crate) struct Ended<V: Views> {
    /// What it kept, and can be kept on.
    pub(crate) handlers: Handlers<V>,
    /// What it has lost, and why.
    pub(crate) lost: Vec<(Part, ProjectionError)>,
    /// Why it cannot read on.
    pub(crate) failure: Option<ProjectionError>,
    /// Whether it has read anything.
    pub(crate) has_moved: bool,
}

impl<V: Views> Ended<V> {
    pub(crate) fn new(handlers: Handlers<V>) -> Self {
        Self { handlers, lost: Vec::new(), failure: None, has_moved: false }
    }

    /// The first thing that went wrong.
    pub(crate) fn error(&mut self) -> Option<ProjectionError> {
        let lost = self.lost.drain(..).next().map(|(_, error)| error);
        self.failure.take().or(lost)
    }
}

/// Brings the parts to `until`, or follows the log until it is told to stop; at most
/// `pace` events a second. It ends early if it loses one of them.
pub(crate) async fn run<V: Views>(
    inner: &Arc<Inner<V>>,
    handlers: Handlers<V>,
    until: Option<Position>,
    pace: Option<u32>,
    stop: watch::Receiver<bool>,
) -> Ended<V> {
    let ended = Ended::new(handlers);
    let mut session = Session { inner, pace, ended };
    if !session.ended.handlers.is_empty() {
        session.ended.failure = session.read(until, stop).await.err();
    }
    session.ended
}

struct Session<'a, V: Views> {
    inner: &'a Arc<Inner<V>>,
    /// At most so many events a second.
    pace: Option<u32>,
    ended: Ended<V>,
}

impl<V: Views> Session<'_, V> {
    async fn read(
        &mut self,
        until: Option<Position>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), ProjectionError> {
        let mut tries = 0;
        loop {
            match self.read_once(until, &mut stop, &mut tries).await {
                Err(error) if error.is_transient() && tries < TRIES => {
                    tries += 1;
                    self.inner.world.sleep(Duration::from_millis(10 << tries)).await;
                }
                outcome => return outcome.map_err(ProjectionError::Store),
            }
        }
    }

    async fn read_once(
        &mut self,
        until: Option<Position>,
        stop: &mut watch::Receiver<bool>,
        tries: &mut u32,
    ) -> Result<(), StoreError> {
        let positions = self.ended.handlers.iter().map(|one| one.held().checkpoint.position);
        let from = positions.min().unwrap_or_default();
        let head = match until {
            Some(until) => until,
            None => self.inner.store.head().await?,
        };
        self.inner.seen(head);
        if until.is_some_and(|until| from >= until) {
            return Ok(());
        }
        let read = Read::all().every_tenant().types(self.types()).after(from);
        let pages = match until {
            Some(until) => self.inner.store.read(read.up_to(until)),
            None => self.inner.store.follow(read),
        };
        let (ahead, mut batches) = mpsc::channel(1);
        let (mut batching, world) = (self.inner.batching, self.inner.world.clone());
        if until.is_some() {
            batching.events = batching.events.saturating_mul(CATCHING_UP);
        }
        self.inner.world.detach(gather(pages.fuse(), head, batching, ahead, world));
        loop {
            let batch = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                batch = batches.recv() => batch,
            };
            let batch = match batch {
                Some(Gathered::Batch(batch)) => batch,
                Some(Gathered::End) => return Ok(()),
                Some(Gathered::Failed(error)) => return Err(error),
                None => return Err(panicked()),
            };
            let events = batch.events.len();
            self.handle(Arc::new(batch), stop).await;
            self.ended.has_moved = true;
            *tries = 0;
            if let Some(pace) = self.pace {
                let seconds = events as f64 / f64::from(pace.max(1));
                self.inner.world.sleep(Duration::from_secs_f64(seconds)).await;
            }
            if !self.ended.lost.is_empty() {
                return Ok(());
            }
        }
    }

    fn types(&self) -> Vec<es_core::Name> {
        let models: Vec<_> = self.ended.handlers.iter().map(|one| &one.held().part.model).collect();
        let recipes = self.inner.recipes.iter().map(|recipe| recipe.about());
        let named = recipes.filter(|about| models.contains(&&about.name));
        named.flat_map(|about| about.types.iter().cloned()).collect()
    }

    /// Brings all parts to the end of the batch, each in a task of its own.
    async fn handle(&mut self, batch: Arc<PageBatch>, stop: &watch::Receiver<bool>) {
        let handlers = std::mem::take(&mut self.ended.handlers);
        let parts: Vec<_> = handlers.iter().map(|one| one.held().part.clone()).collect();
        let steps = handlers.into_iter().map(|handler| {
            let (inner, batch) = (Arc::clone(self.inner), Arc::clone(&batch));
            let (stop, (done, outcome)) = (stop.clone(), oneshot::channel());
            self.inner.world.detach(async move {
                let _ = done.send(step(&inner, handler, &batch, &stop).await);
            });
            async move { outcome.await.ok() }
        });
        for (part, outcome) in parts.into_iter().zip(join_all(steps).await) {
            match outcome {
                Some((handler, Ok(()))) => {
                    self.inner.reached(&part, handler.held().checkpoint.position);
                    self.ended.handlers.push(handler);
                }
                Some((_, Err(error))) => self.ended.lost.push((part, error)),
                None => {
                    let error = ProjectionError::handler("its task panicked");
                    self.ended.lost.push((part, error));
                }
            }
        }
        self.inner.handled(&batch);
    }
}

fn panicked() -> StoreError {
    let message = "the log cannot be read: what reads it, or an upcaster, has panicked";
    StoreError::new(StoreErrorKind::Other, message)
}

/// One part and one batch: what may pass is tried again.
async fn step<V: Views>(
    inner: &Arc<Inner<V>>,
    mut handler: Box<dyn Handler<V>>,
    batch: &PageBatch,
    stop: &watch::Receiver<bool>,
) -> (Box<dyn Handler<V>>, Result<(), ProjectionError>) {
    let (mut tries, mut is_lost) = (0, false);
    loop {
        let outcome = match is_lost {
            true => handler.recover(&inner.views).await.map(|()| is_lost = false),
            false => handler.handle(&inner.views, batch, stop).await,
        };
        match outcome {
            Ok(()) if *stop.borrow() && !is_lost => return (handler, Ok(())),
            Ok(()) if handler.held().checkpoint.position < batch.through => {}
            Err(error) if error.is_transient() && tries < TRIES => {
                (tries, is_lost) = (tries + 1, true);
                inner.world.sleep(Duration::from_millis(10 << tries)).await;
            }
            outcome => return (handler, outcome),
        }
    }
}
