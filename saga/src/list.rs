use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cqrs::{Fate, Keys, View};
use es_core::{Event, EventStore, Evolve, Name, Read, Recorded};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::{Phase, SagaError, SagaEvent, SagaId, SagaState, Stage, id::CATEGORY, live::decode};

/// A row for each saga: the read model to list them by definition, phase, step and age.
///
/// It is a [`View`] like any other: a projector keeps it on every store.
///
/// ```
/// use cqrs::Projector;
/// use es_core::memory::{MemoryStore, MemoryViews};
/// use saga::SagaRow;
///
/// let (store, views) = (MemoryStore::new(), MemoryViews::new());
/// let projector = Projector::new(store, views).view::<SagaRow>();
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SagaRow {
    /// Which saga.
    pub id: Option<SagaId>,
    /// When something last happened to it.
    pub updated: DateTime<Utc>,
    /// Where it is.
    pub state: SagaState,
}

impl SagaRow {
    /// The steps that are under way, or are tried again.
    pub fn at(&self) -> impl Iterator<Item = &str> {
        let moves = |stage: &Stage| stage.is_under_way() || matches!(stage, Stage::Retrying { .. });
        let steps = self.state.steps.iter();
        steps
            .filter(move |(_, step)| moves(&step.forward) || moves(&step.back))
            .map(|(name, _)| name.as_str())
    }
}

impl Evolve for SagaRow {
    type Event = SagaEvent;

    fn evolve(&mut self, event: &SagaEvent) {
        self.state.apply(event);
    }
}

impl View for SagaRow {
    const NAME: &'static str = "sagas";
    const OF_ONE_STREAM: bool = true;
    type Key = String;

    fn keys(event: Recorded<'_, SagaEvent>) -> Keys<String> {
        SagaId::of_stream(&event.envelope.stream).map(|id| id.to_string()).into()
    }

    fn apply(&mut self, _: &String, event: Recorded<'_, SagaEvent>) -> Fate {
        self.id = SagaId::of_stream(&event.envelope.stream);
        self.updated = event.envelope.recorded_at;
        self.evolve(event.event);
        Fate::Keep
    }
}

/// The sagas that have begun and not ended, each with the version by which it goes on.
pub(crate) async fn live_sagas(store: &dyn EventStore) -> Result<Vec<(SagaId, u32)>, SagaError> {
    let ends =
        ["saga.started", "saga.migrated", "saga.completed", "saga.compensated", "saga.terminated"];
    debug_assert!(ends.iter().all(|name| SagaEvent::index_of(name).is_some()));
    let read = Read::category(CATEGORY)?.every_tenant().types(ends.map(Name::from_static));
    let mut live = BTreeMap::new();
    let mut pages = store.read(read);
    while let Some(page) = pages.try_next().await? {
        for recorded in &page.events {
            let Some(id) = SagaId::of_stream(&recorded.stream) else { continue };
            match decode(recorded)? {
                SagaEvent::Started { version, .. } => drop(live.insert(id, version)),
                SagaEvent::Migrated { to, .. } => drop(live.insert(id, to)),
                _ => drop(live.remove(&id)),
            }
        }
    }
    Ok(live.into_iter().collect())
}

/// How many sagas are in which phase.
///
/// ```
/// use saga::{Phase, SagaRow, count_by_phase};
///
/// assert_eq!(count_by_phase([&SagaRow::default()])[&Phase::Running], 1);
/// ```
pub fn count_by_phase<'r>(rows: impl IntoIterator<Item = &'r SagaRow>) -> BTreeMap<Phase, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row.state.phase).or_default() += 1;
    }
    counts
}
