use std::cell::RefCell;

use es_core::{
    AppendError, Appended, Batch, Claim, Criteria, EventStore, EventStoreExt, Expected, Position,
    Read, Task, World, Write,
};
use es_postgres::PostgresStore;
use es_testkit::fake;
use sqlx::{Connection, PgConnection};
use tokio::task::yield_now;

use crate::{private::Watch, scene::Scene};

/// More runs than any append has points where it waits.
const RUNS: usize = 400;

fn lone(run: usize) -> Batch {
    let stream = fake::stream(&format!("lone-{run}"));
    Batch::to(stream).expect(Expected::NoStream).events(fake::events(1))
}

fn several(run: usize) -> Batch {
    let write = |half| {
        let stream = fake::stream(&format!("{half}-{run}"));
        Write::new(stream).expect(Expected::NoStream).events(fake::events(2))
    };
    Batch::new(["one", "two", "three"].map(write))
}

fn pair(run: usize) -> Batch {
    Batch::to(fake::stream(&format!("pair-{run}"))).events(fake::events(2))
}

fn guarded(run: usize) -> Batch {
    let (stream, key) = (fake::stream(&format!("guarded-{run}")), run.to_string());
    let seat = fake::event("seat.taken").tag("seat", &key).correlated("a visit");
    Batch::to(stream.clone())
        .event(seat.build())
        .claim(Claim::take("seat", &key, stream).expect("a claim"))
        .unless(Criteria::tag(fake::tag("seat", &key)), Position::START)
}

fn identified(batch: fn(usize) -> Batch) -> Vec<Batch> {
    (0..RUNS).map(|run| batch(run).append_id(fake::append_id())).collect()
}

/// How many of the events of this batch are in the log: all, or none.
async fn found(store: &PostgresStore, batch: &Batch) -> usize {
    let id = batch.writes[0].append_id.expect("an append id");
    let found = store.events(Read::append(id)).await.expect("a read").len();
    assert!([0, batch.len()].contains(&found), "{found} of {} events", batch.len());
    found
}

async fn assert_once(store: &PostgresStore, batch: &Batch) {
    let before = found(store, batch).await;
    let again: Result<Appended, AppendError> = store.append(batch.clone()).await;
    let again = again.expect("the same append again");
    assert!(again.repeated || before == 0, "it was there, and was made once more");
    assert_eq!(found(store, batch).await, batch.len());
}

impl Scene {
    async fn sweep_appends(&mut self, name: &str, batch: fn(usize) -> Batch) {
        let (store, batches) = (self.store.clone(), identified(batch));
        let append = |run: usize| store.append(batches[run].clone());
        let check = async |run: usize| assert_once(&store, &batches[run]).await;
        let done: Result<Appended, AppendError> = self.sweep(name, append, check).await;
        assert!(!done.expect("an append").repeated);
    }
}

#[tokio::test]
async fn a_dropped_append_is_there_wholly_or_not_at_all() {
    let Some(mut scene) = Scene::open().await else { return };
    scene.sweep_appends("append of an event", lone).await;
    scene.sweep_appends("append to three streams", several).await;
    scene.sweep_appends("append with a claim and a condition", guarded).await;
    sweep_crowd(&mut scene).await;
}

/// Nobody of the crowd is taken along.
async fn sweep_crowd(scene: &mut Scene) {
    let (store, batches) = (scene.store.clone(), identified(pair));
    let crowd = RefCell::new(Vec::new());
    let append = |run: usize| {
        crowd.borrow_mut().extend((0..8).map(|one| member(&store, one)));
        let append = store.append(batches[run].clone());
        async move {
            // The crowd goes first, and so this one waits in the queue.
            yield_now().await;
            append.await
        }
    };
    let check = async |run: usize| {
        for member in crowd.take() {
            assert!(member.await, "an append of the crowd failed");
        }
        assert_once(&store, &batches[run]).await;
    };
    scene.sweep("append in a crowd", append, check).await.expect("an append");
}

fn member(store: &PostgresStore, one: usize) -> Task {
    let store = store.clone();
    World::real().spawn(async move {
        let batch = Batch::to(fake::stream(&format!("crowd-{one}"))).events(fake::events(1));
        store.append(batch).await.expect("an append of the crowd");
    })
}

#[tokio::test]
async fn an_append_shares_the_fate_of_the_dropped_transaction_that_it_is_in() {
    let Some(mut scene) = Scene::open().await else { return };
    scene.watch.run("CREATE TABLE orders (run bigint)").await;
    let (store, url, batches) = (scene.store.clone(), scene.url.clone(), identified(guarded));
    let order = |run: usize| {
        let (store, url, batch) = (&store, &url, batches[run].clone());
        async move {
            let mut connection = PgConnection::connect(url).await?;
            let mut tx = connection.begin().await?;
            insert(&mut tx, run).await?;
            store.append_in(&mut tx, batch).await.expect("an append");
            tx.commit().await
        }
    };
    // One statement sees both: the server may carry out what was dropped when it
    // is looked for already.
    let mut watch = Watch::over(&scene.server).await;
    let check = async |run: usize| {
        let odd = format!(
            "SELECT (SELECT count(*) FROM orders WHERE run = {run}) \
             - (SELECT count(*) FROM gesta.events WHERE stream = 'guarded-{run}')"
        );
        assert_eq!(watch.number(&odd).await, 0, "run {run}");
    };
    scene.sweep("transaction with append_in", order, check).await.expect("an order");
}

#[tokio::test]
async fn a_dropped_append_in_leaves_a_transaction_that_can_be_committed() {
    let Some(mut scene) = Scene::open().await else { return };
    scene.watch.run("CREATE TABLE orders (run bigint)").await;
    let (store, batches) = (scene.store.clone(), identified(several));
    let connection = PgConnection::connect(&scene.url).await.expect("a session");
    let connection = tokio::sync::Mutex::new(connection);
    begin(&mut *connection.lock().await, 0).await.expect("a transaction");
    let append = |run: usize| {
        let (store, connection, batch) = (&store, &connection, batches[run].clone());
        async move {
            let mut connection = connection.lock().await;
            store.append_in(&mut connection, batch).await
        }
    };
    let swept = es_testkit::sweep(append, async |run| {
        let mut connection = connection.lock().await;
        sqlx::query("COMMIT").execute(&mut *connection).await.expect("a commit");
        assert_eq!(ordered(&mut connection, run).await, 1);
        scene.watch.settled(crate::scene::SESSIONS).await;
        assert_once(&store, &batches[run]).await;
        begin(&mut connection, run + 1).await.expect("a transaction");
    });
    crate::scene::told("append_in", swept.await).expect("an append");
}

async fn begin(connection: &mut PgConnection, run: usize) -> sqlx::Result<()> {
    sqlx::query("BEGIN").execute(&mut *connection).await?;
    insert(connection, run).await
}

async fn insert(connection: &mut PgConnection, run: usize) -> sqlx::Result<()> {
    let insert = "INSERT INTO orders VALUES ($1)";
    sqlx::query(insert).bind(run as i64).execute(connection).await.map(drop)
}

async fn ordered(connection: &mut PgConnection, run: usize) -> usize {
    let count = "SELECT count(*) FROM orders WHERE run = $1";
    let count = sqlx::query_scalar(count).bind(run as i64).fetch_one(connection).await;
    usize::try_from(count.unwrap_or(-1_i64)).expect("a count")
}
