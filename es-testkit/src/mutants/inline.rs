//! Folds with one bug, between a store and its models.

use es_core::{Folded, Inline, InlineModel, RecordedEvent, Row, RowId, Tenant};

use crate::contract::Tallies;

/// A bug of a store that folds inside its appends.
///
/// ```
/// use es_testkit::mutants::InlineBug;
///
/// assert!(InlineBug::ALL.contains(&InlineBug::NothingTold));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InlineBug {
    /// Of several events the last is not folded.
    EventForgotten,
    /// Several events are folded in the wrong order.
    FoldedBackwards,
    /// Of several rows the last is not written.
    RowForgotten,
    /// A row that ends is left as it was.
    DeletionForgotten,
    /// Each append begins its rows anew.
    RowsBegunAnew,
    /// An event that cannot be folded is appended all the same.
    FailureForgiven,
    /// The rows of all tenants are those of the default one.
    TenantForgotten,
    /// Caches hear of nothing.
    NothingTold,
}

impl InlineBug {
    /// Every bug.
    pub const ALL: &[Self] = &[
        Self::EventForgotten,
        Self::FoldedBackwards,
        Self::RowForgotten,
        Self::DeletionForgotten,
        Self::RowsBegunAnew,
        Self::FailureForgiven,
        Self::TenantForgotten,
        Self::NothingTold,
    ];
}

/// Tallies that are folded with a bug.
#[derive(Debug, Clone)]
pub(super) struct MutantFolds {
    pub(super) bug: Option<InlineBug>,
    pub(super) sound: Tallies,
}

impl MutantFolds {
    fn has(&self, bug: InlineBug) -> bool {
        self.bug == Some(bug)
    }
}

impl Inline for MutantFolds {
    fn models(&self) -> &[InlineModel] {
        self.sound.models()
    }

    fn rows(&self, model: &InlineModel, events: &[RecordedEvent]) -> Result<Vec<RowId>, String> {
        let mut rows = self.sound.rows(model, events)?;
        if self.has(InlineBug::TenantForgotten) {
            rows.iter_mut().for_each(|id| id.tenant = Tenant::default());
        }
        Ok(rows)
    }

    fn fold(
        &self,
        model: &InlineModel,
        events: &[RecordedEvent],
        mut rows: Vec<Row>,
    ) -> Result<Vec<Row>, String> {
        let mut events = events.to_vec();
        if self.has(InlineBug::EventForgotten) && events.len() > 1 {
            events.pop();
        }
        if self.has(InlineBug::FoldedBackwards) {
            events.reverse();
        }
        if self.has(InlineBug::RowsBegunAnew) {
            rows.iter_mut().for_each(|row| row.value = None);
        }
        let mut rows = match self.sound.fold(model, &events, rows) {
            Err(_) if self.has(InlineBug::FailureForgiven) => Vec::new(),
            rows => rows?,
        };
        if self.has(InlineBug::RowForgotten) && rows.len() > 1 {
            rows.pop();
        }
        if self.has(InlineBug::DeletionForgotten) {
            rows.retain(|row| row.value.is_some());
        }
        Ok(rows)
    }

    fn committed(&self, changed: &[Folded]) {
        if !self.has(InlineBug::NothingTold) {
            self.sound.committed(changed);
        }
    }
}
