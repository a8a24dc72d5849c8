use es_core::{Event, LoadError, Position, Recorded, StoreError};
use thiserror::Error;

/// A read model of any form: each event may write whatever it likes through the
/// transaction, which commits together with the checkpoint.
///
/// Where rows with a key will do, a [`View`](crate::View) is simpler and faster.
///
/// ```
/// use cqrs::{Event, Projection, ProjectionError};
/// use es_core::{Recorded, memory::MemoryTx};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "bell.rung")]
/// struct Rung { times: u32 }
///
/// struct Log;
///
/// impl Projection<MemoryTx> for Log {
///     const NAME: &'static str = "log";
///     type Event = Rung;
///
///     async fn reset(&self, _: &mut MemoryTx) -> Result<(), ProjectionError> {
///         Ok(())
///     }
///     async fn project(&self, rung: Recorded<'_, Rung>, tx: &mut MemoryTx) -> Result<(), ProjectionError> {
///         let line = format!("{} rang {} times", rung.stream, rung.event.times);
///         tx.run(move || println!("{line}"));
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no projection on a store with transactions of type `{Tx}`",
    note = "write `impl Projection<{Tx}> for {Self}` with its `NAME`, `Event`, `project` and `reset`"
)]
pub trait Projection<Tx>: Send + Sync + 'static {
    /// Its name: where its checkpoint is kept.
    const NAME: &'static str;
    /// The events that it names; others pass it by.
    type Event: Event;

    /// Adds what the event changes to the transaction.
    fn project(
        &self,
        event: Recorded<'_, Self::Event>,
        tx: &mut Tx,
    ) -> impl Future<Output = Result<(), ProjectionError>> + Send;

    /// Deletes all that the projection has written, before a rebuild.
    fn reset(&self, tx: &mut Tx) -> impl Future<Output = Result<(), ProjectionError>> + Send;
}

/// Why a projection stopped. Its checkpoint stands before the page that it
/// could not handle: nothing is skipped.
///
/// ```
/// use cqrs::ProjectionError;
///
/// let error = ProjectionError::handler("no such table");
/// assert_eq!(error.to_string(), "the projection failed: no such table");
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// An event cannot be read: fix the type or upcast, then start again.
    #[error(transparent)]
    Event(#[from] LoadError),
    /// The projection's own code failed.
    #[error("the projection failed: {0}")]
    Handler(Box<dyn std::error::Error + Send + Sync>),
    /// A row of the read model cannot be read: rebuild the model.
    #[error("row {key:?} of {view} cannot be read, rebuild the view")]
    Row {
        /// The view.
        view: &'static str,
        /// The row's key.
        key: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The log ends before the checkpoint: it was restored from an older copy.
    #[error(
        "{name} has come to position {checkpoint}, but the log ends at {head}: restore the log, or rebuild"
    )]
    Ahead {
        /// The projection.
        name: String,
        /// Its checkpoint.
        checkpoint: Position,
        /// The end of the log.
        head: Position,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The projector runs already.
    #[error("the projector runs already, wait for it or stop it first")]
    Running,
    /// The projector has stopped, so what was waited for will not come.
    #[error("the projector has stopped")]
    Stopped,
}

impl ProjectionError {
    /// A failure of the projection's own code.
    pub fn handler(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Handler(source.into())
    }
}
