use std::{
    any::{Any, TypeId},
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use dashmap::DashMap;
use es_core::{Aggregate, Codec, EventStore, World};
use futures_util::{FutureExt, future::BoxFuture, poll};
use tokio::sync::{oneshot, watch};
use tower::util::BoxCloneSyncService;

use crate::{
    Dispatch, NameClaimedTwice, Outcome, Settings,
    catalogue::Catalogue,
    lanes::{Lanes, Waiting},
    metrics::Metrics,
    runner::Runner,
};

pub(crate) type Layered =
    BoxCloneSyncService<Dispatch, Outcome, Box<dyn std::error::Error + Send + Sync>>;

/// What all clones of a command bus share.
pub(crate) struct Bus {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) world: World,
    pub(crate) codec: Codec,
    pub(crate) layered: Option<Layered>,
    pub(crate) catalogue: Catalogue,
    pub(crate) lanes: DashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    pub(crate) running: watch::Sender<usize>,
    /// How often decisions that have no lane are made.
    pub(crate) attempts: u32,
    pub(crate) metrics: Metrics,
}

impl Bus {
    /// The lanes of a type of aggregate, with default settings if nobody gave
    /// any before.
    pub(crate) fn lanes<A: Aggregate>(&self) -> Result<Arc<Lanes<A>>, NameClaimedTwice> {
        let found = self.lanes.get(&TypeId::of::<A>()).map(|found| Arc::clone(&found));
        let lanes = match found {
            Some(lanes) => lanes,
            None => {
                self.catalogue.claim::<A::Event>()?;
                let entry = self.lanes.entry(TypeId::of::<A>());
                let new =
                    || Arc::new(Lanes::<A>::new(Settings::new())) as Arc<dyn Any + Send + Sync>;
                Arc::clone(&entry.or_insert_with(new))
            }
        };
        Ok(lanes.downcast().expect("the entry of a type holds its lanes"))
    }

    /// Waits a random while, on average twice as long with each attempt.
    pub(crate) async fn back_off(&self, attempt: u32) {
        let most = 1_u64 << attempt.min(8);
        let millis = self.world.random_u64() % most + 1;
        self.world.sleep(Duration::from_millis(millis)).await;
    }

    /// Starts a runner that ends when nobody waits for its aggregate any more.
    pub(crate) fn run<A: Aggregate>(
        self: &Arc<Self>,
        runner: Runner<A>,
        first: Waiting<A>,
    ) -> impl Future<Output = ()> + use<A> {
        // Those in the lane of a runner that panicked are told so.
        self.carry(runner.run(first))
    }

    /// Asks something of the bus that goes on if the caller stops waiting; `None`
    /// if it panicked.
    pub(crate) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.carry(async move { drop(answer.send(work.await)) }).await;
        answered.await.ok()
    }

    /// Carries work to its end. Its first step is taken here and now, which often
    /// is all there is to do; the rest goes into a task of its own, so that a
    /// caller that stops waiting stops nothing.
    ///
    /// The work is large and goes into its box at once, so that the futures of those who
    /// wait for it are small.
    fn carry<W>(self: &Arc<Self>, work: W) -> impl Future<Output = ()> + use<W>
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (bus, guard) = (Arc::clone(self), Running::new(Arc::clone(self)));
        let mut work: BoxFuture<'static, ()> = Box::pin(async move {
            let _ = AssertUnwindSafe(work).catch_unwind().await;
            drop(guard);
        });
        async move {
            if poll!(&mut work).is_pending() {
                bus.world.detach(work);
            }
        }
    }
}

/// Counts work for as long as it lives.
struct Running(Arc<Bus>);

impl Running {
    fn new(bus: Arc<Bus>) -> Self {
        bus.running.send_modify(|count| *count += 1);
        Self(bus)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|count| *count -= 1);
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("codec", &self.codec)
            .field("running", &*self.running.borrow())
            .finish_non_exhaustive()
    }
}
