use std::{
    collections::BTreeMap,
    fmt,
    ops::Bound,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    builds::{Keeping, Known},
    inlined::Linked,
};
use crate::{
    Changes, Checkpoint, Kind, Lookup, Name, Part, Row, RowId, Rows, StoreError, Views, World,
};

/// Read models that live as long as the process; see [`Views`] for an example.
#[derive(Debug, Clone)]
pub struct MemoryViews {
    pub(super) models: Arc<Mutex<Models>>,
    pub(super) world: World,
    pub(super) log: Arc<OnceLock<Linked>>,
}

#[derive(Debug, Default)]
pub(super) struct Models {
    pub(super) builds: BTreeMap<(Name, u64), Known>,
    pub(super) rows: BTreeMap<(Name, u64), Found>,
    /// The epoch at which the parts of a new build begin, if it is not the first.
    pub(super) epochs: BTreeMap<Name, u64>,
}

/// The rows of one build, and those beside it.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) rows: BTreeMap<RowId, Bytes>,
    pub(super) parked: BTreeMap<RowId, Bytes>,
}

/// What a free-form projection does at its commit, in order.
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// use es_core::{Builds, BuildChange, Changes, Name, Part, Position, Slices, Views, memory::MemoryViews};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (views, counter) = (MemoryViews::new(), Arc::new(AtomicU32::new(0)));
/// let part = Part::new(Name::new("counter")?, 1, Slices::ALL);
/// views.change(BuildChange::begin(part.model.clone(), 1)).await?;
/// let (mut tx, seen) = views.begin(&part).await?;
/// let counted = Arc::clone(&counter);
/// tx.run(move || { counted.fetch_add(1, Ordering::Relaxed); });
/// assert_eq!(counter.load(Ordering::Relaxed), 0);
/// views.commit(&part, tx, Changes::default(), seen, seen.at(Position::new(1))).await?;
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
        Self::in_world(World::real())
    }

    /// No read model yet; leases are measured by the clock of this world.
    pub fn in_world(world: World) -> Self {
        Self { models: Arc::default(), world, log: Arc::default() }
    }
}

impl Default for MemoryViews {
    fn default() -> Self {
        Self::new()
    }
}

impl Views for MemoryViews {
    type Tx = MemoryTx;

    async fn begin(&self, part: &Part) -> Result<(MemoryTx, Checkpoint), StoreError> {
        let mut models = self.models.lock();
        let checkpoint = models.keeping(part).map(|keeping| keeping.checkpoint);
        Ok((MemoryTx::default(), checkpoint.unwrap_or_default()))
    }

    async fn rows(&self, lookup: Lookup) -> Result<Vec<Row>, StoreError> {
        let models = self.models.lock();
        let build = lookup.build.or_else(|| models.serving(&lookup.model));
        let found = build.and_then(|build| models.rows.get(&(lookup.model, build)));
        Ok(found.map(|found| find(found.of(lookup.kind), lookup.rows)).unwrap_or_default())
    }

    async fn commit(
        &self,
        part: &Part,
        tx: MemoryTx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let now = self.world.now();
        let mut models = self.models.lock();
        Keeping::compare_and_set(models.keeping(part), part, seen, next)?.renew(now);
        let found = models.rows.entry((part.model.clone(), part.build)).or_default();
        put(&mut found.rows, changes.rows);
        put(&mut found.parked, changes.parked);
        tx.steps.into_iter().for_each(|step| step());
        Ok(())
    }
}

impl Found {
    fn of(&self, kind: Kind) -> &BTreeMap<RowId, Bytes> {
        match kind {
            Kind::Row => &self.rows,
            Kind::Parked => &self.parked,
        }
    }
}

pub(super) fn put(rows: &mut BTreeMap<RowId, Bytes>, changes: Vec<Row>) {
    for Row { id, value } in changes {
        match value {
            Some(value) => rows.insert(id, value),
            None => rows.remove(&id),
        };
    }
}

pub(super) fn find(found: &BTreeMap<RowId, Bytes>, rows: Rows) -> Vec<Row> {
    let row = |(id, value): (&RowId, &Bytes)| Row { id: id.clone(), value: Some(value.clone()) };
    match rows {
        Rows::These(mut ids) => {
            ids.sort_unstable();
            ids.iter().filter_map(|id| found.get_key_value(id)).map(row).collect()
        }
        Rows::Of { tenant, after, limit } => {
            let from = match after {
                Some(key) => Bound::Excluded(RowId::new(tenant.clone(), key)),
                None => Bound::Included(RowId::new(tenant.clone(), "")),
            };
            let found = found.range((from, Bound::Unbounded));
            found.take_while(|(id, _)| id.tenant == tenant).take(limit).map(row).collect()
        }
        Rows::Every { after, limit } => {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            found.range((from, Bound::Unbounded)).take(limit).map(row).collect()
        }
    }
}

impl fmt::Debug for MemoryTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTx").field("steps", &self.steps.len()).finish()
    }
}
