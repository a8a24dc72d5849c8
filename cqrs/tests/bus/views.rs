//! Read models that are rows with a key, and the projector that keeps them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use cqrs::{Commands, Evolve, Keys, ProjectionError, Projector, View};
use es_core::{
    Batch, Build, BuildChange, Builds, Changes, Checkpoint, ContentType, EventStore, EventStoreExt,
    Lookup, Name, NewEvent, Part, Position, Read, Recorded, Row, RowId, Slices, StoreError,
    StoreErrorKind, StreamId, Taking, Tenant, Views, World,
    memory::{MemoryStore, MemoryTx, MemoryViews},
};
use es_sqlite::SqliteStore;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    bank::{AccountEvent, deposit, rename, withdraw},
    faulty::begun,
};

/// What went through each account.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Turnover {
    events: u64,
    paid_in: i64,
    last: Option<String>,
}

impl Evolve for Turnover {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        self.events += 1;
        match event {
            AccountEvent::Deposited { amount } => self.paid_in += amount,
            AccountEvent::Named { name } => self.last = Some(name.clone()),
            _ => {}
        }
    }
}

impl View for Turnover {
    const NAME: &'static str = "turnover";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

/// How often each word was part of a name: rows for each word of an event.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Words {
    times: u64,
}

impl Evolve for Words {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {
        self.times += 1;
    }
}

impl View for Words {
    const NAME: &'static str = "words";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        match event.event {
            AccountEvent::Named { name } => {
                Keys::Many(name.split(' ').map(str::to_owned).collect())
            }
            _ => Keys::None,
        }
    }
}

fn acme() -> Tenant {
    Tenant::new("acme").unwrap()
}

fn projector<V: Views>(store: &(impl EventStore + Clone), views: &V) -> Projector<V> {
    Projector::new(store.clone(), views.clone()).view::<Turnover>().view::<Words>()
}

/// Some of everything, for two tenants, with strangers in between.
async fn fill<S: EventStore + Clone>(store: &S, rounds: i64) {
    let ours = Commands::new(store.clone());
    let theirs = ours.of(acme());
    for round in 0..rounds {
        let account = format!("{}", round % 7);
        ours.send(deposit(&account, round + 1)).await.unwrap();
        theirs.send(deposit(&account, 1_000)).await.unwrap();
        ours.send(withdraw(&account, 1)).await.unwrap();
        ours.send(rename(&account, &format!("name r{round} of a{account}"))).await.unwrap();
        strange(store, "stranger").await;
    }
}

async fn strange<S: EventStore>(store: &S, id: &str) -> Position {
    let id = StreamId::new("stranger", id).unwrap();
    let name = Name::from_static("stranger.seen");
    let event = NewEvent::raw(World::real().event_id(), name, ContentType::BYTES, vec![0, 159]);
    store.append(Batch::to(id).event(event)).await.unwrap().position
}

/// What the models must be: a fold that knows no pages, batches or caches.
async fn expected<S: EventStore>(
    store: &S,
    tenant: &Tenant,
) -> (Vec<(String, Turnover)>, Vec<(String, Words)>) {
    let (mut turnover, mut words) = (BTreeMap::new(), BTreeMap::new());
    for envelope in store.events(Read::all().of(tenant.clone())).await.unwrap() {
        let Some(event) = envelope.decode::<AccountEvent>().unwrap() else { continue };
        let id = envelope.stream.id().to_owned();
        turnover.entry(id).or_insert_with(Turnover::default).evolve(&event);
        if let AccountEvent::Named { name } = &event {
            for word in name.split(' ').collect::<std::collections::BTreeSet<_>>() {
                words.entry(word.to_owned()).or_insert_with(Words::default).times += 1;
            }
        }
    }
    (turnover.into_iter().collect(), words.into_iter().collect())
}

async fn assert_fresh<S: EventStore, V: Views>(store: &S, projector: &Projector<V>) {
    for tenant in [Tenant::default(), acme()] {
        let (turnover, words) = expected(store, &tenant).await;
        let theirs = projector.of(tenant);
        assert_eq!(theirs.all::<Turnover>().await.unwrap(), turnover);
        assert_eq!(theirs.all::<Words>().await.unwrap(), words);
    }
}

async fn catching_up_equals_a_fresh_fold<V: Views>(store: impl EventStore + Clone, views: V) {
    fill(&store, 40).await;
    let one = projector(&store, &views);
    let progress = one.catch_up().await.unwrap();
    assert_eq!((progress.position, progress.behind()), (store.head().await.unwrap(), 0));
    assert_fresh(&store, &one).await;
    fill(&store, 3).await;
    one.catch_up().await.unwrap();
    assert_fresh(&store, &one).await;
    // A second one begins where the first has come to.
    fill(&store, 3).await;
    let other = projector(&store, &views);
    let caught_up = other.catch_up().await.unwrap();
    assert!(caught_up.events <= 15, "{caught_up:?}");
    assert_fresh(&store, &other).await;
    // And a rebuild comes to the same.
    let rebuilt = other.rebuild().await.unwrap();
    assert_eq!(rebuilt.position, store.head().await.unwrap());
    assert_fresh(&store, &other).await;
}

#[tokio::test]
async fn catching_up_and_rebuilding_equal_a_fresh_fold_in_memory() {
    catching_up_equals_a_fresh_fold(MemoryStore::new(), MemoryViews::new()).await;
}

#[tokio::test]
async fn catching_up_and_rebuilding_equal_a_fresh_fold_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    catching_up_equals_a_fresh_fold(store.clone(), store).await;
}

#[tokio::test]
async fn a_model_that_is_waited_for_shows_ones_own_write() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    let one = projector(&store, &store);
    let projecting = one.start();
    let commands = Commands::new(store.clone());
    for amount in 1..=20 {
        let sent = commands.send(deposit("ada", 1)).await.unwrap();
        projecting.wait_for(sent.position).await.unwrap();
        let row = one.get::<Turnover>(&"ada".to_owned()).await.unwrap().unwrap();
        assert_eq!(row.paid_in, amount);
    }
    // An event that no model names counts as shown too.
    let strange = strange(&store, "x").await;
    projecting.wait_for(strange).await.unwrap();
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn a_stopped_projector_goes_on_where_it_was() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let one = projector(&store, &views);
    for _ in 0..10 {
        let projecting = one.start();
        fill(&store, 2).await;
        projecting.wait_for(store.head().await.unwrap()).await.unwrap();
        projecting.stop().await.unwrap();
        fill(&store, 2).await;
    }
    let caught_up = one.catch_up().await.unwrap();
    assert_fresh(&store, &one).await;
    let head = store.head().await.unwrap();
    assert!(caught_up.events <= head.get(), "nothing is handled twice: {caught_up:?}");
}

/// Each time the writer's thread may still commit for the one that stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_projector_may_be_stopped_and_started_in_the_middle_of_its_work() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("bank.db")).await.unwrap();
    let one = projector(&store, &store);
    for round in 0..30 {
        fill(&store, 1).await;
        let projecting = one.start();
        let mut progress = one.progress();
        if round % 2 == 0 {
            let _ = progress.wait_for(|progress| progress.behind() == 0).await;
        }
        let stopped = projecting.stop().await;
        assert!(stopped.is_ok(), "in round {round}: {stopped:?}");
    }
    one.catch_up().await.unwrap();
    assert_fresh(&store, &one).await;
}

#[tokio::test]
async fn a_running_projector_refuses_to_run_twice() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let one = projector(&store, &views);
    let projecting = one.start();
    projecting.wait_for(Position::START).await.unwrap();
    fill(&store, 1).await;
    projecting.wait_for(store.head().await.unwrap()).await.unwrap();
    assert!(matches!(one.catch_up().await, Err(ProjectionError::Running)));
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_projector_takes_over_and_the_first_cannot_write() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    fill(&store, 1).await;
    let (first, second) = (projector(&store, &views), projector(&store, &views));
    let following = first.start();
    following.wait_for(store.head().await.unwrap()).await.unwrap();
    let instead = second.start();
    instead.wait_for(store.head().await.unwrap()).await.unwrap();
    let more = store.head().await.unwrap();
    fill(&store, 1).await;
    let last = store.head().await.unwrap();
    let waited = following.wait_for(last).await;
    assert!(matches!(waited, Err(ProjectionError::Stopped)), "{waited:?}");
    let failure = following.failure().unwrap();
    let fenced = |error: &ProjectionError| matches!(error, ProjectionError::Store(e) if e.kind() == StoreErrorKind::Fenced);
    assert!(fenced(&failure), "{failure}");
    assert!(fenced(&following.stop().await.unwrap_err()));
    assert_eq!(first.progress().borrow().position, more);
    instead.wait_for(last).await.unwrap();
    instead.stop().await.unwrap();
    assert_fresh(&store, &second).await;
}

/// Views where something happens before a part is taken.
#[derive(Clone, Default)]
struct Interrupted {
    inner: MemoryViews,
    before_takes: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>,
}

impl Views for Interrupted {
    type Tx = MemoryTx;

    async fn begin(&self, part: &Part) -> Result<(MemoryTx, Checkpoint), StoreError> {
        self.inner.begin(part).await
    }

    async fn rows(&self, lookup: Lookup) -> Result<Vec<Row>, StoreError> {
        self.inner.rows(lookup).await
    }

    async fn commit(
        &self,
        part: &Part,
        tx: MemoryTx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        self.inner.commit(part, tx, changes, seen, next).await
    }
}

#[async_trait]
impl Builds for Interrupted {
    async fn builds(&self, models: &[Name]) -> Result<Vec<Build>, StoreError> {
        self.inner.builds(models).await
    }

    async fn change(&self, change: BuildChange) -> Result<(), StoreError> {
        self.inner.change(change).await
    }

    async fn take(
        &self,
        part: &Part,
        owner: &Name,
        lease: Duration,
        taking: Taking,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let interruption = self.before_takes.lock().pop();
        if let Some(interruption) = interruption {
            interruption.await;
        }
        self.inner.take(part, owner, lease, taking).await
    }

    async fn renew(
        &self,
        owner: &Name,
        held: &[(Part, u64)],
        lease: Duration,
    ) -> Result<Vec<Part>, StoreError> {
        self.inner.renew(owner, held, lease).await
    }
}

/// The first one moves the checkpoint between the second one's look at it and
/// its taking over.
#[tokio::test]
async fn a_projector_at_work_can_be_taken_over() {
    let store = MemoryStore::new();
    let views = Interrupted::default();
    fill(&store, 1).await;
    let first = projector(&store, &views.inner);
    let following = Arc::new(first.start());
    following.wait_for(store.head().await.unwrap()).await.unwrap();
    let (busy, log) = (Arc::clone(&following), store.clone());
    views.before_takes.lock().push(Box::pin(async move {
        fill(&log, 1).await;
        busy.wait_for(log.head().await.unwrap()).await.unwrap();
    }));
    let second = projector(&store, &views);
    second.catch_up().await.unwrap();
    assert_fresh(&store, &second).await;
    // What the second one has handed over, the first one follows again.
    fill(&store, 1).await;
    following.wait_for(store.head().await.unwrap()).await.unwrap();
    assert_fresh(&store, &first).await;
}

/// What stood in the models comes from an event that only one of two logs has.
#[tokio::test]
async fn a_checkpoint_ahead_of_the_log_halts_and_changes_nothing() {
    let (store, restored, views) = (MemoryStore::new(), MemoryStore::new(), MemoryViews::new());
    fill(&store, 2).await;
    fill(&restored, 1).await;
    projector(&store, &views).catch_up().await.unwrap();
    let one = projector(&restored, &views);
    match one.catch_up().await {
        Err(ProjectionError::Ahead { name, checkpoint, head }) => {
            assert_eq!((name.as_str(), checkpoint.get(), head.get()), ("turnover", 10, 5));
        }
        other => panic!("{other:?}"),
    }
    let projecting = one.start();
    let waited = projecting.wait_for(Position::new(99)).await;
    assert!(matches!(waited, Err(ProjectionError::Stopped)), "{waited:?}");
    assert!(matches!(&*projecting.stop().await.unwrap_err(), ProjectionError::Ahead { .. }));
    assert_fresh(&store, &one).await;
    one.rebuild().await.unwrap();
    assert_fresh(&restored, &one).await;
}

#[tokio::test]
async fn an_event_that_names_a_row_twice_changes_it_once() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let commands = Commands::new(store.clone());
    commands.send(rename("1", "so so")).await.unwrap();
    commands.send(rename("1", "so what")).await.unwrap();
    let one = projector(&store, &views);
    one.catch_up().await.unwrap();
    let so = one.get::<Words>(&"so".to_owned()).await.unwrap().unwrap();
    assert_eq!(so.times, 2);
}

#[tokio::test]
async fn one_tenant_does_not_see_another_ones_rows() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let theirs = Commands::new(store.clone()).of(acme());
    theirs.send(deposit("ada", 5)).await.unwrap();
    let one = projector(&store, &views);
    one.catch_up().await.unwrap();
    assert_eq!(one.get::<Turnover>(&"ada".to_owned()).await.unwrap(), None);
    assert!(one.all::<Turnover>().await.unwrap().is_empty());
    assert!(one.of(acme()).get::<Turnover>(&"ada".to_owned()).await.unwrap().is_some());
}

#[tokio::test]
async fn all_rows_come_in_order_however_many_there_are() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let commands = Commands::new(store.clone());
    for account in 0..2_001 {
        commands.send(deposit(&account.to_string(), 1)).await.unwrap();
    }
    let one = projector(&store, &views);
    one.catch_up().await.unwrap();
    let keys: Vec<_> = one.all::<Turnover>().await.unwrap().into_iter().map(|row| row.0).collect();
    assert_eq!(keys.len(), 2_001);
    assert!(keys.is_sorted_by(|one, next| one < next));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_named_and_stops_the_model() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let name = Name::from_static("turnover");
    let part = Part::new(name.clone(), 1, Slices::ALL);
    views.change(BuildChange::begin(name, 1)).await.unwrap();
    let (tx, seen) = views.begin(&part).await.unwrap();
    let id = RowId::new(Tenant::default(), "ada");
    let broken = Changes::rows([Row { id, value: Some("{".into()) }]);
    views.commit(&part, tx, broken, seen, seen).await.unwrap();
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    let one = projector(&store, &views);
    let broken = |error: &ProjectionError| matches!(error, ProjectionError::Row { view, key, .. } if view == "turnover" && key == "ada");
    assert!(broken(&one.catch_up().await.unwrap_err()));
    assert!(broken(&one.get::<Turnover>(&"ada".to_owned()).await.unwrap_err()));
    one.rebuild().await.unwrap();
    assert_fresh(&store, &one).await;
}

#[tokio::test]
async fn what_will_never_come_is_not_shown_too_early() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    fill(&store, 1).await;
    let projecting = projector(&store, &views).start();
    let beyond = Position::new(store.head().await.unwrap().get() + 1);
    projecting.wait_for(store.head().await.unwrap()).await.unwrap();
    drop(begun(projecting.wait_for(beyond)).await);
    projecting.stop().await.unwrap();
}
