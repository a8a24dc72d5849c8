use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::{MemoryViews, inlined::Inlined, log::Log};
use crate::{
    Abilities, AppendError, Appended, Batch, Direction, Durability, EventStore, Import,
    ImportError, Imported, Inline, Page, Pages, Position, Read, StoreError, StoreErrorKind, World,
    limits,
};

/// A log that lives as long as the process; clones share it. See [`EventStore`]
/// for an example.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    pub(super) log: Arc<RwLock<Log>>,
    head: watch::Sender<Position>,
    pub(super) world: World,
    inline: Arc<OnceLock<Inlined>>,
}

impl MemoryStore {
    /// An empty log in the real world.
    pub fn new() -> Self {
        Self::in_world(World::real())
    }

    /// An empty log that takes its time from this world.
    pub fn in_world(world: World) -> Self {
        let head = watch::Sender::new(Position::START);
        Self { log: Arc::default(), head, world, inline: Arc::default() }
    }

    /// The same store, which can keep these models with each append, in these views: see
    /// [`Inline`].
    ///
    /// # Panics
    ///
    /// If the store or the views have some already.
    #[must_use]
    pub fn inline(self, views: &MemoryViews, inline: impl Inline) -> Self {
        let inlined = Inlined::new(views, &self.log, Arc::new(inline));
        assert!(self.inline.set(inlined).is_ok(), "a store has inline models once");
        self
    }

    pub(super) fn advance(&self, position: Position) {
        self.head.send_if_modified(|head| {
            let moved = position > *head;
            *head = position.max(*head);
            // Whoever subscribes later looks before it waits.
            moved && self.head.receiver_count() > 0
        });
    }

    fn page(&self, read: &Read, after: Position, up_to: Position) -> Page {
        self.log.read().page(read, after, up_to, limits::PAGE_EVENTS)
    }
}

#[async_trait]
impl Import for MemoryStore {
    async fn import(&self, mut pages: Pages) -> Result<Imported, ImportError> {
        if self.inline.get().is_some_and(Inlined::is_live) {
            return Err(ImportError::inline());
        }
        if !self.log.read().is_empty() {
            return Err(ImportError::NotEmpty);
        }
        let (mut taken, mut imported) = (Log::default(), Imported::default());
        while let Some(page) = pages.next().await {
            for event in page.map_err(ImportError::Source)?.events {
                imported.take(&event)?;
                taken.import(event)?;
            }
        }
        let mut log = self.log.write();
        if !log.is_empty() {
            return Err(ImportError::NotEmpty);
        }
        *log = taken;
        drop(log);
        self.advance(imported.position);
        Ok(imported)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        batch.check()?;
        let now = self.world.now();
        let concerned = self.inline.get().filter(|inlined| inlined.is_concerned(&batch));
        let appended = match concerned {
            Some(inlined) => inlined.append(&self.log, batch, now),
            None => self.log.write().append(batch, now, |_, _| Ok(())),
        }?;
        self.advance(appended.position);
        Ok(appended)
    }

    fn read(&self, read: Read) -> Pages {
        let head = self.log.read().head();
        let cursor = Cursor::new(read, head);
        let store = self.clone();
        stream::unfold(cursor, move |mut cursor| {
            let page = cursor.next(&store);
            async move { page.map(|page| (Ok(page), cursor)) }
        })
        .boxed()
    }

    fn follow(&self, read: Read) -> Pages {
        if read.direction == Direction::Backwards || read.limit.is_some() {
            return refuse("a follower reads forwards and without a limit");
        }
        let following = (self.clone(), self.head.subscribe(), read.after, read);
        stream::unfold(following, |(store, mut head, after, read)| async move {
            head.wait_for(|head| *head > after).await.ok()?;
            let up_to = store.log.read().head();
            let page = store.page(&read, after, up_to);
            let through = page.through;
            Some((Ok(page), (store, head, through, read)))
        })
        .boxed()
    }

    fn abilities(&self) -> Abilities {
        Abilities { reopens: false, ..Abilities::all(Durability::Memory) }
    }
}

fn refuse(why: &'static str) -> Pages {
    stream::once(async move { Err(StoreError::new(StoreErrorKind::Invalid, why)) }).boxed()
}

/// Where a read stands between two pages.
struct Cursor {
    read: Read,
    after: Position,
    up_to: Position,
    left: u64,
}

impl Cursor {
    fn new(read: Read, head: Position) -> Self {
        let up_to = read.up_to.map_or(head, |up_to| up_to.min(head));
        Self { after: read.after, up_to, left: read.limit.unwrap_or(u64::MAX), read }
    }

    fn next(&mut self, store: &MemoryStore) -> Option<Page> {
        if self.left == 0 || self.after >= self.up_to {
            return None;
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(limits::PAGE_EVENTS);
        let page = store.log.read().page(&self.read, self.after, self.up_to, wanted);
        self.left -= page.events.len() as u64;
        match self.read.direction {
            Direction::Forwards => self.after = page.through,
            Direction::Backwards => {
                let first = page.events.last().map_or(0, |event| event.position.get() - 1);
                self.up_to = Position::new(first);
            }
        }
        Some(page)
    }
}
