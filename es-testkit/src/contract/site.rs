use std::{collections::BTreeMap, fmt, mem, ops::Deref, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use es_core::World;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{Harness, Place};
use crate::MovedClock;

/// What a promise is tried on: one open store, broker or whatever the port is.
/// It reads like the port itself.
///
/// ```
/// use std::sync::Arc;
/// # use async_trait::async_trait;
/// # use es_core::{EventStore, memory::MemoryStore};
/// # use es_testkit::contract::{Harness, Opened, Place};
/// # struct InMemory;
/// # #[async_trait]
/// # impl Harness<dyn EventStore> for InMemory {
/// #     async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
/// #         Opened::new(Arc::new(MemoryStore::in_world(place.world().clone())))
/// #     }
/// # }
/// use es_core::{EventStoreExt, Position};
/// use es_testkit::contract::Site;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let log = Site::open(Arc::new(InMemory)).await;
/// assert_eq!(log.head().await.expect("a store that can be read"), Position::START);
/// log.leave().await;
/// # }
/// ```
pub struct Site<P: ?Sized> {
    ground: Arc<Ground<P>>,
    place: Place,
    clock: MovedClock,
    port: Arc<P>,
}

/// All that one promise has opened.
struct Ground<P: ?Sized> {
    harness: Arc<dyn Harness<P>>,
    open: Mutex<BTreeMap<String, (Place, BoxFuture<'static, ()>)>>,
}

impl<P: ?Sized + Send + Sync + 'static> Site<P> {
    /// Opens something fresh.
    pub async fn open(harness: Arc<dyn Harness<P>>) -> Self {
        Self::on(Arc::new(Ground { harness, open: Mutex::default() })).await
    }

    /// Opens something fresh beside this.
    pub async fn another(&self) -> Self {
        Self::on(Arc::clone(&self.ground)).await
    }

    async fn on(ground: Arc<Ground<P>>) -> Self {
        let clock = MovedClock::new();
        let place = Place::new(World::real().with_clock(clock.clone()));
        let port = ground.open(&place).await;
        Self { ground, place, clock, port }
    }

    /// Closes it and opens it again.
    pub async fn reopen(&self) -> Self {
        self.ground.close(&self.place).await;
        let (place, clock) = (self.place.clone(), self.clock.clone());
        let port = self.ground.open(&place).await;
        Self { ground: Arc::clone(&self.ground), place, clock, port }
    }

    /// Closes and removes everything that was opened from here.
    pub async fn leave(&self) {
        let open = mem::take(&mut *self.ground.open.lock());
        for (place, close) in open.into_values() {
            close.await;
            self.ground.harness.remove(&place).await;
        }
    }

    /// Closes and removes what is at this place alone.
    pub(crate) async fn leave_alone(&self) {
        self.ground.close(&self.place).await;
        self.ground.harness.remove(&self.place).await;
    }

    /// Moves the clock of the store, as far as it asks the world for the time.
    pub fn move_clock(&self, delta: TimeDelta) {
        self.clock.move_by(delta);
    }

    /// The time by the clock of the store.
    pub fn now(&self) -> DateTime<Utc> {
        self.place.world().now()
    }

    /// The port, to be handed to another task.
    pub fn share(&self) -> Arc<P> {
        Arc::clone(&self.port)
    }
}

impl<P: ?Sized + Send + Sync + 'static> Ground<P> {
    async fn open(&self, place: &Place) -> Arc<P> {
        let opened = self.harness.open(place).await;
        self.open.lock().insert(place.name().to_owned(), (place.clone(), opened.close));
        opened.port
    }

    async fn close(&self, place: &Place) {
        let found = self.open.lock().remove(place.name());
        if let Some((_, close)) = found {
            close.await;
        }
    }
}

impl<P: ?Sized> Deref for Site<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.port
    }
}

impl<P: ?Sized> fmt::Debug for Site<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("place", &self.place.name()).finish_non_exhaustive()
    }
}
