use std::{fmt, future, sync::Arc};

use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};

use super::Place;

/// Opens and closes what is tested; the one thing that an adapter writes.
///
/// `P` is the port: `dyn EventStore`, `dyn Movable`, `dyn Checkpoints`, `dyn Snapshots`,
/// `dyn SharedCache`, `dyn Timers`, [`Retaining`](super::Retaining), [`Broker`](super::Broker) or
/// [`ReadModels`](super::ReadModels).
///
/// ```
/// use std::sync::Arc;
/// use async_trait::async_trait;
/// use es_core::{EventStore, memory::MemoryStore};
/// use es_testkit::contract::{Harness, Opened, Place};
///
/// struct InMemory;
///
/// #[async_trait]
/// impl Harness<dyn EventStore> for InMemory {
///     async fn open(&self, place: &Place) -> Opened<dyn EventStore> {
///         Opened::new(Arc::new(MemoryStore::in_world(place.world().clone())))
///     }
/// }
/// ```
#[async_trait]
pub trait Harness<P: ?Sized + Send + Sync + 'static>: Send + Sync + 'static {
    /// Opens what lives at this place: empty the first time, with all that it
    /// held when it is opened again after it was closed.
    async fn open(&self, place: &Place) -> Opened<P>;

    /// Removes whatever is left at this place; it was closed before.
    async fn remove(&self, place: &Place) {
        let _ = place;
    }
}

/// Something open, and how it is closed.
///
/// ```
/// use std::sync::Arc;
/// use es_core::{EventStore, memory::MemoryStore};
/// use es_testkit::contract::Opened;
///
/// let store: Arc<dyn EventStore> = Arc::new(MemoryStore::new());
/// let opened = Opened::new(store).closing(async { println!("closed") });
/// ```
pub struct Opened<P: ?Sized> {
    pub(super) port: Arc<P>,
    pub(super) close: BoxFuture<'static, ()>,
}

impl<P: ?Sized> Opened<P> {
    /// Something that needs no closing.
    pub fn new(port: Arc<P>) -> Self {
        Self { port, close: future::ready(()).boxed() }
    }

    /// Sets what closes it, so that nothing of it is in the way of opening it
    /// again.
    #[must_use]
    pub fn closing(mut self, close: impl Future<Output = ()> + Send + 'static) -> Self {
        self.close = close.boxed();
        self
    }
}

impl<P: ?Sized> fmt::Debug for Opened<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}
