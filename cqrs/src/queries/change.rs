use std::sync::Arc;

use es_core::{Name, Position, Row, RowId};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::broadcast::{self, error::RecvError};

/// Changes that wait for a slow listener, before it is told that it has missed
/// some.
const CHANGES: usize = 256;
/// If a commit changes more rows than this, the whole model counts as changed.
const ROWS: usize = 1_000;

/// What a commit has changed in a read model.
///
/// ```
/// use cqrs::Change;
/// use es_core::{Name, Position, RowId, Tenant};
///
/// let change = Change::Rows {
///     model: Name::new("statements")?,
///     rows: [RowId::new(Tenant::default(), "ada")].into(),
///     position: Position::new(7),
/// };
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// These rows; the model shows every event at or before `position` now.
    Rows {
        /// The model.
        model: Name,
        /// The rows that were written or deleted.
        rows: Arc<[RowId]>,
        /// How far it has come.
        position: Position,
    },
    /// Nobody knows which rows of it.
    Model {
        /// The model.
        model: Name,
        /// How far it has come.
        position: Position,
    },
    /// Nobody knows what: something may have been missed, or a model begins anew.
    Everything,
}

/// Where a projector says what it has committed.
#[derive(Debug, Clone)]
pub(crate) struct Changes(broadcast::Sender<Change>);

impl Changes {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(CHANGES))
    }

    /// What a commit of these rows will have changed; nobody needs to know if
    /// nobody listens.
    pub(crate) fn of_rows(&self, model: &Name, rows: &[Row], position: Position) -> Option<Change> {
        if rows.is_empty() || self.0.receiver_count() == 0 {
            return None;
        }
        let model = model.clone();
        if rows.len() > ROWS {
            return Some(Change::Model { model, position });
        }
        let rows = rows.iter().map(|row| row.id.clone()).collect();
        Some(Change::Rows { model, rows, position })
    }

    pub(crate) fn tell(&self, change: impl Into<Option<Change>>) {
        if let Some(change) = change.into() {
            // Nobody may be listening.
            let _ = self.0.send(change);
        }
    }

    pub(crate) fn listen(&self) -> BoxStream<'static, Change> {
        let changes = stream::unfold(self.0.subscribe(), |mut changes| async move {
            match changes.recv().await {
                Ok(change) => Some((change, changes)),
                Err(RecvError::Lagged(_)) => Some((Change::Everything, changes)),
                Err(RecvError::Closed) => None,
            }
        });
        changes.boxed()
    }
}
