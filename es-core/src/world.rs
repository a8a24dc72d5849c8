//! Time, randomness, ids and tasks come in through small ports, so that a test
//! or a simulator can drive everything. Nothing else in Gesta asks the machine.

#![expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use uuid::Builder;

use crate::{AppendId, EventId, id};

/// Tells the time and waits.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use es_core::Clock;
/// use futures_util::future::BoxFuture;
///
/// #[derive(Debug)]
/// struct Stopped(DateTime<Utc>);
///
/// impl Clock for Stopped {
///     fn now(&self) -> DateTime<Utc> { self.0 }
///     fn sleep(&self, _: std::time::Duration) -> BoxFuture<'static, ()> {
///         Box::pin(std::future::pending())
///     }
/// }
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> DateTime<Utc>;

    /// Waits for this long.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Makes random numbers.
///
/// ```
/// use es_core::{Random, World};
///
/// #[derive(Debug)]
/// struct Seven;
///
/// impl Random for Seven {
///     fn next_u64(&self) -> u64 { 7 }
/// }
/// let world = World::real().with_random(Seven);
/// assert_eq!(world.random_u64(), 7);
/// ```
pub trait Random: fmt::Debug + Send + Sync + 'static {
    /// The next number.
    fn next_u64(&self) -> u64;
}

/// Starts tasks.
///
/// ```
/// use es_core::Spawn;
/// use futures_util::future::BoxFuture;
///
/// #[derive(Debug)]
/// struct OnThisRuntime(tokio::runtime::Handle);
///
/// impl Spawn for OnThisRuntime {
///     fn spawn(&self, task: BoxFuture<'static, ()>) { self.0.spawn(task); }
/// }
/// ```
pub trait Spawn: fmt::Debug + Send + Sync + 'static {
    /// Runs the task to its end, whatever becomes of the caller.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

/// The clock, the randomness and the task spawner that a store or a bus uses.
///
/// ```
/// use es_core::World;
///
/// let world = World::real();
/// let (one, next) = (world.event_id(), world.event_id());
/// assert_ne!(one, next);
/// ```
#[derive(Debug, Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    spawner: Arc<dyn Spawn>,
}

impl World {
    /// The machine's clock and randomness, and tokio's tasks.
    pub fn real() -> Self {
        Self { clock: Arc::new(Machine), random: Arc::new(Machine), spawner: Arc::new(Machine) }
    }

    /// The same world with another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The same world with another source of random numbers.
    #[must_use]
    pub fn with_random(mut self, random: impl Random) -> Self {
        self.random = Arc::new(random);
        self
    }

    /// The same world with another way to start tasks.
    #[must_use]
    pub fn with_spawner(mut self, spawner: impl Spawn) -> Self {
        self.spawner = Arc::new(spawner);
        self
    }

    /// The time now.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Waits for this long.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }

    /// A random number.
    pub fn random_u64(&self) -> u64 {
        self.random.next_u64()
    }

    /// A new id for an event: a UUID v7.
    pub fn event_id(&self) -> EventId {
        EventId::new(self.uuid_v7())
    }

    /// New ids for the events of one append: UUIDs v7 that count up from a
    /// random one, so that they sort as the events do (RFC 9562, 6.2).
    pub fn event_ids(&self) -> impl Iterator<Item = EventId> + use<> {
        // With this bit off the low 62, which are random, can count far up.
        const ROOM: u128 = !(1 << 61);
        let first = self.uuid_v7().as_u128() & ROOM;
        (first..).map(|next| EventId::new(uuid::Uuid::from_u128(next)))
    }

    /// A new id for an append: a UUID v7.
    pub fn append_id(&self) -> AppendId {
        AppendId::new(self.uuid_v7())
    }

    fn uuid_v7(&self) -> uuid::Uuid {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.random_u64().to_le_bytes());
        random[8..].copy_from_slice(&self.random_u64().to_le_bytes()[..2]);
        Builder::from_unix_timestamp_millis(id::millis(self.now()), &random).into_uuid()
    }

    /// Starts a task that runs to its end; whoever owns it awaits the handle.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Task {
        let (done, finished) = oneshot::channel();
        self.spawner.spawn(Box::pin(async move {
            task.await;
            let _ = done.send(());
        }));
        Task(finished)
    }

    /// Starts a task whose owner learns of its end by other means.
    pub fn detach(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(Box::pin(task));
    }
}

impl Default for World {
    fn default() -> Self {
        Self::real()
    }
}

/// A running task; awaiting it waits for its end, `false` if it panicked.
///
/// ```
/// use es_core::World;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let task = World::real().spawn(async {});
/// assert!(task.await);
/// # }
/// ```
#[derive(Debug)]
pub struct Task(oneshot::Receiver<()>);

impl Future for Task {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut self.0).poll(context).map(|ended| ended.is_ok())
    }
}

#[derive(Debug)]
struct Machine;

impl Clock for Machine {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Random for Machine {
    fn next_u64(&self) -> u64 {
        use rand::Rng;
        rand::rng().next_u64()
    }
}

impl Spawn for Machine {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
}
