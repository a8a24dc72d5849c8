//! Free-form projections: model and checkpoint as one.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use cqrs::{Commands, ModelSettings, Poison, Projection, ProjectionError, Projector};
use es_core::{
    Batch, Build, Builds, ContentType, EventStore, EventStoreExt, Name, NewEvent, Position,
    Recorded, World,
    memory::{MemoryStore, MemoryTx, MemoryViews},
};
use es_sqlite::{SqliteStore, SqliteTx};
use parking_lot::Mutex;

use crate::bank::{AccountEvent, deposit, stream};

/// Notes each position that it is given, and refuses one of them.
#[derive(Clone, Default)]
struct Notes {
    committed: Arc<Mutex<Vec<u64>>>,
    refused: Arc<AtomicU64>,
}

impl Projection<MemoryTx> for Notes {
    const NAME: &'static str = "notes";
    type Event = AccountEvent;

    async fn project(
        &self,
        event: Recorded<'_, AccountEvent>,
        tx: &mut MemoryTx,
    ) -> Result<(), ProjectionError> {
        let position = event.position.get();
        if position == self.refused.load(Ordering::Relaxed) {
            return Err(ProjectionError::handler("no such table"));
        }
        let committed = Arc::clone(&self.committed);
        tx.run(move || committed.lock().push(position));
        Ok(())
    }

    async fn reset(&self, tx: &mut MemoryTx) -> Result<(), ProjectionError> {
        let committed = Arc::clone(&self.committed);
        tx.run(move || committed.lock().clear());
        Ok(())
    }
}

/// How far a model has come.
async fn position(views: &impl Builds, model: &'static str) -> Position {
    let builds = views.builds(&[Name::from_static(model)]).await.unwrap();
    builds.iter().find(|build| build.serves).and_then(Build::position).unwrap_or_default()
}

fn pausing() -> ModelSettings {
    ModelSettings::new().on_poison(Poison::Pause)
}

async fn deposits(store: &(impl EventStore + Clone), count: usize) {
    let commands = Commands::new(store.clone());
    for _ in 0..count {
        commands.send(deposit("ada", 1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_handler_that_fails_stops_before_its_event_and_skips_nothing() {
    let (store, views, notes) = (MemoryStore::new(), MemoryViews::new(), Notes::default());
    deposits(&store, 5).await;
    notes.refused.store(4, Ordering::Relaxed);
    let projector = Projector::new(store.clone(), views.clone());
    let projector = projector.projection_with(notes.clone(), pausing());
    let failure = projector.catch_up().await.unwrap_err();
    assert_eq!(failure.to_string(), "the projection failed: no such table");
    assert_eq!(*notes.committed.lock(), [1, 2, 3]);
    assert_eq!(position(&views, "notes").await, Position::new(3));
    notes.refused.store(0, Ordering::Relaxed);
    deposits(&store, 1).await;
    projector.catch_up().await.unwrap();
    assert_eq!(*notes.committed.lock(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_follower_whose_handler_fails_stops_and_tells_why() {
    let (store, views, notes) = (MemoryStore::new(), MemoryViews::new(), Notes::default());
    notes.refused.store(3, Ordering::Relaxed);
    let projector = Projector::new(store.clone(), views);
    let projector = projector.projection_with(notes.clone(), pausing());
    let projecting = projector.start();
    deposits(&store, 2).await;
    projecting.wait_for(Position::new(2)).await.unwrap();
    deposits(&store, 2).await;
    let waited = projecting.wait_for(Position::new(4)).await;
    assert!(matches!(waited, Err(ProjectionError::Stopped)), "{waited:?}");
    assert!(matches!(*projecting.stop().await.unwrap_err(), ProjectionError::Handler(_)));
    assert_eq!(*notes.committed.lock(), [1, 2]);
    notes.refused.store(0, Ordering::Relaxed);
    projector.catch_up().await.unwrap();
    assert_eq!(*notes.committed.lock(), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_stops_the_model_and_is_named() {
    let (store, notes) = (MemoryStore::new(), Notes::default());
    deposits(&store, 2).await;
    let name = Name::from_static("account.deposited");
    let garbage = NewEvent::raw(World::real().event_id(), name, ContentType::JSON, "{");
    store.append(Batch::to(stream("ada")).event(garbage)).await.unwrap();
    let projector = Projector::new(store, MemoryViews::new());
    let projector = projector.projection_with(notes.clone(), pausing());
    match projector.catch_up().await {
        Err(ProjectionError::Event(error)) => {
            let text = error.to_string();
            assert!(text.contains("event 3 of account-ada, at position 3"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(*notes.committed.lock(), [1, 2]);
}

/// A table of sums, with a step that can be made to fail.
#[derive(Clone, Default)]
struct Sums {
    fails: Arc<AtomicU64>,
}

impl Projection<SqliteTx> for Sums {
    const NAME: &'static str = "sums";
    type Event = AccountEvent;

    async fn project(
        &self,
        event: Recorded<'_, AccountEvent>,
        tx: &mut SqliteTx,
    ) -> Result<(), ProjectionError> {
        let (account, position) = (event.stream.id().to_owned(), event.position.get());
        let fails = self.fails.load(Ordering::Relaxed);
        tx.run(move |connection| {
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS sums (account TEXT PRIMARY KEY, sum INTEGER)",
            )?;
            let put = "INSERT INTO sums VALUES (?, 1) ON CONFLICT DO UPDATE SET sum = sum + 1";
            connection.execute(put, [&account])?;
            match fails {
                fails if fails == position => connection.execute_batch("NO SUCH STATEMENT"),
                fails if fails == position + 1_000 => panic!("the step panics, as the test wants"),
                _ => Ok(()),
            }
        });
        Ok(())
    }

    async fn reset(&self, tx: &mut SqliteTx) -> Result<(), ProjectionError> {
        tx.run(|connection| connection.execute_batch("DROP TABLE IF EXISTS sums"));
        Ok(())
    }
}

struct Open {
    folder: tempfile::TempDir,
    store: SqliteStore,
}

impl Open {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
        Self { folder, store }
    }

    fn projector(&self, sums: &Sums) -> Projector<SqliteStore> {
        let projector = Projector::new(self.store.clone(), self.store.clone());
        projector.projection_with(sums.clone(), pausing())
    }

    /// What another program sees in the file.
    fn sum(&self) -> Option<i64> {
        let file = rusqlite::Connection::open(self.folder.path().join("bank.db")).unwrap();
        let sum =
            file.query_row("SELECT sum FROM sums WHERE account = 'ada'", [], |row| row.get(0));
        sum.ok()
    }

    async fn position(&self) -> Position {
        position(&self.store, "sums").await
    }
}

#[tokio::test]
async fn a_model_and_its_checkpoint_are_written_as_one() {
    let open = Open::new().await;
    let projector = open.projector(&Sums::default());
    for round in 1..=5 {
        deposits(&open.store, 3).await;
        projector.catch_up().await.unwrap();
        assert_eq!(open.sum(), Some(3 * round));
        assert_eq!(open.position().await, open.store.head().await.unwrap());
    }
}

#[tokio::test]
async fn a_step_that_fails_leaves_model_and_checkpoint_before_its_event() {
    let (open, sums) = (Open::new().await, Sums::default());
    deposits(&open.store, 5).await;
    sums.fails.store(3, Ordering::Relaxed);
    let projector = open.projector(&sums);
    assert!(matches!(projector.catch_up().await, Err(ProjectionError::Store(_))));
    assert_eq!((open.sum(), open.position().await), (Some(2), Position::new(2)));
    sums.fails.store(0, Ordering::Relaxed);
    projector.catch_up().await.unwrap();
    assert_eq!(open.sum(), Some(5));
}

#[tokio::test]
async fn a_step_that_panics_fails_its_projection_and_nothing_else() {
    let (open, sums) = (Open::new().await, Sums::default());
    deposits(&open.store, 5).await;
    sums.fails.store(1_003, Ordering::Relaxed);
    let projector = open.projector(&sums);
    assert!(matches!(projector.catch_up().await, Err(ProjectionError::Store(_))));
    deposits(&open.store, 1).await;
    assert_eq!((open.sum(), open.position().await), (Some(2), Position::new(2)));
    sums.fails.store(0, Ordering::Relaxed);
    projector.catch_up().await.unwrap();
    assert_eq!(open.sum(), Some(6));
}

#[tokio::test]
async fn a_rebuilt_free_form_model_equals_a_fresh_one() {
    let open = Open::new().await;
    deposits(&open.store, 5).await;
    let projector = open.projector(&Sums::default());
    projector.catch_up().await.unwrap();
    projector.rebuild().await.unwrap();
    assert_eq!(open.sum(), Some(5));
}
