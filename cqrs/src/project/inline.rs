//! Views whose rows change with each append.

use std::{collections::HashMap, fmt, marker::PhantomData, sync::Arc};

use es_core::{
    Codec, Folded, Inline, InlineModel, Name, Recorded, RecordedEvent, Row, RowId, event_names,
};

use super::{
    batch::decode,
    viewing::{Remembered, decode_row, keys},
};
use crate::{View, queries::Changes};

/// Views that a store can keep with each append: whoever has appended finds their rows
/// changed, and an event that a row cannot take is not appended.
///
/// Open the store with them, add them to the [`Projector`](crate::Projector) as well, which
/// begins their builds and answers from their rows, and let it
/// [keep them inline](crate::Projector::keep_inline). Until then, and after
/// [`keep_async`](crate::Projector::keep_async), workers keep them as any others.
///
/// Appends whose events concern the same view wait for each other, so that this is for views
/// that have to be exact at once, and not for many of them. Wherever a caller can
/// [wait](crate::Projector::wait_for) for a millisecond, workers cost less.
///
/// ```
/// use std::time::Duration;
/// use cqrs::{Event, Evolve, InlineViews, Keys, Projector, View};
/// use es_core::{AggregateStoreExt, Recorded, memory::{MemoryStore, MemoryViews}};
/// # use es_core::{Aggregate, Version};
/// # use serde::{Deserialize, Serialize};
/// #
/// # #[derive(Serialize, Deserialize, Event)]
/// # #[event(name = "seat.taken")]
/// # struct Taken { course: String }
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Course { students: u32 }
/// # impl Evolve for Course { type Event = Taken; fn evolve(&mut self, _: &Taken) { self.students += 1; } }
/// # impl View for Course {
/// #     const NAME: &'static str = "courses";
/// #     type Key = String;
/// #     fn keys(seat: Recorded<'_, Taken>) -> Keys<String> { Keys::One(seat.event.course.clone()) }
/// # }
/// # #[derive(Default, Aggregate)]
/// # struct Seat;
/// # impl Evolve for Seat { type Event = Taken; fn evolve(&mut self, _: &Taken) {} }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (views, inline) = (MemoryViews::new(), InlineViews::new().view::<Course>());
/// let store = MemoryStore::new().inline(&views, inline.clone());
/// let projector = Projector::new(store.clone(), views).view::<Course>().inline(&inline);
/// projector.catch_up().await?;
/// projector.keep_inline("courses", Duration::from_secs(5)).await?;
///
/// let taken = Taken { course: "rust".into() };
/// store.commit::<Seat>(&"1".into(), Version::NONE, &[taken]).await?;
/// let course = projector.get::<Course>(&"rust".into()).await?;
/// assert_eq!(course.map(|course| course.students), Some(1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct InlineViews {
    models: Vec<InlineModel>,
    folds: Vec<Arc<dyn Fold>>,
    pub(crate) changes: Changes,
}

impl InlineViews {
    /// No view yet.
    pub fn new() -> Self {
        Self { models: Vec::new(), folds: Vec::new(), changes: Changes::new() }
    }

    /// Adds a view.
    #[must_use]
    pub fn view<W: View>(mut self) -> Self {
        self.models.push(InlineModel {
            name: Name::from_static(W::NAME),
            revision: W::REVISION,
            types: event_names::<W::Event>().collect(),
        });
        self.folds.push(Arc::new(FoldOf::<W>(PhantomData)));
        self
    }

    fn fold_of(&self, model: &InlineModel) -> Result<&dyn Fold, String> {
        let mut all = self.models.iter().zip(&self.folds);
        let found = all.find(|(one, _)| one.name == model.name);
        found.map(|(_, fold)| &**fold).ok_or_else(|| format!("{} is not there", model.name))
    }
}

impl Default for InlineViews {
    fn default() -> Self {
        Self::new()
    }
}

impl Inline for InlineViews {
    fn models(&self) -> &[InlineModel] {
        &self.models
    }

    fn rows(&self, model: &InlineModel, events: &[RecordedEvent]) -> Result<Vec<RowId>, String> {
        self.fold_of(model)?.rows(events)
    }

    fn fold(
        &self,
        model: &InlineModel,
        events: &[RecordedEvent],
        rows: Vec<Row>,
    ) -> Result<Vec<Row>, String> {
        self.fold_of(model)?.fold(events, rows)
    }

    fn committed(&self, changed: &[Folded]) {
        for Folded { part, rows, position } in changed {
            self.changes.tell(self.changes.of_rows(&part.model, rows, *position));
        }
    }
}

/// A view, its type forgotten.
trait Fold: Send + Sync {
    fn rows(&self, events: &[RecordedEvent]) -> Result<Vec<RowId>, String>;

    fn fold(&self, events: &[RecordedEvent], rows: Vec<Row>) -> Result<Vec<Row>, String>;
}

struct FoldOf<W>(PhantomData<fn() -> W>);

impl<W: View> Fold for FoldOf<W> {
    fn rows(&self, events: &[RecordedEvent]) -> Result<Vec<RowId>, String> {
        let mut rows = Vec::new();
        for envelope in events {
            let Some(event) = decoded::<W>(envelope)? else { continue };
            let keys = keys::<W>(Recorded { event: &event, envelope });
            let keys = keys.map_err(|unkeyed| told(envelope, unkeyed.error))?;
            rows.extend(keys.iter().map(|key| id_of::<W>(envelope, key)));
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    fn fold(&self, events: &[RecordedEvent], rows: Vec<Row>) -> Result<Vec<Row>, String> {
        let mut found: HashMap<RowId, Remembered<W>> = HashMap::with_capacity(rows.len());
        for Row { id, value } in rows {
            let row = value.map(|value| decode_row::<W>(&id, &value)).transpose();
            let row = row.map_err(|error| error.to_string())?;
            found.insert(id, Remembered { row, changed: false });
        }
        for envelope in events {
            let Some(event) = decoded::<W>(envelope)? else { continue };
            let event = Recorded { event: &event, envelope };
            let keys = keys::<W>(event).map_err(|unkeyed| told(envelope, unkeyed.error))?;
            for key in keys {
                let Some(row) = found.get_mut(&id_of::<W>(envelope, &key)) else { continue };
                row.apply(&key, event).map_err(|panic| told(envelope, panic))?;
            }
        }
        let changed = found.into_iter().filter(|(_, row)| row.changed);
        let row = |(id, row): (RowId, Remembered<W>)| {
            let value = row.row.map(|row| Codec::Json.encode_value(&row)).transpose();
            Ok(Row { id, value: value.map_err(|error| error.to_string())? })
        };
        changed.map(row).collect()
    }
}

fn decoded<W: View>(envelope: &RecordedEvent) -> Result<Option<W::Event>, String> {
    decode(envelope).map_err(|error| told(envelope, error))
}

fn id_of<W: View>(envelope: &RecordedEvent, key: &W::Key) -> RowId {
    RowId::new(envelope.stream.tenant().clone(), key.to_string())
}

fn told(envelope: &RecordedEvent, why: impl fmt::Display) -> String {
    let RecordedEvent { event_type, stream, .. } = envelope;
    format!("cannot take {event_type} of {stream}: {why}")
}

impl fmt::Debug for InlineViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.models.iter().map(|model| model.name.as_str());
        f.debug_list().entries(names).finish()
    }
}
