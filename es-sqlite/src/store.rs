use std::sync::Arc;

use async_trait::async_trait;
use es_core::{
    Abilities, AppendError, Appended, Batch, Direction, EventStore, Page, Pages, Position, Read,
    StoreError, StoreErrorKind, World,
};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use crate::{
    SqliteOptions, error::closed, readers::Readers, reading::Reading, watcher::Watcher,
    writer::Writer,
};

/// An event store in one SQLite file, with checkpoints, snapshots, timers and
/// views beside it. Clones share the file's connections.
///
/// One thread writes and commits in groups; several read. Other processes may
/// have the same file open.
///
/// ```
/// use es_core::{Batch, ContentType, EventStore, EventStoreExt, Name, NewEvent, Read, StreamId, World};
/// use es_sqlite::SqliteStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("bells.db");
/// let store = SqliteStore::open(path).await?;
/// let stream = StreamId::new("bell", "north")?;
/// let rung = NewEvent::raw(World::real().event_id(), Name::new("bell.rung")?, ContentType::JSON, "{}");
/// store.append(Batch::to(stream.clone()).event(rung)).await?;
/// assert_eq!(store.events(Read::stream(&stream)).await?.len(), 1);
/// store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: SqliteOptions,
    writer: Writer,
    readers: Mutex<Option<Readers>>,
    watcher: Mutex<Option<Watcher>>,
    head: watch::Sender<Position>,
    read: Ended,
    written: Ended,
    importing: Arc<tokio::sync::Mutex<()>>,
}

/// Ends with the last thread that holds the other side.
type Ended = tokio::sync::Mutex<mpsc::Receiver<()>>;

impl SqliteStore {
    /// Opens the store in this file, and makes it if it is not there, with the
    /// default [`SqliteOptions`].
    ///
    /// # Errors
    ///
    /// As [`SqliteOptions::open`].
    pub async fn open(path: impl AsRef<std::path::Path>) -> Result<Self, StoreError> {
        SqliteOptions::new(path).open().await
    }

    pub(crate) async fn start(options: SqliteOptions) -> Result<Self, StoreError> {
        let head = watch::Sender::new(Position::START);
        let (writing, written) = mpsc::channel(1);
        let (writer, opening) = Writer::start(options.clone(), head.clone(), writing);
        opening.await.map_err(|_| closed())??;
        let (reading, read) = mpsc::channel(1);
        let readers = Readers::start(&options, &reading)?;
        let watcher = Watcher::start(&options, head.clone(), reading)?;
        let inner = Inner {
            options,
            writer,
            readers: Mutex::new(Some(readers)),
            watcher: Mutex::new(Some(watcher)),
            head,
            read: Ended::new(read),
            written: Ended::new(written),
            importing: Arc::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Finishes what was asked for, then closes the file. Later calls fail with
    /// [`Closed`](StoreErrorKind::Closed).
    ///
    /// The writer goes last: the last connection moves the write-ahead log into
    /// the file, and of two that go at once neither is the last.
    pub async fn close(&self) {
        let readers = self.inner.readers.lock().take();
        if let Some(readers) = readers {
            readers.close();
        }
        self.inner.watcher.lock().take();
        while self.inner.read.lock().await.recv().await.is_some() {}
        drop(self.inner.importing.lock().await);
        self.inner.writer.close().await;
        while self.inner.written.lock().await.recv().await.is_some() {}
    }

    pub(crate) fn world(&self) -> &World {
        &self.inner.options.world
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.inner.writer
    }

    pub(crate) fn options(&self) -> &SqliteOptions {
        &self.inner.options
    }

    pub(crate) fn head(&self) -> &watch::Sender<Position> {
        &self.inner.head
    }

    /// Held while an import is under way.
    pub(crate) fn importing(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.inner.importing)
    }

    pub(crate) fn readers(&self) -> Result<Readers, StoreError> {
        self.inner.readers.lock().clone().ok_or_else(closed)
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        batch.check()?;
        self.inner.writer.append(batch).await
    }

    fn read(&self, read: Read) -> Pages {
        let readers = match self.readers() {
            Ok(readers) => readers,
            Err(error) => return refuse(error),
        };
        let reading = Reading::new(readers, read);
        stream::unfold(reading, |mut reading| async move {
            let page = reading.page().await?;
            Some((page, reading))
        })
        .boxed()
    }

    fn follow(&self, read: Read) -> Pages {
        if read.direction == Direction::Backwards || read.limit.is_some() {
            let why = "a follower reads forwards and without a limit";
            return refuse(StoreError::new(StoreErrorKind::Invalid, why));
        }
        let following = Following {
            store: self.clone(),
            head: self.inner.head.subscribe(),
            after: read.after,
            read,
            reading: None,
            failed: false,
        };
        stream::unfold(following, |mut following| async move {
            let page = following.page().await?;
            Some((page, following))
        })
        .boxed()
    }

    fn abilities(&self) -> Abilities {
        Abilities::all(self.inner.options.synchronous.durability())
    }
}

fn refuse(error: StoreError) -> Pages {
    stream::once(async move { Err(error) }).boxed()
}

/// A follower: reads up to the head, waits until it moves, and reads again.
struct Following {
    store: SqliteStore,
    head: watch::Receiver<Position>,
    after: Position,
    read: Read,
    reading: Option<Reading>,
    failed: bool,
}

impl Following {
    /// The next page; nothing more after an error.
    async fn page(&mut self) -> Option<Result<Page, StoreError>> {
        if self.failed {
            return None;
        }
        let page = self.next().await;
        match &page {
            Some(Ok(page)) => self.after = page.through,
            _ => self.failed = true,
        }
        page
    }

    async fn next(&mut self) -> Option<Result<Page, StoreError>> {
        loop {
            if let Some(reading) = &mut self.reading
                && let Some(page) = reading.page().await
            {
                return Some(page);
            }
            let after = self.after;
            if self.read.up_to.is_some_and(|up_to| after >= up_to) {
                return None;
            }
            let readers = match self.store.readers() {
                Ok(readers) => readers,
                Err(error) => return Some(Err(error)),
            };
            let head = tokio::select! {
                biased;
                head = self.head.wait_for(|head| *head > after) => *head.ok()?,
                () = readers.closed() => return Some(Err(closed())),
            };
            let head = self.read.up_to.map_or(head, |up_to| up_to.min(head));
            let read = self.read.clone().after(self.after).up_to(head);
            self.reading = Some(Reading::new(readers, read));
        }
    }
}
