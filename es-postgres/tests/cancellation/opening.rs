use std::{
    cell::RefCell,
    pin::Pin,
    task::{Context, Waker},
};

use es_core::{AppendError, Appended, Batch, EventStore};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{fake, sweep};
use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    private::Watch,
    scene::{assert_serves, distant, told},
};

/// Whatever was made of the tables is gone, until all of them are there.
#[tokio::test]
async fn a_dropped_open_or_migration_leaves_a_schema_that_can_be_opened() {
    let Some((server, _proxy, url)) = distant() else { return };
    let mut watch = Watch::over(&server).await;
    let options = |schema| PostgresOptions::new(&url).schema(schema);

    let migrated = options("migrated");
    let swept = sweep(|_| migrated.migrate(), async |_| watch.settled(0).await).await;
    assert!(swept.drops > 40, "it was only dropped {} times", swept.drops);
    told("migrate", swept).expect("a migration");
    let store = migrated.migrates(false).open().await.expect("a store");
    assert_serves(&store).await;
    store.close().await;

    let open = |_| options("opened").open();
    let swept = sweep(open, async |_| watch.settled(0).await).await;
    assert!(swept.drops > 40, "it was only dropped {} times", swept.drops);
    assert_serves(&told("open", swept).expect("a store")).await;
}

/// Few enough for the budget that tokio gives to a task at once.
const APPENDS: usize = 40;

type Append = BoxFuture<'static, Result<Appended, AppendError>>;

/// What was asked for before is carried out, and no session is left.
#[tokio::test]
async fn a_dropped_close_can_be_made_good_by_another() {
    let Some((server, _proxy, url)) = distant() else { return };
    let mut watch = Watch::over(&server).await;
    let open = async || PostgresStore::open(&url).await.expect("a store");
    let current = RefCell::new((open().await, Vec::<Append>::new()));
    let close = |_| {
        let (store, appends) = &mut *current.borrow_mut();
        appends.extend((0..APPENDS).map(|n| append(store, n)));
        let store = store.clone();
        async move { store.close().await }
    };
    let check = async |_| {
        let store = current.borrow().0.clone();
        let appends = std::mem::take(&mut current.borrow_mut().1);
        store.close().await;
        assert_done(appends);
        watch.settled(0).await;
        current.replace((open().await, Vec::new()));
    };
    told("close", sweep(close, check).await);
    assert_done(current.into_inner().1);
    watch.settled(0).await;
}

/// The store is closed, so that there is nothing to wait for.
fn assert_done(appends: Vec<Append>) {
    for append in appends {
        append.now_or_never().expect("a closed store has answered").expect("an append");
    }
}

/// An append that has begun to wait.
fn append(store: &PostgresStore, n: usize) -> Append {
    let batch = Batch::to(fake::stream(&format!("late-{}", n % 7))).events(fake::events(1));
    let store = store.clone();
    let mut append: Append = async move { store.append(batch).await }.boxed();
    let polled = Pin::new(&mut append).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    append
}
