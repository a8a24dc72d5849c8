use async_trait::async_trait;
use es_core::{Position, StoreError, Views};
use futures_util::{
    StreamExt,
    future::try_join,
    stream::{self, BoxStream},
};

use crate::{Change, Projector};

/// Says how far the read models have come from which queries are answered.
///
/// A [`Projector`] that runs in this process is one, and so is a pair of two.
///
/// ```
/// use async_trait::async_trait;
/// use cqrs::{Change, Freshness};
/// use es_core::{Position, StoreError};
/// use futures_util::{StreamExt, stream::{self, BoxStream}};
/// use tokio::sync::watch;
///
/// /// A read model that somebody else keeps.
/// struct Warehouse { loaded: watch::Receiver<Position> }
///
/// #[async_trait]
/// impl Freshness for Warehouse {
///     async fn as_of(&self) -> Result<Position, StoreError> { Ok(*self.loaded.borrow()) }
///
///     async fn wait_for(&self, position: Position) -> Result<(), StoreError> {
///         let _ = self.loaded.clone().wait_for(|loaded| *loaded >= position).await;
///         Ok(())
///     }
///
///     fn changes(&self) -> BoxStream<'static, Change> { stream::pending().boxed() }
/// }
/// ```
#[async_trait]
pub trait Freshness: Send + Sync + 'static {
    /// Whatever is read from now on shows every event at or before it. It never
    /// goes back, unless a model begins anew.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if that cannot be found out.
    async fn as_of(&self) -> Result<Position, StoreError>;

    /// Waits until [`as_of`](Self::as_of) is at least `position`: never returns
    /// early. How long that may take is the caller's affair, who drops the future.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if that cannot be found out.
    async fn wait_for(&self, position: Position) -> Result<(), StoreError>;

    /// What changes from now on. A change is told after its commit, and whoever
    /// listens too slowly is told [`Change::Everything`].
    fn changes(&self) -> BoxStream<'static, Change>;
}

/// Both: as far as the one that is further behind.
#[async_trait]
impl<A: Freshness, B: Freshness> Freshness for (A, B) {
    async fn as_of(&self) -> Result<Position, StoreError> {
        let (one, other) = try_join(self.0.as_of(), self.1.as_of()).await?;
        Ok(one.min(other))
    }

    async fn wait_for(&self, position: Position) -> Result<(), StoreError> {
        try_join(self.0.wait_for(position), self.1.wait_for(position)).await.map(drop)
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        stream::select(self.0.changes(), self.1.changes()).boxed()
    }
}

#[async_trait]
impl<V: Views> Freshness for Projector<V> {
    /// Known here if this process keeps all models; else the store is asked.
    async fn as_of(&self) -> Result<Position, StoreError> {
        self.shown().await
    }

    async fn wait_for(&self, position: Position) -> Result<(), StoreError> {
        self.reached(position).await
    }

    fn changes(&self) -> BoxStream<'static, Change> {
        Projector::changes(self)
    }
}
