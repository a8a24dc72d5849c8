//! Models whose rows change with each append to a log in memory.

use std::sync::{Arc, Weak};

use chrono::{DateTime, Utc};
use parking_lot::RwLock;

use super::{
    MemoryViews,
    builds::Keeping,
    log::Log,
    views::{Models, put},
};
use crate::{
    AppendError, Appended, Batch, Folded, Inline, InlineModel, Name, Part, Position, Read,
    RecordedEvent, Row, RowId, StoreError, StreamId, limits,
};

/// The models on the side of the log.
#[derive(Debug)]
pub(super) struct Inlined {
    views: MemoryViews,
    inline: Arc<dyn Inline>,
}

/// The log on the side of the views.
#[derive(Debug)]
pub(super) struct Linked {
    log: Weak<RwLock<Log>>,
    inline: Arc<dyn Inline>,
}

impl Inlined {
    pub(super) fn new(
        views: &MemoryViews,
        log: &Arc<RwLock<Log>>,
        inline: Arc<dyn Inline>,
    ) -> Self {
        let linked = Linked { log: Arc::downgrade(log), inline: Arc::clone(&inline) };
        assert!(views.log.set(linked).is_ok(), "views have inline models once");
        Self { views: views.clone(), inline }
    }

    /// Whether a model changes with each append now.
    pub(super) fn is_live(&self) -> bool {
        let models = self.views.models.lock();
        models.builds.values().any(|known| known.parts.values().any(Keeping::is_inline))
    }

    pub(super) fn is_concerned(&self, batch: &Batch) -> bool {
        self.inline.is_concerned_by(batch)
    }

    /// Appends, and changes the rows. The log is locked before the views, here as
    /// everywhere.
    pub(super) fn append(
        &self,
        log: &RwLock<Log>,
        batch: Batch,
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        let mut log = log.write();
        let mut models = self.views.models.lock();
        let mut folded = Vec::new();
        let fold = |log: &Log, batch: &Batch| {
            let version = |stream: &StreamId| Ok(log.version(stream));
            let events = batch.to_be_recorded(log.head(), version, now)?;
            for model in self.inline.models() {
                let events: Vec<_> = model.of(&events).cloned().collect();
                folded.extend(models.fold(&*self.inline, model, &events)?);
            }
            Ok(())
        };
        let appended = log.append(batch, now, fold)?;
        models.write(&folded);
        drop((models, log));
        self.inline.committed(&folded);
        Ok(appended)
    }
}

impl Linked {
    pub(super) fn keep_inline(&self, views: &MemoryViews, name: &Name) -> Result<(), StoreError> {
        let (Some(model), Some(log)) = (self.inline.model(name), self.log.upgrade()) else {
            return Err(InlineModel::unknown(name));
        };
        let log = log.write();
        let mut models = views.models.lock();
        let build = models.serving(name).ok_or_else(|| model.has_no_build())?;
        let key = (name.clone(), build);
        let has_parked = models.rows.get(&key).is_some_and(|found| !found.parked.is_empty());
        let mut folded = Vec::new();
        let known = models.builds.get(&key).ok_or_else(|| model.has_no_build())?;
        for (slices, keeping) in &known.parts {
            let events = since(&log, model, keeping.checkpoint.position);
            model.check_build(known.revision, has_parked, events.len())?;
            let part = Part::new(name.clone(), build, *slices);
            let made = models.fold_part(&*self.inline, model, part, &events);
            folded.extend(made.map_err(|error| model.cannot_begin(error))?);
        }
        models.write(&folded);
        let known = models.builds.get_mut(&key);
        known.into_iter().flat_map(|known| known.parts.values_mut()).for_each(Keeping::keep_inline);
        drop(models);
        drop(log);
        self.inline.committed(&folded);
        Ok(())
    }
}

/// What the model has not seen yet, and one event more than may be folded at once.
fn since(log: &Log, model: &InlineModel, after: Position) -> Vec<RecordedEvent> {
    let read = Read::all().every_tenant().types(model.types.clone()).after(after);
    log.page(&read, after, log.head(), limits::INLINE_CATCH_UP + 1).events
}

impl Models {
    /// What the events make of the model, if it changes with each append.
    fn fold(
        &self,
        inline: &dyn Inline,
        model: &InlineModel,
        events: &[RecordedEvent],
    ) -> Result<Vec<Folded>, AppendError> {
        let Some(build) = self.serving(&model.name) else { return Ok(Vec::new()) };
        let Some(known) = self.builds.get(&(model.name.clone(), build)) else {
            return Ok(Vec::new());
        };
        let parts = known.parts.iter().filter(|(_, keeping)| keeping.is_inline());
        let parts: Vec<_> = parts.map(|(slices, _)| *slices).collect();
        if events.is_empty() || parts.is_empty() {
            return Ok(Vec::new());
        }
        model.check_revision(known.revision)?;
        let part = |slices| Part::new(model.name.clone(), build, slices);
        let folded = parts.into_iter().map(|one| self.fold_part(inline, model, part(one), events));
        folded.filter_map(Result::transpose).collect()
    }

    /// What the events make of one part; nothing without events.
    fn fold_part(
        &self,
        inline: &dyn Inline,
        model: &InlineModel,
        part: Part,
        events: &[RecordedEvent],
    ) -> Result<Option<Folded>, AppendError> {
        let found = self.rows.get(&(part.model.clone(), part.build));
        inline.fold_part(model, part, events, |ids| {
            let row = |id: &RowId| {
                Some(Row { value: Some(found?.rows.get(id)?.clone()), id: id.clone() })
            };
            Ok(ids.iter().filter_map(row).collect())
        })
    }

    fn write(&mut self, folded: &[Folded]) {
        for Folded { part, rows, position } in folded {
            let found = self.rows.entry((part.model.clone(), part.build)).or_default();
            put(&mut found.rows, rows.clone());
            if let Some(keeping) = self.keeping(part) {
                keeping.checkpoint.position = *position;
            }
        }
    }
}
