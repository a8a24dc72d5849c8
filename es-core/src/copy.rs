//! Copies through the ports alone: pages are read, batches are appended.
//!
//! The append id of a batch is made of the copy's name and of the place of its
//! first event in the source. Where a batch ends is left to chance; what a known
//! one holds is asked of the target. So each run finds the batches of the earlier
//! ones, one behind the other, and begins where they end.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt};
use thiserror::Error;

use crate::{
    AppendError, AppendId, Batch, Copied, Copying, Direction, EventId, EventStore, EventStoreExt,
    Name, NewEvent, Page, Pages, Position, Read, StoreError, StoreErrorKind, StreamId, Write,
    limits,
};

/// Copies events from one store to another, in the order of the source.
///
/// Ids, types, schema versions, payloads, tags and metadata stay what they are;
/// positions, versions, times and append ids are those of the target, which may
/// hold other events. (To keep them too, [`Import`](crate::Import).) Claims are
/// no events, and markers of deleted streams say nothing in another store:
/// neither is copied.
///
/// It may be stopped, dropped or killed at any moment. Under the same name it
/// goes on where it was, and nothing is lost or doubled; two at once do no harm
/// either. Remove nothing from source or target before it has ended: it may not find
/// its place again, and then copies what is left once more. It holds a page and a batch in memory. A batch has one tenant, so that
/// a log in which tenants alternate is copied in small steps.
///
/// ```
/// use es_core::{Batch, ContentType, Copying, EventStore, Name, NewEvent, StreamId, World, copy};
/// use es_core::memory::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (old, new) = (MemoryStore::new(), MemoryStore::new());
/// let rung = NewEvent::raw(World::real().event_id(), Name::new("bell.rung")?, ContentType::JSON, "{}");
/// old.append(Batch::to(StreamId::new("bell", "north")?).event(rung)).await?;
///
/// let name = Name::new("to-the-new-store")?;
/// assert_eq!(copy(&old, &new, Copying::all(name.clone())).await?.appended, 1);
/// assert_eq!(copy(&old, &new, Copying::all(name)).await?.known, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`CopyError`]; what was copied before it stays.
pub async fn copy<S, T>(from: &S, to: &T, copying: Copying<'_>) -> Result<Copied, CopyError>
where
    S: EventStore + ?Sized,
    T: EventStore + ?Sized,
{
    if copying.read.direction == Direction::Backwards {
        let error = StoreError::new(StoreErrorKind::Invalid, "a copy reads forwards");
        return Err(CopyError::Source(error));
    }
    let read = copying.read.clone();
    let pages = if copying.follows { from.follow(read) } else { from.read(read) };
    copy_pages(pages, to, copying).await
}

/// As [`copy`], of pages that come from elsewhere, as from an
/// [export](crate::read_export); what the copy would read is not asked.
///
/// ```
/// use es_core::{Copying, Name, copy_pages, memory::MemoryStore};
/// use futures_util::{StreamExt, stream};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let copying = Copying::all(Name::new("nothing")?);
/// let copied = copy_pages(stream::empty().boxed(), &MemoryStore::new(), copying).await?;
/// assert_eq!(copied.appended, 0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`CopyError`]; what was copied before it stays.
pub async fn copy_pages<T>(
    mut pages: Pages,
    to: &T,
    copying: Copying<'_>,
) -> Result<Copied, CopyError>
where
    T: EventStore + ?Sized,
{
    let mut copier = Copier::new(to, copying);
    loop {
        // What waits for more events to come is appended first.
        let ready = if copier.copying.follows { pages.next().now_or_never() } else { None };
        let page = match ready {
            Some(page) => page,
            None => {
                if copier.copying.follows {
                    copier.settle().await?;
                }
                pages.next().await
            }
        };
        match page {
            Some(page) => copier.take(page.map_err(CopyError::Source)?).await?,
            None => {
                copier.settle().await?;
                return copier.finish();
            }
        }
    }
}

/// Why a copy stopped. Run it again when that is mended.
///
/// ```
/// use es_core::{CopyError, Position};
///
/// let error = CopyError::Diverged { position: Position::new(7) };
/// assert!(error.to_string().contains("another name"));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source could not be read.
    #[error("the source cannot be read: {0}")]
    Source(#[source] StoreError),
    /// The target refused a batch, or failed.
    #[error("what begins at position {position} of the source cannot be appended: {error}")]
    Append {
        /// The first event of the source that is not in the target.
        position: Position,
        /// Why.
        #[source]
        error: AppendError,
    },
    /// The target has other events under this name: the request, the transform
    /// or the source is not what it was. Choose another name, or a new target.
    #[error(
        "under this name the target has other events than what becomes of position {position}, \
         choose another name"
    )]
    Diverged {
        /// The event of the source.
        position: Position,
    },
}

/// Something to be appended, and where it came from.
struct Output {
    position: Position,
    part: usize,
    recorded_at: DateTime<Utc>,
    stream: StreamId,
    event: NewEvent,
}

struct Copier<'c, T: ?Sized> {
    to: &'c T,
    copying: Copying<'c>,
    copied: Copied,
    /// How far the source was read.
    seen: Position,
    /// Where the last output came from, and how many came from there: an upcaster
    /// may make several events of one.
    last: (Position, usize),
    /// Whether the target may know the next batch.
    is_resuming: bool,
    /// What an earlier run has appended of what comes next.
    known: VecDeque<EventId>,
    open: Open,
}

/// The batch that is being gathered.
#[derive(Default)]
struct Open {
    outputs: VecDeque<Output>,
    ids: HashSet<EventId>,
    bytes: usize,
}

impl<'c, T: EventStore + ?Sized> Copier<'c, T> {
    fn new(to: &'c T, copying: Copying<'c>) -> Self {
        let copied = Copied { through: copying.read.after, ..Copied::default() };
        let (seen, known, open) = (copied.through, VecDeque::new(), Open::default());
        let last = (Position::START, 0);
        Self { to, copying, copied, seen, last, is_resuming: true, known, open }
    }

    async fn take(&mut self, page: Page) -> Result<(), CopyError> {
        for event in page.events {
            let (position, recorded_at) = (event.position, event.recorded_at);
            self.copied.read += 1;
            if event.is_of_the_store() {
                continue;
            }
            let outputs = (self.copying.transform)(event);
            if self.last.0 != position {
                self.last = (position, 0);
            }
            for (stream, event) in outputs {
                let part = self.last.1;
                self.last.1 += 1;
                let output = Output { position, part, recorded_at, stream, event };
                self.add(output).await?;
            }
        }
        self.seen = page.through;
        Ok(())
    }

    async fn add(&mut self, output: Output) -> Result<(), CopyError> {
        let is_wide = self.to.abilities().many_streams;
        if !self.open.has_room_for(&output, is_wide) {
            self.append().await?;
            // Only where a batch begins with an event can another run begin.
            if output.part == 0 && self.known.is_empty() {
                self.copied.through = Position::new(output.position.get().saturating_sub(1));
            }
            (self.copying.progress)(self.copied);
        }
        self.gather(output)
    }

    /// Passes over what the target knows.
    fn gather(&mut self, output: Output) -> Result<(), CopyError> {
        match self.known.pop_front() {
            None => self.open.push(output),
            Some(id) if id == output.event.id => self.copied.known += 1,
            Some(_) => return Err(CopyError::Diverged { position: output.position }),
        }
        Ok(())
    }

    /// Appends what is gathered at the end of a page.
    async fn settle(&mut self) -> Result<(), CopyError> {
        self.append().await?;
        if self.known.is_empty() {
            self.copied.through = self.seen;
        }
        (self.copying.progress)(self.copied);
        Ok(())
    }

    /// Appends what is gathered; all of it is in the target afterwards.
    async fn append(&mut self) -> Result<(), CopyError> {
        while let Some(first) = self.open.outputs.front() {
            let (position, stream) = (first.position, first.stream.clone());
            let failed = |error| CopyError::Append { position, error };
            let id = batch_id(&self.copying.name, first);
            if !self.is_resuming {
                let appended = self.to.append(self.open.batch(id)).await.map_err(failed)?;
                if !appended.repeated {
                    self.copied.appended += self.open.outputs.len() as u64;
                    self.open = Open::default();
                    break;
                }
            }
            let known = self.to.events(Read::append(id).of(stream.tenant().clone())).await;
            let known = known.map_err(|error| failed(error.into()))?;
            if known.is_empty() && !self.is_resuming {
                // The target has removed what it knows.
                return Err(CopyError::Diverged { position });
            }
            self.is_resuming = !known.is_empty();
            self.known = known.into_iter().map(|event| event.id).collect();
            let gathered = std::mem::take(&mut self.open).outputs;
            gathered.into_iter().try_for_each(|output| self.gather(output))?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Copied, CopyError> {
        if !self.known.is_empty() {
            return Err(CopyError::Diverged { position: self.copied.through });
        }
        Ok(self.copied)
    }
}

fn batch_id(name: &Name, first: &Output) -> AppendId {
    let Output { position, part, recorded_at, .. } = first;
    AppendId::at(*recorded_at, &format!("gesta copy {position} {part} {name}"))
}

impl Open {
    /// Some stores take one stream at a time.
    fn has_room_for(&self, output: &Output, is_wide: bool) -> bool {
        let Some(first) = self.outputs.front() else { return true };
        first.stream.tenant() == output.stream.tenant()
            && (is_wide || first.stream == output.stream)
            && self.outputs.len() < limits::BATCH_EVENTS
            && self.bytes + output.event.payload.len() <= limits::BATCH_BYTES
            && !self.ids.contains(&output.event.id)
    }

    fn push(&mut self, output: Output) {
        self.ids.insert(output.event.id);
        self.bytes += output.event.payload.len();
        self.outputs.push_back(output);
    }

    fn batch(&self, id: AppendId) -> Batch {
        let mut writes: Vec<Write> = Vec::new();
        for Output { stream, event, .. } in &self.outputs {
            match writes.last_mut() {
                Some(last) if last.stream == *stream => last.events.push(event.clone()),
                _ => writes.push(Write::new(stream.clone()).events([event.clone()])),
            }
        }
        Batch::new(writes).append_id(id)
    }
}
