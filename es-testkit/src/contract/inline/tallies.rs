use std::sync::Arc;

use bytes::Bytes;
use es_core::{Folded, Inline, InlineModel, Name, RecordedEvent, Row, RowId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// The number of an event that no model takes, and of one that deletes its rows.
pub(super) const UNLUCKY: u64 = 13;
pub(super) const DELETING: u64 = 0;

/// Two models whose rows list the numbers of their events, in the order in which they came:
/// `tally` takes `tally.added`, `other` takes `other.added`.
///
/// ```
/// use es_core::Inline;
/// use es_testkit::contract::Tallies;
///
/// assert_eq!(Tallies::default().models().len(), 2);
/// ```
#[derive(Debug, Clone)]
pub struct Tallies {
    models: Vec<InlineModel>,
    committed: Arc<Mutex<Vec<Folded>>>,
}

/// What an event says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Added {
    pub(super) rows: Vec<String>,
    pub(super) number: u64,
}

impl Default for Tallies {
    fn default() -> Self {
        Self::of_revision(1)
    }
}

impl Tallies {
    /// Both models as other code would make them.
    pub fn of_revision(revision: u64) -> Self {
        let model = |name, event| InlineModel {
            name: Name::from_static(name),
            revision,
            types: vec![Name::from_static(event)],
        };
        let models = vec![model("tally", "tally.added"), model("other", "other.added")];
        Self { models, committed: Arc::default() }
    }

    /// What was committed and told.
    pub(super) fn committed(&self) -> Vec<Folded> {
        self.committed.lock().clone()
    }
}

impl Inline for Tallies {
    fn models(&self) -> &[InlineModel] {
        &self.models
    }

    fn rows(&self, model: &InlineModel, events: &[RecordedEvent]) -> Result<Vec<RowId>, String> {
        let mut rows = Vec::new();
        for event in events {
            rows.extend(added(model, event)?.rows.into_iter().map(|key| id(event, key)));
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    fn fold(
        &self,
        model: &InlineModel,
        events: &[RecordedEvent],
        rows: Vec<Row>,
    ) -> Result<Vec<Row>, String> {
        let mut folded = rows;
        for event in events {
            let Added { rows, number } = added(model, event)?;
            if number == UNLUCKY {
                return Err(format!("{number} is unlucky"));
            }
            for key in rows {
                let id = id(event, key);
                let found = folded.iter_mut().find(|row| row.id == id);
                let Some(Row { value, .. }) = found else { continue };
                let mut seen: Vec<u64> = match value {
                    Some(value) => serde_json::from_slice(value).map_err(|e| e.to_string())?,
                    None => Vec::new(),
                };
                seen.push(number);
                let seen = serde_json::to_vec(&seen).map_err(|error| error.to_string())?;
                *value = (number != DELETING).then(|| Bytes::from(seen));
            }
        }
        Ok(folded)
    }

    fn committed(&self, changed: &[Folded]) {
        self.committed.lock().extend_from_slice(changed);
    }
}

fn added(model: &InlineModel, event: &RecordedEvent) -> Result<Added, String> {
    if !model.types.contains(&event.event_type) {
        return Err(format!("{} is no event of {}", event.event_type, model.name));
    }
    serde_json::from_slice(&event.payload).map_err(|error| error.to_string())
}

fn id(event: &RecordedEvent, key: String) -> RowId {
    RowId::new(event.stream.tenant().clone(), key)
}
