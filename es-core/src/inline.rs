use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use crate::{
    AppendError, Batch, Name, Part, Position, RecordedEvent, Row, RowId, Slices, StoreError,
    StoreErrorKind, limits,
};

/// Who keeps the parts of a model whose rows change with each append.
pub const INLINE: Name = Name::from_static("gesta.inline");

/// How long they stay so: until somebody takes them.
pub const INLINE_LEASE: Duration = Duration::MAX;

/// Read models whose rows change in the transaction of each append: whoever has appended
/// finds them so.
///
/// A store is opened with them, and folds their events once the model
/// [is kept so](crate::Builds::keep_inline). From then on
///
/// - an append commits together with its rows, or not at all: also if an event cannot be
///   folded;
/// - an append of a program that does not know the model, or knows another revision of
///   it, is refused with [`AppendError::Model`];
/// - appends whose events concern one model wait for each other, so that each row sees its
///   events in the order of the log.
///
/// Whoever [takes](crate::Builds::take) the parts keeps the model from then on: the next
/// append leaves its rows alone.
///
/// ```
/// use es_core::{
///     Batch, BuildChange, Builds, ContentType, EventStore, Folded, Inline, InlineModel, Lookup, Name,
///     NewEvent, RecordedEvent, Row, RowId, Rows, StreamId, Tenant, Views, World,
///     memory::{MemoryStore, MemoryViews},
/// };
///
/// /// How often the bells were rung.
/// #[derive(Debug)]
/// struct Rings([InlineModel; 1]);
///
/// impl Inline for Rings {
///     fn models(&self) -> &[InlineModel] {
///         &self.0
///     }
///
///     fn rows(&self, _: &InlineModel, _: &[RecordedEvent]) -> Result<Vec<RowId>, String> {
///         Ok(vec![RowId::new(Tenant::default(), "all")])
///     }
///
///     fn fold(
///         &self,
///         _: &InlineModel,
///         events: &[RecordedEvent],
///         mut rows: Vec<Row>,
///     ) -> Result<Vec<Row>, String> {
///         for row in &mut rows {
///             let before = row.value.as_ref().map_or(0, |value| value[0]);
///             row.value = Some(vec![before + events.len() as u8].into());
///         }
///         Ok(rows)
///     }
///
///     fn committed(&self, _: &[Folded]) {}
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (name, rung) = (Name::new("rings")?, Name::new("bell.rung")?);
/// let model = InlineModel { name: name.clone(), revision: 0, types: vec![rung.clone()] };
/// let views = MemoryViews::new();
/// let store = MemoryStore::new().inline(&views, Rings([model]));
/// views.change(BuildChange::begin(name.clone(), 1)).await?;
/// views.keep_inline(&name).await?;
///
/// let event = NewEvent::raw(World::real().event_id(), rung, ContentType::JSON, "{}");
/// store.append(Batch::to(StreamId::new("bell", "north")?).event(event)).await?;
/// let all = Rows::These(vec![RowId::new(Tenant::default(), "all")]);
/// assert_eq!(views.rows(Lookup::new(name, all)).await?[0].value.as_deref(), Some(&[1_u8][..]));
/// # Ok(())
/// # }
/// ```
pub trait Inline: fmt::Debug + Send + Sync + 'static {
    /// The models, each once.
    fn models(&self) -> &[InlineModel];

    /// Which rows these events change, each once and in order. All events are of the types
    /// of the model.
    ///
    /// # Errors
    ///
    /// Why an event cannot be taken.
    fn rows(&self, model: &InlineModel, events: &[RecordedEvent]) -> Result<Vec<RowId>, String>;

    /// Folds the events into these rows, and no others; those that do not exist have no
    /// value. What comes back is to be written.
    ///
    /// # Errors
    ///
    /// Why an event cannot be taken.
    fn fold(
        &self,
        model: &InlineModel,
        events: &[RecordedEvent],
        rows: Vec<Row>,
    ) -> Result<Vec<Row>, String>;

    /// These rows are committed; the append has not been answered yet.
    fn committed(&self, changed: &[Folded]);
}

/// A read model that a program can fold inside its appends.
///
/// ```
/// use es_core::{InlineModel, Name};
///
/// let balances = InlineModel {
///     name: Name::new("balances")?,
///     revision: 1,
///     types: vec![Name::new("account.deposited")?],
/// };
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineModel {
    /// Its name.
    pub name: Name,
    /// Which code this is; that of the build that answers, or it does not fold it.
    pub revision: u64,
    /// The types of its events: with others it is another revision.
    pub types: Vec<Name>,
}

/// What an append has made of one part.
///
/// ```
/// use es_core::{Folded, Name, Part, Position, Slices};
///
/// let part = Part::new(Name::new("balances")?, 1, Slices::ALL);
/// let nothing = Folded { part, rows: Vec::new(), position: Position::new(7) };
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// Which one.
    pub part: Part,
    /// The rows that were written.
    pub rows: Vec<Row>,
    /// The last event that they show.
    pub position: Position,
}

impl InlineModel {
    /// Those events that the model takes.
    pub fn of<'a>(
        &'a self,
        events: &'a [RecordedEvent],
    ) -> impl Iterator<Item = &'a RecordedEvent> + use<'a> {
        events.iter().filter(|event| self.types.contains(&event.event_type))
    }

    /// Refuses to fold a build that other code has made.
    ///
    /// # Errors
    ///
    /// [`AppendError::Model`].
    pub fn check_revision(&self, found: u64) -> Result<(), AppendError> {
        if found == self.revision {
            return Ok(());
        }
        let Self { revision, .. } = self;
        Err(self.refusal(format!("this program knows revision {revision} of it, not {found}")))
    }

    /// Refuses a build that cannot be kept inline: other code has made it, events of it
    /// are parked, or it is further behind than that many events.
    ///
    /// # Errors
    ///
    /// As [`Builds::keep_inline`](crate::Builds::keep_inline).
    pub fn check_build(
        &self,
        revision: u64,
        has_parked: bool,
        behind: usize,
    ) -> Result<(), StoreError> {
        let refuse = |kind, why: String| Err(cannot(&self.name, kind, why));
        if revision != self.revision {
            let known = self.revision;
            let why = format!("revision {revision} of it answers, this program has {known}");
            refuse(StoreErrorKind::Invalid, why)
        } else if has_parked {
            let why = "events of it are parked, retry or discard them first";
            refuse(StoreErrorKind::Invalid, why.into())
        } else if behind > limits::INLINE_CATCH_UP {
            refuse(StoreErrorKind::Busy, format!("it is more than {} events behind", behind - 1))
        } else {
            Ok(())
        }
    }

    /// Says that no build answers yet.
    pub fn has_no_build(&self) -> StoreError {
        cannot(
            &self.name,
            StoreErrorKind::Busy,
            "no build of it answers yet, let workers begin one",
        )
    }

    /// Why the model cannot be kept inline after all.
    pub fn cannot_begin(&self, error: AppendError) -> StoreError {
        match error {
            AppendError::Store(error) => error,
            other => cannot(&self.name, StoreErrorKind::Invalid, other),
        }
    }

    /// Says of a model that the store was not opened with it.
    pub fn unknown(model: &Name) -> StoreError {
        cannot(model, StoreErrorKind::Unsupported, "the store was not opened with it")
    }

    /// Why an append is refused that this model concerns.
    pub fn refusal(&self, why: impl Into<String>) -> AppendError {
        AppendError::Model { model: self.name.clone(), why: why.into() }
    }
}

impl dyn Inline {
    /// Whether an event of the batch concerns one of the models.
    pub fn is_concerned_by(&self, batch: &Batch) -> bool {
        let mut events = batch.writes.iter().flat_map(|write| &write.events);
        events.any(|event| self.models().iter().any(|one| one.types.contains(&event.event_type)))
    }

    /// What the events make of one part, of whose rows `find` tells those that exist;
    /// nothing if there are no events. Also a fold that panics refuses them.
    ///
    /// # Errors
    ///
    /// [`AppendError::Model`] if an event cannot be taken, and what `find` says.
    pub fn fold_part(
        &self,
        model: &InlineModel,
        part: Part,
        events: &[RecordedEvent],
        find: impl FnOnce(&[RowId]) -> Result<Vec<Row>, StoreError>,
    ) -> Result<Option<Folded>, AppendError> {
        let ids = self.rows_in(model, events, part.slices)?;
        let found = find(&ids)?;
        self.fold_rows(model, part, events, ids, found)
    }

    /// Which rows of these slices the events change.
    ///
    /// # Errors
    ///
    /// [`AppendError::Model`].
    pub fn rows_in(
        &self,
        model: &InlineModel,
        events: &[RecordedEvent],
        slices: Slices,
    ) -> Result<Vec<RowId>, AppendError> {
        let mut rows = unless_it_panics(model, || self.rows(model, events))?;
        rows.retain(|id| slices.contains(Slices::slice_of(&id.tenant, &id.key)));
        Ok(rows)
    }

    /// What the events make of these rows of a part, of which some were found.
    ///
    /// # Errors
    ///
    /// [`AppendError::Model`].
    pub fn fold_rows(
        &self,
        model: &InlineModel,
        part: Part,
        events: &[RecordedEvent],
        ids: Vec<RowId>,
        found: Vec<Row>,
    ) -> Result<Option<Folded>, AppendError> {
        let Some(last) = events.last() else { return Ok(None) };
        let mut found: HashMap<_, _> = found.into_iter().map(|row| (row.id, row.value)).collect();
        let row = |id: RowId| Row { value: found.remove(&id).flatten(), id };
        let rows = ids.into_iter().map(row).collect();
        let rows = unless_it_panics(model, || self.fold(model, events, rows))?;
        Ok(Some(Folded { part, rows, position: last.position }))
    }

    /// The model of this name.
    pub fn model(&self, name: &Name) -> Option<&InlineModel> {
        self.models().iter().find(|model| model.name == *name)
    }
}

fn unless_it_panics<T>(
    model: &InlineModel,
    step: impl FnOnce() -> Result<T, String>,
) -> Result<T, AppendError> {
    let done = catch_unwind(AssertUnwindSafe(step));
    done.unwrap_or_else(|_| Err("its code panics at an event".into()))
        .map_err(|why| model.refusal(why))
}

fn cannot(model: &Name, kind: StoreErrorKind, why: impl fmt::Display) -> StoreError {
    StoreError::new(kind, format!("{model} cannot change with each append: {why}"))
}
