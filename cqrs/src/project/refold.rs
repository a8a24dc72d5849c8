//! Rows of a view that are folded anew while the others stay.

use std::collections::{HashMap, HashSet};

use es_core::{
    Build, Changes, Codec, EventStore, Evolve, PartState, Position, Read, Recorded, RecordedEvent,
    Row, RowId, Slices, StreamId, Tenant, Views,
};
use futures_util::TryStreamExt;

use super::{
    batch::decode,
    handler::Touched,
    parked::each,
    parking::Sequence,
    viewing::{Remembered, keys},
    visit::Visit,
};
use crate::{ProjectionError, Projector, View};

/// Most rows that are folded anew at once, and kept in memory for that.
const ROWS: usize = 10_000;

impl<V: Views> Projector<V> {
    /// Builds anew the rows of a view that the events of one stream change, and no others:
    /// after somebody has changed a row by hand, for instance. The rows answer as they are
    /// until then; their parts stand still only for what is appended meanwhile. Returns how
    /// many rows it has written.
    ///
    /// It reads all events that the view names, as other streams may change these rows too,
    /// unless [`View::OF_ONE_STREAM`] says that they do not. An event that was skipped or
    /// discarded is passed over as before.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Refused`] while events of the view are parked, if it is not kept
    /// yet, and for more than 10,000 rows;
    /// [`ProjectionError::Event`] and [`ProjectionError::Handler`] if an event cannot be
    /// folded. The rows are as before then; of a view in several parts perhaps not all.
    pub async fn rebuild_stream<W: View>(
        &self,
        stream: &StreamId,
    ) -> Result<usize, ProjectionError> {
        let (name, builds) = self.look(W::NAME).await?;
        self.recipe(&name)?;
        let Some(build) = builds.iter().find(|build| build.serves) else {
            return Err(refused::<W>("nobody has begun to keep it, catch up instead"));
        };
        self.nothing_waits(build).await?;
        let store = &*self.inner.store;
        let mut refolding = Refolding::<W>::new(&self.inner.views, build).await?;
        refolding.find(store, stream).await?;
        let parts: Vec<_> =
            build.parts.iter().filter(|one| refolding.touches(one.slices)).collect();
        let Some(from) = parts.iter().map(|part| part.checkpoint.position).min() else {
            return Ok(0);
        };
        let read = if W::OF_ONE_STREAM { Read::stream(stream) } else { Read::all() };
        let read = read.of(stream.tenant().clone()).types_of::<W::Event>();
        refolding.fold(store, read.clone().up_to(from)).await?;
        let visit = Visit::new(&self.inner);
        let writing = async {
            let mut written = 0;
            for state in parts {
                let rows = refolding.of(state.slices);
                written += self.write(&visit, build, state, rows, read.clone().after(from)).await?;
            }
            Ok::<_, ProjectionError>(written)
        };
        let written = visit.during(writing).await;
        let left = visit.leave().await;
        let written = written?;
        left.map(|()| written)
    }

    /// Takes a part, folds what its rows lack, and writes them.
    async fn write<W: View>(
        &self,
        visit: &Visit<'_, V>,
        build: &Build,
        state: &PartState,
        mut rows: Refolding<W>,
        rest: Read,
    ) -> Result<usize, ProjectionError> {
        let mut held = visit.hold(build, state).await?;
        // From here on nobody parks anything of this part.
        self.nothing_waits(build).await?;
        rows.fold(&*self.inner.store, rest.up_to(held.checkpoint.position)).await?;
        let (tx, seen) = held.begin(&self.inner.views).await?;
        let changes = Changes::rows(rows.rows()?);
        let written = changes.rows.len();
        held.commit(&self.inner.views, tx, changes, seen, Touched::Rows).await?;
        Ok(written)
    }
}

/// An event, and the rows that it changes.
type Keyed<W> = Option<(<W as Evolve>::Event, Vec<<W as View>::Key>)>;

/// Rows, from nothing on.
struct Refolding<W: View> {
    rows: HashMap<(Tenant, W::Key), Remembered<W>>,
    /// What was skipped or discarded: where, and of which sequence.
    passed: HashSet<(Position, String)>,
}

impl<W: View> Refolding<W> {
    async fn new<V: Views>(views: &V, build: &Build) -> Result<Self, ProjectionError> {
        let mut passed = HashSet::new();
        each(views, &build.model, Some(build.number), |_, parked| {
            if !parked.waits() {
                passed.insert((parked.position, parked.sequence));
            }
        })
        .await?;
        Ok(Self { rows: HashMap::new(), passed })
    }

    /// Finds the rows that the events of the stream change.
    async fn find<S>(&mut self, store: &S, stream: &StreamId) -> Result<(), ProjectionError>
    where
        S: EventStore + ?Sized,
    {
        let mut pages = store.read(Read::stream(stream).types_of::<W::Event>());
        while let Some(page) = pages.try_next().await? {
            for envelope in &page.events {
                for key in self.keys(envelope)?.into_iter().flat_map(|(_, keys)| keys) {
                    let key = (stream.tenant().clone(), key);
                    self.rows.insert(key, Remembered { row: None, changed: true });
                }
            }
            if self.rows.len() > ROWS {
                return Err(refused::<W>("more than 10,000 rows: rebuild it as a whole"));
            }
        }
        Ok(())
    }

    async fn fold<S>(&mut self, store: &S, read: Read) -> Result<(), ProjectionError>
    where
        S: EventStore + ?Sized,
    {
        let mut pages = store.read(read);
        while let Some(page) = pages.try_next().await? {
            page.events.iter().try_for_each(|envelope| self.take(envelope))?;
        }
        Ok(())
    }

    fn take(&mut self, envelope: &RecordedEvent) -> Result<(), ProjectionError> {
        let Some((event, keys)) = self.keys(envelope)? else { return Ok(()) };
        for key in keys {
            let row = Sequence::of_row(envelope.stream.tenant(), &key.to_string());
            let is_passed = self.passes(envelope, row);
            let of_tenant = (envelope.stream.tenant().clone(), key);
            let Some(remembered) = self.rows.get_mut(&of_tenant).filter(|_| !is_passed) else {
                continue;
            };
            let applied = remembered.apply(&of_tenant.1, Recorded { event: &event, envelope });
            applied.map_err(ProjectionError::handler)?;
        }
        Ok(())
    }

    /// The event and the rows that it changes; nothing if it was passed over as a whole.
    fn keys(&self, envelope: &RecordedEvent) -> Result<Keyed<W>, ProjectionError> {
        if self.passes(envelope, Sequence::of_stream(&envelope.stream)) {
            return Ok(None);
        }
        let Some(event) = decode::<W::Event>(envelope)? else { return Ok(None) };
        let keys = keys::<W>(Recorded { event: &event, envelope });
        let keys = keys.map_err(|unkeyed| *unkeyed.error)?;
        Ok(Some((event, keys)))
    }

    fn passes(&self, envelope: &RecordedEvent, sequence: Sequence) -> bool {
        !self.passed.is_empty() && self.passed.contains(&(envelope.position, sequence.name))
    }

    fn touches(&self, slices: Slices) -> bool {
        self.rows.keys().any(|key| is_in(slices, key))
    }

    /// The rows of one part, without the others.
    fn of(&mut self, slices: Slices) -> Self {
        let rows = std::mem::take(&mut self.rows);
        let (mine, others) = rows.into_iter().partition(|(key, _)| is_in(slices, key));
        self.rows = others;
        Self { rows: mine, passed: self.passed.clone() }
    }

    fn rows(self) -> Result<Vec<Row>, ProjectionError> {
        let row = |((tenant, key), remembered): ((Tenant, W::Key), Remembered<W>)| {
            let value = remembered.row.map(|row| Codec::Json.encode_value(&row)).transpose();
            let value = value.map_err(ProjectionError::handler)?;
            Ok(Row { id: RowId::new(tenant, key.to_string()), value })
        };
        self.rows.into_iter().map(row).collect()
    }
}

fn is_in<K: ToString>(slices: Slices, (tenant, key): &(Tenant, K)) -> bool {
    slices == Slices::ALL || slices.contains(Slices::slice_of(tenant, &key.to_string()))
}

fn refused<W: View>(why: &'static str) -> ProjectionError {
    ProjectionError::Refused { name: W::NAME.to_owned(), why }
}
