use std::sync::Arc;

use async_trait::async_trait;
use es_core::{
    Abilities, AppendError, Appended, Batch, Direction, Durability, EventStore, Page, Pages,
    Position, Read, Snapped, Snapshots, StoreError, StoreErrorKind, StreamId, Task,
};
use futures_util::{StreamExt, stream};
use sqlx::{PgConnection, Row, query};
use tokio::sync::Mutex;

use crate::{
    PostgresOptions, batch, conflicts,
    connections::{Connections, Purpose},
    error::{closed, store_error},
    following::Following,
    horizon::{self, HOLDER, Holder, Horizon},
    inline::{self, Inlined},
    invalidations::Words,
    loads::{self, Loads},
    lone,
    metrics::Metrics,
    migrate,
    queue::Queue,
    reading::Reading,
    schema::Schema,
    simple, snapshots,
    statements::Statements,
    wall, writer,
};

/// An event store in a schema of a PostgreSQL database, with checkpoints,
/// snapshots, timers and views beside it. Clones share its connections.
///
/// ```no_run
/// use es_core::{Batch, ContentType, EventStore, EventStoreExt, Name, NewEvent, Read, StreamId, World};
/// use es_postgres::PostgresStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::open("postgres://postgres@localhost/bells").await?;
/// let stream = StreamId::new("bell", "north")?;
/// let rung = NewEvent::raw(World::real().event_id(), Name::new("bell.rung")?, ContentType::JSON, "{}");
/// store.append(Batch::to(stream.clone()).event(rung)).await?;
/// assert_eq!(store.events(Read::stream(&stream)).await?.len(), 1);
/// store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PostgresStore {
    handle: Arc<Handle>,
}

/// Ends the tasks with the last clone of the store.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    writers: Tasks,
    readers: Tasks,
}

/// Those that have not been seen to end.
type Tasks = Mutex<Vec<Task>>;

/// What the tasks of a store share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: PostgresOptions,
    pub(crate) schema: Schema,
    pub(crate) lone: Statements,
    pub(crate) simple: Statements,
    pub(crate) append_one: Arc<str>,
    pub(crate) horizon_sql: Arc<str>,
    pub(crate) holder_sql: Arc<str>,
    pub(crate) readers: Connections,
    pub(crate) writers: Connections,
    /// Apart from the readers, whom a transaction may need before it ends.
    pub(crate) projectors: Connections,
    pub(crate) queue: Queue,
    pub(crate) loads: Loads,
    pub(crate) loads_sql: Arc<str>,
    pub(crate) from_snapshot_sql: Arc<str>,
    pub(crate) conflicts_sql: Arc<str>,
    pub(crate) horizon: Horizon,
    pub(crate) words: Words,
    pub(crate) metrics: Metrics,
    pub(crate) inlined: Option<Inlined>,
    durability: Durability,
}

impl PostgresStore {
    /// Opens the store in the database at this URL, and makes its tables if they
    /// are not there, with the default [`PostgresOptions`].
    ///
    /// # Errors
    ///
    /// As [`PostgresOptions::open`].
    pub async fn open(url: impl Into<String>) -> Result<Self, StoreError> {
        PostgresOptions::new(url).open().await
    }

    pub(crate) async fn start(options: PostgresOptions) -> Result<Self, StoreError> {
        wall::check_options(&options)?;
        let schema = Schema::new(&options.schema)?;
        let readers = Connections::new(&options, Purpose::Reading, options.readers);
        let writers = Connections::new(&options, Purpose::Writing, options.writers);
        let projectors = Connections::new(&options, Purpose::Projecting, options.readers);
        let mut lent = readers.lend().await?;
        migrate::bring_up(&mut lent, &schema, options.migrates).await?;
        match &options.tenant {
            Some(tenant) => wall::check(&mut lent, &schema, tenant).await?,
            None => migrate::check_positions(&mut lent, &schema).await?,
        }
        let durability = durability(&mut lent).await?;
        lent.give_back();
        let shared = Arc::new(Shared {
            lone: lone::statements(&schema),
            simple: simple::statements(&schema),
            append_one: schema.sql(batch::APPEND_ONE).into(),
            horizon_sql: horizon::sql(&schema, options.tenant.as_ref()),
            holder_sql: schema.sql(HOLDER).into(),
            queue: Queue::new(options.queue),
            loads: Loads::default(),
            loads_sql: schema.sql(&loads::sql()).into(),
            from_snapshot_sql: snapshots::from_snapshot_sql(&schema),
            conflicts_sql: schema.sql(&conflicts::sql()).into(),
            horizon: Horizon::new(),
            words: Words::default(),
            metrics: Metrics::new(schema.name()),
            inlined: options.inline.clone().map(Inlined::new),
            durability,
            readers,
            writers,
            projectors,
            schema,
            options,
        });
        let world = &shared.options.world;
        let writer = |_| world.spawn(writer::serve(Arc::clone(&shared)));
        let writers = (0..shared.options.writers).map(writer).collect();
        let readers = vec![
            world.spawn(horizon::serve(Arc::clone(&shared))),
            world.spawn(loads::serve(Arc::clone(&shared))),
        ];
        let (writers, readers) = (Mutex::new(writers), Mutex::new(readers));
        Ok(Self { handle: Arc::new(Handle { shared, writers, readers }) })
    }

    /// Finishes the appends that were asked for, then closes all connections.
    /// Later calls fail with [`Closed`](StoreErrorKind::Closed). Who stops waiting
    /// for it may call it again.
    pub async fn close(&self) {
        let shared = self.shared();
        shared.queue.close();
        end_of(&self.handle.writers).await;
        shared.queue.abandon(&closed());
        // Who appends by itself has one of these.
        shared.writers.all_back().await;
        shared.horizon.close();
        shared.loads.close();
        end_of(&self.handle.readers).await;
        shared.readers.close();
        shared.writers.close();
        shared.projectors.close();
    }

    /// Appends inside a transaction of the caller, together with what the caller
    /// writes there: both are there with its commit, or neither. A refusal leaves
    /// the transaction usable, and nothing of the batch in it; a failure of the
    /// store does not.
    ///
    /// The transaction is one with READ COMMITTED, the default. Until it ends
    /// followers do not see later events either, and nobody else appends to its
    /// streams: keep it short.
    ///
    /// If it changes the rows of [inline models](PostgresOptions::inline), they are part of
    /// the transaction as well, and whoever appends to those models waits for its end. A
    /// call that is dropped half-way leaves a transaction then that cannot be committed.
    /// [`Inline::committed`](es_core::Inline::committed) is not told, as the commit is the
    /// caller's.
    ///
    /// ```no_run
    /// # use es_core::{Batch, StreamId};
    /// # use es_postgres::PostgresStore;
    /// use sqlx::{Connection, PgConnection};
    ///
    /// # async fn place(store: PostgresStore, batch: Batch) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut connection = PgConnection::connect("postgres://localhost/shop").await?;
    /// let mut tx = connection.begin().await?;
    /// sqlx::query("INSERT INTO orders DEFAULT VALUES").execute(&mut *tx).await?;
    /// store.append_in(&mut tx, batch).await?;
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`EventStore::append`], and `Invalid` for a batch with a condition or a
    /// claim, or one that changes rows, in a transaction that is not `READ COMMITTED`:
    /// what was appended since its snapshot would not be seen. After `Busy`, as in a deadlock, all of the
    /// transaction is undone: roll it back and begin anew. After `Unknown` it is
    /// gone.
    pub async fn append_in(
        &self,
        tx: &mut PgConnection,
        batch: Batch,
    ) -> Result<Appended, AppendError> {
        batch.check()?;
        self.shared().allows(batch.tenant())?;
        let shared = self.shared();
        let appended = match shared.inlines(&batch) {
            Some(inlined) => inline::append_in(shared, inlined, tx, &batch).await?,
            None => writer::once(shared, tx, &batch).await?,
        };
        // From now on followers look often, until it is committed.
        self.shared().horizon.wake();
        Ok(appended)
    }

    async fn append_whole(&self, batch: Batch) -> Result<Appended, AppendError> {
        batch.check()?;
        let shared = self.shared();
        shared.allows(batch.tenant())?;
        if let Some(_alone) = shared.queue.overtake(&batch)
            && let Some(lent) = shared.writers.lend_idle()
        {
            return writer::alone(shared, lent, &batch).await;
        }
        shared.queue.append(batch).await
    }

    /// Whose append keeps followers from reading on, if one is under way.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the server cannot be asked; `Invalid` from a store that was
    /// opened for one tenant, as the session may be another one's.
    pub async fn holder(&self) -> Result<Option<Holder>, StoreError> {
        self.shared().allows(None)?;
        horizon::holder(self.shared()).await
    }

    /// What is left of a request that has begun.
    pub(crate) fn rest(&self, reading: Reading) -> Pages {
        let shared = Arc::clone(self.shared());
        Asked { shared, read: None, reading: Some(reading) }.pages()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

impl Shared {
    /// Whether the batch changes rows, as far as is known.
    pub(crate) fn folds(&self, batch: &Batch) -> bool {
        self.inlined.as_ref().is_some_and(|inlined| inlined.folds(batch))
    }

    /// The models that are folded here, if the batch concerns one.
    pub(crate) fn inlines(&self, batch: &Batch) -> Option<&Inlined> {
        self.inlined.as_ref().filter(|inlined| inlined.inline.is_concerned_by(batch))
    }
}

/// Each stays here until it has ended, for whoever asks next.
async fn end_of(tasks: &Tasks) {
    let mut tasks = tasks.lock().await;
    while let Some(task) = tasks.last_mut() {
        task.await;
        tasks.pop();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close();
        self.shared.loads.close();
        self.shared.horizon.close();
    }
}

/// What the server says of itself.
async fn durability(connection: &mut PgConnection) -> Result<Durability, StoreError> {
    const SETTINGS: &str = "SELECT current_setting('fsync') = 'on' \
         AND current_setting('synchronous_commit') <> 'off'";
    let found = query(SETTINGS).fetch_one(connection).await;
    let is_safe = found.and_then(|row| row.try_get(0)).map_err(store_error)?;
    Ok(if is_safe { Durability::Fsync } else { Durability::OsBuffered })
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        let (shared, events) = (self.shared(), batch.len());
        let world = &shared.options.world;
        let begun = Metrics::begin(world);
        let outcome = self.append_whole(batch).await;
        shared.metrics.answered(world, begun, events, &outcome);
        outcome
    }

    fn read(&self, read: Read) -> Pages {
        let shared = Arc::clone(self.shared());
        Asked { shared, read: Some(read), reading: None }.pages()
    }

    async fn read_from_snapshot(&self, stream: &StreamId, snapshots: &dyn Snapshots) -> Snapped {
        snapshots::read_from(self, stream, snapshots).await
    }

    fn follow(&self, read: Read) -> Pages {
        if read.direction == Direction::Backwards || read.limit.is_some() {
            let why = "a follower reads forwards and without a limit";
            let error = StoreError::new(StoreErrorKind::Invalid, why);
            return stream::once(async move { Err(error) }).boxed();
        }
        let shared = Arc::clone(self.shared());
        if let Err(error) = shared.allows(read.tenant.as_ref()) {
            return stream::once(async move { Err(error) }).boxed();
        }
        let following = Following::new(shared, read);
        stream::unfold(following, |mut following| async move {
            let page = following.page().await?;
            Some((page, following))
        })
        .boxed()
    }

    async fn horizon(&self) -> Result<Position, StoreError> {
        Ok(horizon::ask(self.shared()).await?.horizon)
    }

    fn abilities(&self) -> Abilities {
        Abilities::all(self.shared().durability)
    }
}

/// A request that has not been sent yet, or is on its way.
struct Asked {
    shared: Arc<Shared>,
    read: Option<Read>,
    reading: Option<Reading>,
}

impl Asked {
    fn pages(self) -> Pages {
        stream::unfold(self, |mut asked| async move {
            let page = asked.page().await?;
            Some((page, asked))
        })
        .boxed()
    }

    async fn page(&mut self) -> Option<Result<Page, StoreError>> {
        if let Some(read) = self.read.take() {
            if let Err(error) = self.shared.allows(read.tenant.as_ref()) {
                return Some(Err(error));
            }
            if let Some(stream) = loads::whole(&read).cloned() {
                return self.load(read, &stream).await;
            }
            match horizon::of(&self.shared, &read).await {
                Ok(horizon) => {
                    self.reading = Some(Reading::new(&self.shared.schema, read, horizon));
                }
                Err(error) => return Some(Err(error)),
            }
        }
        self.reading.as_mut()?.page(&self.shared).await
    }

    /// The first page of a whole stream.
    async fn load(&mut self, read: Read, stream: &StreamId) -> Option<Result<Page, StoreError>> {
        let shared = &self.shared;
        let entered = shared.loads.enter(stream, read.after_version);
        let mut reading = Reading::new(&shared.schema, read, None);
        let _under_way = match entered {
            Ok(alone) => Some(alone),
            Err(answer) => {
                match answer.await.unwrap_or_else(|_| Err(closed())) {
                    Ok(found) => found.into_iter().for_each(|found| reading.begin(found)),
                    Err(error) => return Some(Err(error)),
                }
                None
            }
        };
        self.reading.insert(reading).page(shared).await
    }
}
