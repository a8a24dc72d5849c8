use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::checkpoints::compare_and_set;
use crate::{Checkpoint, Name, Row, RowId, Rows, StoreError, Views};

/// Read models that live as long as the process; see [`Views`] for an example.
#[derive(Debug, Clone, Default)]
pub struct MemoryViews {
    models: Arc<Mutex<HashMap<Name, Model>>>,
}

#[derive(Debug, Default)]
struct Model {
    checkpoint: Checkpoint,
    rows: BTreeMap<RowId, Bytes>,
}

/// What a free-form projection does at its commit, in order.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// use es_core::{Name, Position, Views, memory::MemoryViews};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (views, counter) = (MemoryViews::new(), Arc::new(AtomicU32::new(0)));
/// let name = Name::new("counter")?;
/// let (mut tx, seen) = views.begin(&name).await?;
/// let counted = Arc::clone(&counter);
/// tx.run(move || { counted.fetch_add(1, Ordering::Relaxed); });
/// assert_eq!(counter.load(Ordering::Relaxed), 0);
/// views.commit(&name, tx, vec![], seen, seen.at(Position::new(1))).await?;
/// assert_eq!(counter.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct MemoryTx {
    steps: Vec<Box<dyn FnOnce() + Send>>,
}

impl MemoryTx {
    /// Does this at the commit, if there is one.
    pub fn run(&mut self, step: impl FnOnce() + Send + 'static) {
        self.steps.push(Box::new(step));
    }
}

impl MemoryViews {
    /// No read model yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Views for MemoryViews {
    type Tx = MemoryTx;

    async fn begin(&self, projection: &Name) -> Result<(MemoryTx, Checkpoint), StoreError> {
        let models = self.models.lock();
        let checkpoint = models.get(projection).map(|model| model.checkpoint);
        Ok((MemoryTx::default(), checkpoint.unwrap_or_default()))
    }

    async fn rows(&self, projection: &Name, rows: Rows) -> Result<Vec<Row>, StoreError> {
        let models = self.models.lock();
        Ok(models.get(projection).map(|model| model.find(rows)).unwrap_or_default())
    }

    async fn commit(
        &self,
        projection: &Name,
        tx: MemoryTx,
        rows: Vec<Row>,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let mut models = self.models.lock();
        let model = models.entry(projection.clone()).or_default();
        compare_and_set(projection, &mut model.checkpoint, seen, next)?;
        for Row { id, value } in rows {
            match value {
                Some(value) => model.rows.insert(id, value),
                None => model.rows.remove(&id),
            };
        }
        tx.steps.into_iter().for_each(|step| step());
        Ok(())
    }

    async fn reset(&self, projection: &Name) -> Result<Checkpoint, StoreError> {
        let mut models = self.models.lock();
        let model = models.entry(projection.clone()).or_default();
        let checkpoint = Checkpoint { epoch: model.checkpoint.epoch + 1, ..Checkpoint::default() };
        *model = Model { checkpoint, rows: BTreeMap::new() };
        Ok(checkpoint)
    }
}

impl Model {
    fn find(&self, rows: Rows) -> Vec<Row> {
        let row =
            |(id, value): (&RowId, &Bytes)| Row { id: id.clone(), value: Some(value.clone()) };
        match rows {
            Rows::These(mut ids) => {
                ids.sort_unstable();
                ids.iter().filter_map(|id| self.rows.get_key_value(id)).map(row).collect()
            }
            Rows::Of { tenant, after, limit } => {
                let from = match after {
                    Some(key) => Bound::Excluded(RowId::new(tenant.clone(), key)),
                    None => Bound::Included(RowId::new(tenant.clone(), "")),
                };
                let found = self.rows.range((from, Bound::Unbounded));
                found.take_while(|(id, _)| id.tenant == tenant).take(limit).map(row).collect()
            }
        }
    }
}

impl fmt::Debug for MemoryTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTx").field("steps", &self.steps.len()).finish()
    }
}
