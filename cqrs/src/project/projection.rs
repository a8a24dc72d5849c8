use es_core::{Event, LoadError, Position, Recorded, StoreError, StoreErrorKind};
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
    /// Which code it is: raise it if it has changed so that its model has to be built
    /// anew.
    const REVISION: u64 = 0;
    /// The events that it names; others pass it by.
    type Event: Event;

    /// Adds what the event changes to the transaction.
    fn project(
        &self,
        event: Recorded<'_, Self::Event>,
        tx: &mut Tx,
    ) -> impl Future<Output = Result<(), ProjectionError>> + Send;

    /// Adds what some events change to the transaction, in their order; one by one unless
    /// it is written otherwise. Here a projection looks up at once what all of them need,
    /// or writes with one statement what would take many.
    ///
    /// How many events it is given says nothing: what fails is rolled back, and its events
    /// come again, at last each by itself to find the one at fault.
    fn project_all(
        &self,
        events: &[Recorded<'_, Self::Event>],
        tx: &mut Tx,
    ) -> impl Future<Output = Result<(), ProjectionError>> + Send
    where
        Tx: Send,
    {
        async move {
            for event in events {
                self.project(*event, tx).await?;
            }
            Ok(())
        }
    }

    /// Deletes all that the projection has written, before it is built anew in its
    /// place.
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
        view: String,
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
    /// The broker of a [`Relay`](crate::Relay) did not take an event: it is told later.
    #[error("the broker did not take an event: {0}")]
    Broker(#[source] StoreError),
    /// The model was built by other code, and is not to be built anew by itself.
    #[error(
        "{name} was built by revision {built}, this program has revision {code}: rebuild it, or let \
         it be rebuilt with OnChange::Rebuild"
    )]
    Changed {
        /// The model.
        name: String,
        /// The revision of the code that has built it.
        built: u64,
        /// The revision of this program's code.
        code: u64,
    },
    /// It cannot be done with this model as it is.
    #[error("{name}: {why}")]
    Refused {
        /// The model.
        name: String,
        /// What is in the way, and what to do.
        why: &'static str,
    },
    /// The rebuilt model was looked at before it was to answer, and was not wanted.
    #[error("the new build of {name} was not wanted, the old one answers as before")]
    Unwanted {
        /// The model.
        name: String,
    },
    /// The models have not come as far in time.
    #[error("the models show events up to {reached} only, not up to {wanted}, try again later")]
    Behind {
        /// Every event at or before it is shown.
        reached: Position,
        /// What was waited for.
        wanted: Position,
    },
    /// The projector runs already.
    #[error("the projector runs already, wait for it or stop it first")]
    Running,
    /// The projector has stopped, so what was waited for will not come.
    #[error("the projector has stopped")]
    Stopped,
}

impl ProjectionError {
    /// Whether somebody else has taken the part over.
    pub(crate) fn is_fenced(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == StoreErrorKind::Fenced)
    }

    /// Whether the same call may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Store(error) | Self::Broker(error) if error.is_transient())
    }

    /// A failure of the projection's own code.
    pub fn handler(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Handler(source.into())
    }
}
