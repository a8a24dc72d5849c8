use std::{
    collections::{HashMap, HashSet},
    marker::PhantomData,
};

use async_trait::async_trait;
use es_core::{
    Checkpoint, Codec, Name, Position, Recorded, Row, RowId, Rows, StoreError, StoreErrorKind,
    Tenant, Views, event_names,
};

use crate::{Fate, Keys, Projection, ProjectionError, View, batch::PageBatch};

/// Most rows of one view that are remembered between batches.
const REMEMBERED: usize = 200_000;
/// How often a checkpoint that its owner is moving is reached for.
const TAKE_OVERS: u32 = 100;

/// One projection of a projector, its type forgotten.
#[async_trait]
pub(crate) trait Handler<V: Views>: Send {
    fn name(&self) -> &Name;
    fn types(&self) -> Vec<Name>;

    /// Takes the checkpoint over: whoever had it cannot write any more.
    async fn take_over(&mut self, views: &V) -> Result<Checkpoint, StoreError>;

    /// Brings the model to the end of the batch, in one transaction.
    async fn handle(&mut self, views: &V, batch: &PageBatch) -> Result<(), ProjectionError>;

    /// Deletes the model; its checkpoint stands at the start then.
    async fn reset(&mut self, views: &V) -> Result<(), ProjectionError>;
}

/// Keeps the rows of a view.
pub(crate) struct ViewHandler<W: View> {
    name: Name,
    checkpoint: Checkpoint,
    rows: HashMap<(Tenant, W::Key), Remembered<W>>,
}

/// A row, or that there is none.
struct Remembered<W> {
    row: Option<W>,
    changed: bool,
}

impl<W: View> Remembered<W> {
    fn apply(&mut self, key: &W::Key, event: Recorded<'_, W::Event>) {
        let row = self.row.get_or_insert_default();
        if row.apply(key, event) == Fate::Delete {
            self.row = None;
        }
        self.changed = true;
    }
}

/// The place of an event among the decoded ones, and a row that it changes.
type Touch<W> = (usize, (Tenant, <W as View>::Key));

impl<W: View> ViewHandler<W> {
    pub(crate) fn new() -> Self {
        let name = Name::from_static(W::NAME);
        Self { name, checkpoint: Checkpoint::default(), rows: HashMap::new() }
    }

    /// Loads the rows that are not remembered yet, in one request.
    async fn load<V: Views>(
        &mut self,
        views: &V,
        touched: &[Touch<W>],
    ) -> Result<(), ProjectionError> {
        let mut missing: HashMap<RowId, (Tenant, W::Key)> = HashMap::new();
        for (_, key) in touched.iter().filter(|(_, key)| !self.rows.contains_key(key)) {
            missing.insert(RowId::new(key.0.clone(), key.1.to_string()), key.clone());
        }
        if missing.is_empty() {
            return Ok(());
        }
        let ids = missing.keys().cloned().collect();
        for Row { id, value } in views.rows(&self.name, Rows::These(ids)).await? {
            let (Some(key), Some(value)) = (missing.remove(&id), value) else { continue };
            let row = decode_row::<W>(&id, &value)?;
            self.rows.insert(key, Remembered { row: Some(row), changed: false });
        }
        for key in missing.into_values() {
            self.rows.insert(key, Remembered { row: None, changed: false });
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

    /// Which event of the batch touches which row.
    fn touched(&self, batch: &PageBatch) -> Result<Vec<Touch<W>>, ProjectionError> {
        let mut touched = Vec::new();
        for (at, (place, event)) in batch.decoded::<W::Event>()?.iter().enumerate() {
            let envelope = &batch.events[*place];
            if envelope.position <= self.checkpoint.position {
                continue;
            }
            let tenant = || envelope.stream.tenant().clone();
            match W::keys(Recorded { event, envelope }) {
                Keys::None => {}
                Keys::One(key) => touched.push((at, (tenant(), key))),
                Keys::Many(keys) => {
                    let keys: HashSet<_> = keys.into_iter().collect();
                    touched.extend(keys.into_iter().map(|key| (at, (tenant(), key))));
                }
            }
        }
        Ok(touched)
    }
}

#[async_trait]
impl<W: View, V: Views> Handler<V> for ViewHandler<W> {
    fn name(&self) -> &Name {
        &self.name
    }

    fn types(&self) -> Vec<Name> {
        event_names::<W::Event>().collect()
    }

    async fn take_over(&mut self, views: &V) -> Result<Checkpoint, StoreError> {
        self.rows.clear();
        self.checkpoint = take_over(views, &self.name).await?;
        Ok(self.checkpoint)
    }

    async fn handle(&mut self, views: &V, batch: &PageBatch) -> Result<(), ProjectionError> {
        if batch.through <= self.checkpoint.position {
            return Ok(());
        }
        let touched = self.touched(batch)?;
        self.load(views, &touched).await?;
        let events = batch.decoded::<W::Event>()?;
        for (at, key) in &touched {
            if let Some(remembered) = self.rows.get_mut(key) {
                let (place, event) = &events[*at];
                let envelope = &batch.events[*place];
                remembered.apply(&key.1, Recorded { event, envelope });
            }
        }
        let rows = self.changed_rows()?;
        let (tx, seen) = begin(views, &self.name, self.checkpoint).await?;
        let next = seen.at(batch.through);
        views.commit(&self.name, tx, rows, seen, next).await?;
        self.checkpoint = next;
        if self.rows.len() > REMEMBERED {
            self.rows.clear();
        }
        Ok(())
    }

    async fn reset(&mut self, views: &V) -> Result<(), ProjectionError> {
        self.rows.clear();
        self.checkpoint = views.reset(&self.name).await?;
        Ok(())
    }
}

/// Keeps a free-form projection.
pub(crate) struct ProjectionHandler<P, V> {
    name: Name,
    projection: P,
    checkpoint: Checkpoint,
    views: PhantomData<fn() -> V>,
}

impl<V: Views, P: Projection<V::Tx>> ProjectionHandler<P, V> {
    pub(crate) fn new(projection: P) -> Self {
        let name = Name::from_static(P::NAME);
        Self { name, projection, checkpoint: Checkpoint::default(), views: PhantomData }
    }
}

#[async_trait]
impl<V: Views, P: Projection<V::Tx>> Handler<V> for ProjectionHandler<P, V> {
    fn name(&self) -> &Name {
        &self.name
    }

    fn types(&self) -> Vec<Name> {
        event_names::<P::Event>().collect()
    }

    async fn take_over(&mut self, views: &V) -> Result<Checkpoint, StoreError> {
        self.checkpoint = take_over(views, &self.name).await?;
        Ok(self.checkpoint)
    }

    async fn handle(&mut self, views: &V, batch: &PageBatch) -> Result<(), ProjectionError> {
        if batch.through <= self.checkpoint.position {
            return Ok(());
        }
        let (mut tx, seen) = begin(views, &self.name, self.checkpoint).await?;
        for (place, event) in batch.decoded::<P::Event>()?.iter() {
            let envelope = &batch.events[*place];
            if envelope.position > seen.position {
                self.projection.project(Recorded { event, envelope }, &mut tx).await?;
            }
        }
        let next = seen.at(batch.through);
        views.commit(&self.name, tx, Vec::new(), seen, next).await?;
        self.checkpoint = next;
        Ok(())
    }

    async fn reset(&mut self, views: &V) -> Result<(), ProjectionError> {
        let (mut tx, seen) = views.begin(&self.name).await?;
        self.projection.reset(&mut tx).await?;
        let next = seen.taken_over().at(Position::START);
        views.commit(&self.name, tx, Vec::new(), seen, next).await?;
        self.checkpoint = next;
        Ok(())
    }
}

pub(crate) fn decode_row<W: View>(id: &RowId, value: &[u8]) -> Result<W, ProjectionError> {
    Codec::Json.decode_value(value).map_err(|source| ProjectionError::Row {
        view: W::NAME,
        key: id.key.clone(),
        source: Box::new(source),
    })
}

/// The owner before may still be at work and move the checkpoint meanwhile.
async fn take_over<V: Views>(views: &V, name: &Name) -> Result<Checkpoint, StoreError> {
    let mut lost = 0;
    loop {
        let (tx, seen) = views.begin(name).await?;
        let mine = seen.taken_over();
        match views.commit(name, tx, Vec::new(), seen, mine).await {
            Err(error) if error.kind() == StoreErrorKind::Fenced && lost < TAKE_OVERS => lost += 1,
            outcome => return outcome.map(|()| mine),
        }
    }
}

/// A transaction, if the checkpoint still is where this owner left it.
async fn begin<V: Views>(
    views: &V,
    name: &Name,
    mine: Checkpoint,
) -> Result<(V::Tx, Checkpoint), StoreError> {
    let (tx, seen) = views.begin(name).await?;
    if seen == mine {
        return Ok((tx, seen));
    }
    let message = format!("{name} was taken over by another owner, epoch {}", seen.epoch);
    Err(StoreError::new(StoreErrorKind::Fenced, message))
}
