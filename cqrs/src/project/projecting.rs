use std::sync::Arc;

use es_core::{Position, Task, Views};
use tokio::sync::watch;

use crate::{ProjectionError, Projector};

/// A projector that follows the log. Dropping it stops the projector.
///
/// ```
/// use cqrs::Projector;
/// use es_core::{Position, memory::{MemoryStore, MemoryViews}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let projecting = Projector::new(MemoryStore::new(), MemoryViews::new()).start();
/// projecting.wait_for(Position::START).await?;
/// projecting.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the projector stops when this is dropped"]
pub struct Projecting<V: Views> {
    pub(crate) projector: Projector<V>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) failed: watch::Receiver<Option<Arc<ProjectionError>>>,
    pub(crate) task: Task,
}

impl<V: Views> Projecting<V> {
    /// Waits until every model shows every event at or before `position`, such
    /// as the one that a command has returned.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Stopped`] if the projector stops before.
    pub async fn wait_for(&self, position: Position) -> Result<(), ProjectionError> {
        let mut failed = self.failed.clone();
        tokio::select! {
            biased;
            reached = self.projector.reached(position) => Ok(reached?),
            _ = failed.wait_for(Option::is_some) => Err(ProjectionError::Stopped),
        }
    }

    /// Why it stopped, if it has.
    pub fn failure(&self) -> Option<Arc<ProjectionError>> {
        self.failed.borrow().clone()
    }

    /// Stops it and waits for its end; a page that is being committed is
    /// finished or rolled back.
    ///
    /// # Errors
    ///
    /// The reason, if it had stopped by itself.
    pub async fn stop(self) -> Result<(), Arc<ProjectionError>> {
        self.stop.send_replace(true);
        self.task.await;
        match self.failed.borrow().clone() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}
