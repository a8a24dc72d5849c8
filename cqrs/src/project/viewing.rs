use std::{
    collections::{BTreeMap, HashMap, HashSet},
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
};

use async_trait::async_trait;
use es_core::{
    Changes, Codec, Lookup, Name, Recorded, RecordedEvent, Row, RowId, Rows, Slices, Tenant, Views,
    World, event_names,
};

use tokio::sync::watch;

use super::{
    batch::{PageBatch, decode},
    free::is_poison,
    handler::{About, Handler, Held, Rebuilds, Recipe, Touched},
    parked::{FailureClass, Parked},
    parking::{Parking, Reason, Sequence, is_damaged, said},
    reaction::StartAt,
    settings::{ModelSettings, Poison},
};
use crate::{Fate, Keys, ProjectionError, View};

/// Most rows of one part that are remembered between batches.
const REMEMBERED: usize = 200_000;

/// Makes what keeps the parts of a view.
pub(crate) struct ViewRecipe<W> {
    about: About,
    view: PhantomData<fn() -> W>,
}

impl<W: View> ViewRecipe<W> {
    pub(crate) fn new(settings: ModelSettings) -> Self {
        let about = About {
            name: Name::from_static(W::NAME),
            types: event_names::<W::Event>().collect(),
            revision: W::REVISION,
            settings,
            rebuilds: Rebuilds::Beside,
            start: StartAt::Beginning,
        };
        Self { about, view: PhantomData }
    }
}

#[async_trait]
impl<W: View, V: Views> Recipe<V> for ViewRecipe<W> {
    fn about(&self) -> &About {
        &self.about
    }

    async fn handler(
        &self,
        views: &V,
        held: Held,
        world: World,
    ) -> Result<Box<dyn Handler<V>>, ProjectionError> {
        let poison = self.about.settings.poison;
        let parking = Parking::load(views, &held.part, poison, world).await?;
        Ok(Box::new(ViewHandler::<W> { held, rows: HashMap::new(), parking, poison }))
    }
}

/// Keeps the rows of one part of a view.
struct ViewHandler<W: View> {
    held: Held,
    rows: HashMap<(Tenant, W::Key), Remembered<W>>,
    parking: Parking,
    poison: Poison,
}

/// A row, or that there is none.
pub(super) struct Remembered<W> {
    pub(super) row: Option<W>,
    pub(super) changed: bool,
}

/// A row that an event changes, and which of the decoded events it is.
struct Touch<W: View> {
    at: usize,
    key: (Tenant, W::Key),
}

impl<W: View> ViewHandler<W> {
    /// Which event of the batch changes which row of this part, and what is parked
    /// before any row is looked at.
    fn touches(&mut self, batch: &PageBatch) -> Result<Vec<Touch<W>>, ProjectionError> {
        let mut touches = Vec::new();
        for (at, (place, event)) in batch.decoded::<W::Event>().iter().enumerate() {
            let envelope = &batch.events[*place];
            if envelope.position <= self.held.checkpoint.position {
                continue;
            }
            let keys = match event {
                Ok(event) => keys::<W>(Recorded { event, envelope }),
                Err(_) => Err(Unkeyed::unread::<W>(envelope)?),
            };
            match keys {
                Ok(keys) => self.touch(at, envelope, keys, &mut touches),
                Err(Unkeyed { reason, error }) => {
                    let stream = Sequence::of_stream(&envelope.stream);
                    self.parking.poisoned(stream, envelope, reason, *error)?;
                }
            }
        }
        Ok(touches)
    }

    fn touch(
        &mut self,
        at: usize,
        envelope: &RecordedEvent,
        keys: Vec<W::Key>,
        touches: &mut Vec<Touch<W>>,
    ) {
        let tenant = envelope.stream.tenant();
        let mut keys: Vec<_> = keys.into_iter().filter(|key| self.keeps(tenant, key)).collect();
        if !self.parking.is_empty() && !keys.is_empty() {
            let stream = Sequence::of_stream(&envelope.stream);
            if self.parking.blocks(&stream) {
                return self.parking.follow(&stream, envelope);
            }
            keys.retain(|key| {
                let row = Sequence::of_row(tenant, &key.to_string());
                let is_blocked = self.parking.blocks(&row);
                if is_blocked {
                    self.parking.follow(&row, envelope);
                }
                !is_blocked
            });
        }
        touches.extend(keys.into_iter().map(|key| Touch { at, key: (tenant.clone(), key) }));
    }

    fn keeps(&self, tenant: &Tenant, key: &W::Key) -> bool {
        let slices = self.held.part.slices;
        slices == Slices::ALL || slices.contains(Slices::slice_of(tenant, &key.to_string()))
    }

    /// Loads the rows that are not remembered yet, in one request.
    async fn load<V: Views>(
        &mut self,
        views: &V,
        keys: impl Iterator<Item = &(Tenant, W::Key)>,
    ) -> Result<(), ProjectionError> {
        let mut missing: HashMap<RowId, (Tenant, W::Key)> = HashMap::new();
        for key in keys.filter(|key| !self.rows.contains_key(key)) {
            missing.insert(RowId::new(key.0.clone(), key.1.to_string()), key.clone());
        }
        if missing.is_empty() {
            return Ok(());
        }
        let ids = Rows::These(missing.keys().cloned().collect());
        let lookup = Lookup::new(self.held.part.model.clone(), ids).in_build(self.held.part.build);
        for Row { id, value } in views.rows(lookup).await? {
            let (Some(key), Some(value)) = (missing.remove(&id), value) else { continue };
            let row = decode_row::<W>(&id, &value)?;
            self.rows.insert(key, Remembered { row: Some(row), changed: false });
        }
        for key in missing.into_values() {
            self.rows.insert(key, Remembered { row: None, changed: false });
        }
        Ok(())
    }

    /// Folds the events into their rows. A row that panics is folded once more, up
    /// to the event that it cannot take.
    async fn fold<V: Views>(
        &mut self,
        views: &V,
        batch: &PageBatch,
        touches: &[Touch<W>],
    ) -> Result<(), ProjectionError> {
        let events = batch.decoded::<W::Event>();
        let mut broken: HashMap<(Tenant, W::Key), (usize, String)> = HashMap::new();
        for Touch { at, key } in touches {
            let (place, Ok(event)) = &events[*at] else { continue };
            if !broken.is_empty() && broken.contains_key(key) {
                continue;
            }
            let Some(remembered) = self.rows.get_mut(key) else { continue };
            let event = Recorded { event, envelope: &batch.events[*place] };
            if let Err(panic) = remembered.apply(&key.1, event) {
                broken.insert(key.clone(), (*at, panic));
            }
        }
        for (key, (at, panic)) in broken {
            self.fold_around(views, batch, touches, &key, BTreeMap::from([(at, panic)])).await?;
        }
        Ok(())
    }

    /// Folds one row once more without the events that it cannot take, until there are no
    /// more of them.
    async fn fold_around<V: Views>(
        &mut self,
        views: &V,
        batch: &PageBatch,
        touches: &[Touch<W>],
        key: &(Tenant, W::Key),
        mut broken: BTreeMap<usize, String>,
    ) -> Result<(), ProjectionError> {
        let events = batch.decoded::<W::Event>();
        let row = Sequence::of_row(&key.0, &key.1.to_string());
        let mine: Vec<_> = touches.iter().filter(|touch| touch.key == *key).collect();
        'again: loop {
            self.rows.remove(key);
            self.load(views, std::iter::once(key)).await?;
            let Some(remembered) = self.rows.get_mut(key) else { return Ok(()) };
            for touch in &mine {
                let (place, Ok(event)) = &events[touch.at] else { continue };
                if broken.contains_key(&touch.at) {
                    if self.poison == Poison::Skip {
                        continue;
                    }
                    break;
                }
                let event = Recorded { event, envelope: &batch.events[*place] };
                if let Err(panic) = remembered.apply(&key.1, event) {
                    broken.insert(touch.at, panic);
                    continue 'again;
                }
            }
            break;
        }
        for touch in &mine {
            let envelope = &batch.events[events[touch.at].0];
            if self.parking.blocks(&row) {
                self.parking.follow(&row, envelope);
            } else if let Some(panic) = broken.get(&touch.at) {
                let reason = Reason::new(FailureClass::Panic, panic);
                let error = ProjectionError::handler(panic.clone());
                self.parking.poisoned(row.clone(), envelope, reason, error)?;
            }
        }
        Ok(())
    }

    fn changed_rows(&mut self) -> Result<Vec<Row>, ProjectionError> {
        let mut changed = Vec::new();
        for ((tenant, key), remembered) in &mut self.rows {
            if !std::mem::take(&mut remembered.changed) {
                continue;
            }
            let id = RowId::new(tenant.clone(), key.to_string());
            let value = remembered.row.as_ref().map(|row| Codec::Json.encode_value(row));
            let value = value.transpose().map_err(ProjectionError::handler)?;
            changed.push(Row { id, value });
        }
        Ok(changed)
    }

    /// Folds parked events into their rows, up to one that cannot be taken.
    async fn take_all<V: Views>(
        &mut self,
        views: &V,
        parked: &[(Parked, RecordedEvent)],
    ) -> Result<(), (usize, Unkeyed)> {
        for (at, (parked, envelope)) in parked.iter().enumerate() {
            self.take(views, parked, envelope).await.map_err(|refused| (at, refused))?;
        }
        Ok(())
    }

    /// Folds one parked event into the rows that it changes, or into the row that
    /// stood still.
    async fn take<V: Views>(
        &mut self,
        views: &V,
        parked: &Parked,
        envelope: &RecordedEvent,
    ) -> Result<(), Unkeyed> {
        let decoded = decode::<W::Event>(envelope);
        let Some(event) = decoded.map_err(|error| Unkeyed::other(error.into()))? else {
            return Ok(());
        };
        let event = Recorded { event: &event, envelope };
        let tenant = envelope.stream.tenant();
        let is_row = |key: &W::Key| {
            !parked.sequence.starts_with("row ") || parked.sequence[4..] == key.to_string()
        };
        let mut keys = keys::<W>(event)?;
        keys.retain(|key| self.keeps(tenant, key) && is_row(key));
        for key in keys {
            let key = (tenant.clone(), key);
            let row = Sequence::of_row(tenant, &key.1.to_string());
            if parked.sequence != row.name && self.parking.blocks(&row) {
                // The row stands still for a reason of its own.
                self.parking.pass_on(&row, envelope, parked);
                continue;
            }
            self.load(views, std::iter::once(&key)).await.map_err(Unkeyed::other)?;
            if let Some(remembered) = self.rows.get_mut(&key) {
                remembered.apply(&key.1, event).map_err(Unkeyed::panic)?;
            }
        }
        Ok(())
    }
}

/// Why an event cannot be taken before its rows are known.
pub(super) struct Unkeyed {
    reason: Reason,
    pub(super) error: Box<ProjectionError>,
}

impl Unkeyed {
    /// An event that cannot be read. What a newer program can read is left to it.
    fn unread<W: View>(envelope: &RecordedEvent) -> Result<Self, ProjectionError> {
        match decode::<W::Event>(envelope) {
            Err(error) if is_damaged(&error) => Ok(Self::other(error.into())),
            Err(error) => Err(error.into()),
            Ok(_) => Err(ProjectionError::handler("an event can be read, and cannot")),
        }
    }

    fn panic(panic: String) -> Self {
        let reason = Reason::new(FailureClass::Panic, &panic);
        Self { reason, error: Box::new(ProjectionError::handler(panic)) }
    }

    fn other(error: ProjectionError) -> Self {
        Self { reason: Reason::of(&error), error: Box::new(error) }
    }
}

/// The rows that the event changes, each once.
pub(super) fn keys<W: View>(event: Recorded<'_, W::Event>) -> Result<Vec<W::Key>, Unkeyed> {
    match catch_unwind(AssertUnwindSafe(|| W::keys(event))) {
        Ok(Keys::None) => Ok(Vec::new()),
        Ok(Keys::One(key)) => Ok(vec![key]),
        Ok(Keys::Many(keys)) => {
            let mut seen = HashSet::new();
            Ok(keys.into_iter().filter(|key| seen.insert(key.clone())).collect())
        }
        Err(panic) => Err(Unkeyed::panic(said(&*panic))),
    }
}

impl<W: View> Remembered<W> {
    pub(super) fn apply(
        &mut self,
        key: &W::Key,
        event: Recorded<'_, W::Event>,
    ) -> Result<(), String> {
        let row = self.row.get_or_insert_default();
        match catch_unwind(AssertUnwindSafe(|| row.apply(key, event))) {
            Ok(Fate::Keep) => {}
            Ok(Fate::Delete) => self.row = None,
            Err(panic) => return Err(said(&*panic)),
        }
        self.changed = true;
        Ok(())
    }
}

#[async_trait]
impl<W: View, V: Views> Handler<V> for ViewHandler<W> {
    fn held(&self) -> &Held {
        &self.held
    }

    fn held_mut(&mut self) -> &mut Held {
        &mut self.held
    }

    async fn handle(
        &mut self,
        views: &V,
        batch: &PageBatch,
        _: &watch::Receiver<bool>,
    ) -> Result<(), ProjectionError> {
        if batch.through <= self.held.checkpoint.position {
            return Ok(());
        }
        let touches = self.touches(batch)?;
        self.load(views, touches.iter().map(|touch| &touch.key)).await?;
        self.fold(views, batch, &touches).await?;
        let changes = Changes::rows(self.changed_rows()?).parked(self.parking.rows()?);
        let (tx, seen) = self.held.begin(views).await?;
        self.held.commit(views, tx, changes, seen.at(batch.through), Touched::Rows).await?;
        if self.rows.len() > REMEMBERED {
            self.rows.clear();
        }
        Ok(())
    }

    async fn recover(&mut self, views: &V) -> Result<(), ProjectionError> {
        self.rows.clear();
        self.held.recover(views).await?;
        self.parking.reload(views).await
    }

    /// All in one transaction, up to an event that cannot be taken.
    async fn retry(
        &mut self,
        views: &V,
        parked: Vec<(Parked, RecordedEvent)>,
    ) -> Result<(), ProjectionError> {
        let (taken, refused) = match self.take_all(views, &parked).await {
            Ok(()) => (parked.len(), None),
            Err((at, refused)) => {
                // What it has changed already is folded once more without it.
                self.rows.clear();
                self.parking.forget();
                let before = self.take_all(views, &parked[..at]).await;
                before.map_err(|(_, refused)| *refused.error)?;
                (at, Some(refused))
            }
        };
        let gone = parked[..taken].iter().map(|(parked, _)| parked.gone());
        let mut beside = gone.collect::<Result<Vec<_>, _>>()?;
        if let Some(Unkeyed { reason, error }) = &refused
            && is_poison(error)
        {
            beside.push(parked[taken].0.refused(reason)?);
        }
        let rows = self.changed_rows()?;
        let changes = Changes::rows(rows).parked(beside).parked(self.parking.rows()?);
        let (tx, seen) = self.held.begin(views).await?;
        self.held.commit(views, tx, changes, seen, Touched::Rows).await?;
        if self.rows.len() > REMEMBERED {
            self.rows.clear();
        }
        refused.map_or(Ok(()), |refused| Err(*refused.error))
    }
}

pub(crate) fn decode_row<W: View>(id: &RowId, value: &[u8]) -> Result<W, ProjectionError> {
    Codec::Json.decode_value(value).map_err(|source| ProjectionError::Row {
        view: W::NAME.to_owned(),
        key: id.key.clone(),
        source: Box::new(source),
    })
}
