//! Views around others, with a place to make something happen before each call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use es_core::{
    Build, BuildChange, Builds, Changes, Checkpoint, Lookup, Name, Part, Row, StoreError,
    StoreErrorKind, Taking, Views, World,
    memory::{MemoryTx, MemoryViews},
};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

/// What the views are asked to do.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Begin,
    Rows(Lookup),
    Commit,
    Builds(Vec<Name>),
    Change,
    Take(Part),
    Renew(Vec<Part>),
}

type Hook = Arc<dyn Fn(Op) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Hooked {
    inner: MemoryViews,
    hook: Arc<Mutex<Hook>>,
}

impl Hooked {
    pub(crate) fn new(inner: &MemoryViews) -> Self {
        let nothing: Hook = Arc::new(|_| Box::pin(async { Ok(()) }));
        Self { inner: inner.clone(), hook: Arc::new(Mutex::new(nothing)) }
    }

    /// From now on, this happens before each call, and may fail it.
    pub(crate) fn before<F>(&self, hook: impl Fn(Op) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        *self.hook.lock() = Arc::new(move |op| Box::pin(hook(op)));
    }

    /// Counts these calls from now on.
    pub(crate) fn count(&self, is_one: fn(&Op) -> bool) -> Count {
        let count = Count::default();
        let counted = count.clone();
        self.before(move |op| {
            if is_one(&op) {
                counted.one_more();
            }
            async { Ok(()) }
        });
        count
    }

    async fn call(&self, op: Op) -> Result<(), StoreError> {
        let hook = self.hook.lock().clone();
        hook(op).await
    }
}

impl Views for Hooked {
    type Tx = MemoryTx;

    async fn begin(&self, part: &Part) -> Result<(MemoryTx, Checkpoint), StoreError> {
        self.call(Op::Begin).await?;
        self.inner.begin(part).await
    }

    async fn rows(&self, lookup: Lookup) -> Result<Vec<Row>, StoreError> {
        self.call(Op::Rows(lookup.clone())).await?;
        self.inner.rows(lookup).await
    }

    async fn commit(
        &self,
        part: &Part,
        tx: MemoryTx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        self.call(Op::Commit).await?;
        self.inner.commit(part, tx, changes, seen, next).await
    }
}

#[async_trait]
impl Builds for Hooked {
    async fn builds(&self, models: &[Name]) -> Result<Vec<Build>, StoreError> {
        self.call(Op::Builds(models.to_vec())).await?;
        self.inner.builds(models).await
    }

    async fn change(&self, change: BuildChange) -> Result<(), StoreError> {
        self.call(Op::Change).await?;
        self.inner.change(change).await
    }

    async fn take(
        &self,
        part: &Part,
        owner: &Name,
        lease: Duration,
        taking: Taking,
    ) -> Result<Option<Checkpoint>, StoreError> {
        self.call(Op::Take(part.clone())).await?;
        self.inner.take(part, owner, lease, taking).await
    }

    async fn renew(
        &self,
        owner: &Name,
        held: &[(Part, u64)],
        lease: Duration,
    ) -> Result<Vec<Part>, StoreError> {
        self.call(Op::Renew(held.iter().map(|(part, _)| part.clone()).collect())).await?;
        self.inner.renew(owner, held, lease).await
    }
}

/// How often something has happened, and what waits for that.
#[derive(Clone, Default)]
pub(crate) struct Count(watch::Sender<usize>);

impl Count {
    pub(crate) fn one_more(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    pub(crate) fn get(&self) -> usize {
        *self.0.borrow()
    }

    /// Waits until it has happened so often.
    pub(crate) async fn reach(&self, number: usize) {
        self.0.subscribe().wait_for(|count| *count >= number).await.unwrap();
    }

    /// Waits until it has happened so many times more.
    pub(crate) async fn more(&self, number: usize) {
        self.reach(self.get() + number).await;
    }
}

/// Fails once.
#[derive(Clone, Default)]
pub(crate) struct Once(Arc<AtomicUsize>);

impl Once {
    pub(crate) fn fail(&self) -> Result<(), StoreError> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Err(StoreError::new(StoreErrorKind::Unavailable, "away, as planned")),
            _ => Ok(()),
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }
}

/// Looks again and again until it is so.
pub(crate) async fn until(is_so: impl AsyncFn() -> bool) {
    let looking = async {
        while !is_so().await {
            World::real().sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), looking).await.unwrap();
}
