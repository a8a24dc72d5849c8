//! A store around another, with a place to make something go wrong at each
//! append, and a gate behind which commands gather.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use async_trait::async_trait;
use cqrs::{Command, Commands, Decide};
use es_core::{
    Abilities, AppendError, Appended, Batch, Conflict, EventStore, EventStoreExt, Pages, Read,
    StoreError, StoreErrorKind,
};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{RwLock, RwLockWriteGuard, watch};

use crate::bank::{Account, Answer, deposit};

/// What becomes of one append.
pub(crate) enum Fault {
    /// It fails and nothing is appended.
    Before(StoreErrorKind),
    /// It is appended, and the answer is lost.
    Lost,
    /// Another writer comes first.
    Race(BoxFuture<'static, ()>),
}

pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    faults: Mutex<VecDeque<Fault>>,
    always: Mutex<Option<StoreErrorKind>>,
    conflicts: Mutex<bool>,
    gate: RwLock<()>,
    arrived: watch::Sender<usize>,
    reads: AtomicUsize,
    batches: Mutex<Vec<Batch>>,
}

impl<S: EventStore> Faulty<S> {
    pub(crate) fn new(inner: S) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: Mutex::default(),
            always: Mutex::default(),
            conflicts: Mutex::default(),
            gate: RwLock::default(),
            arrived: watch::Sender::default(),
            reads: AtomicUsize::default(),
            batches: Mutex::default(),
        })
    }

    /// What becomes of the next append for which nothing is planned yet.
    pub(crate) fn plan(&self, fault: Fault) {
        self.faults.lock().push_back(fault);
    }

    pub(crate) fn race(&self, racer: impl Future<Output = ()> + Send + 'static) {
        self.plan(Fault::Race(Box::pin(racer)));
    }

    /// Lets the next append for which nothing is planned yet go through.
    pub(crate) fn race_nothing(&self) {
        self.race(async {});
    }

    pub(crate) fn fail_always(&self, kind: StoreErrorKind) {
        *self.always.lock() = Some(kind);
    }

    pub(crate) fn conflict_always(&self) {
        *self.conflicts.lock() = true;
    }

    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    pub(crate) fn appends(&self) -> usize {
        *self.arrived.borrow()
    }

    /// The batches that came, refused ones too.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.batches.lock().clone()
    }

    /// Holds every append back until the guard is dropped.
    pub(crate) async fn shut(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    pub(crate) async fn wait_for_append(&self, number: usize) {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|count| *count >= number).await.unwrap();
    }

    /// Occupies the lane of `account` with a deposit of `amount` and keeps it
    /// occupied while the `others` come: they make up one folded group.
    pub(crate) async fn folded<T>(
        &self,
        commands: &Commands,
        account: &str,
        amount: i64,
        others: impl AsyncFnOnce() -> T,
    ) -> T {
        let shut = self.shut().await;
        let before = self.appends();
        let first = enter(commands, deposit(account, amount)).await;
        self.wait_for_append(before + 1).await;
        let entered = others().await;
        drop(shut);
        first.await.unwrap();
        entered
    }

    fn answer(&self) -> Option<Fault> {
        if let Some(kind) = *self.always.lock() {
            return Some(Fault::Before(kind));
        }
        self.faults.lock().pop_front()
    }
}

pub(crate) type Sending = BoxFuture<'static, Answer>;

/// Sends a command until it waits in its lane.
pub(crate) async fn enter<C>(commands: &Commands, command: C) -> Sending
where
    C: Command<Aggregate = Account>,
    Account: Decide<C>,
{
    let commands = commands.clone();
    begun(async move { commands.send(command).await }).await
}

/// Polls a future once: what it does before it first waits is done then.
pub(crate) async fn begun<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    poll_fn(|context| {
        assert!(future.as_mut().poll(context).is_pending(), "it did not wait");
        Poll::Ready(())
    })
    .await;
    future
}

#[async_trait]
impl<S: EventStore> EventStore for Faulty<S> {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.batches.lock().push(batch.clone());
        self.arrived.send_modify(|count| *count += 1);
        let _open = self.gate.read().await;
        if *self.conflicts.lock() {
            let stream = batch.writes[0].stream.clone();
            let actual = self.inner.version(&stream).await?.plus(1);
            return Err(AppendError::Conflict(Box::new(Conflict {
                stream,
                actual,
                unseen: vec![],
            })));
        }
        match self.answer() {
            None => self.inner.append(batch).await,
            Some(Fault::Before(kind)) => Err(StoreError::new(kind, "as planned").into()),
            Some(Fault::Lost) => {
                self.inner.append(batch).await?;
                Err(StoreError::new(StoreErrorKind::Unknown, "the answer is lost").into())
            }
            Some(Fault::Race(racer)) => {
                racer.await;
                self.inner.append(batch).await
            }
        }
    }

    fn read(&self, read: Read) -> Pages {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read(read)
    }

    fn follow(&self, read: Read) -> Pages {
        self.inner.follow(read)
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }
}

/// Settings for tests that want other ones than the default.
pub(crate) fn with<S: EventStore>(store: S, settings: cqrs::Settings<Account>) -> Commands {
    Commands::builder(store).aggregate(settings).unwrap().build()
}
