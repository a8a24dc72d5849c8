//! Appends that change the rows of a read model, and sessions that end in the middle.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use es_core::{Batch, EventStore, StoreErrorKind};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{fake, servers::PrivatePostgres};
use futures_util::future::join_all;
use sqlx::{Connection, Executor};

use crate::{
    inlined::{Seen, assert_shows, begun, kept, logged, seen},
    kills::TERMINATE,
    load::kind,
    migrating::GRANTS,
    private::{Watch, server},
};

/// A store of a server whose sessions end in this fold, counted from 1.
async fn ending(server: &Arc<PrivatePostgres>, fold: usize) -> PostgresStore {
    let folds = AtomicUsize::new(0);
    ending_when(server, move |_| folds.fetch_add(1, Ordering::SeqCst) + 1 == fold).await
}

/// The same, in each fold of so many events that this says yes to.
async fn ending_when(
    server: &Arc<PrivatePostgres>,
    is_due: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> PostgresStore {
    let ends = Arc::downgrade(server);
    let model = Seen::when_folding(move |events| {
        if is_due(events)
            && let Some(server) = ends.upgrade()
        {
            server.psql(TERMINATE).map_err(|error| error.to_string())?;
        }
        Ok(())
    });
    PostgresOptions::new(server.url()).inline(model).open().await.expect("a store")
}

/// As [`PostgresOptions::migrates`] says.
#[tokio::test]
async fn a_role_that_may_create_nothing_lets_a_model_change_with_each_append() {
    let Some(server) = server(&[]) else { return };
    PostgresOptions::new(server.url()).migrate().await.expect("tables");
    Watch::over(&server).await.run(GRANTS).await;
    let url = server.url().replace("postgres@", "app@");
    let store = PostgresOptions::new(&url).migrates(false).inline(Seen::new()).open().await;
    let store = store.expect("a store");
    store.append(seen("a-1")).await.expect("an append");
    kept(&store).await;
    store.append(seen("a-2")).await.expect("an append that is folded");
    let mut session = sqlx::PgConnection::connect(&url).await.expect("a session");
    session.execute("BEGIN").await.expect("a transaction");
    store.append_in(&mut session, seen("a-3")).await.expect("an append that is folded");
    session.execute("COMMIT").await.expect("a commit");
    assert_shows(&store, 3).await;
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.expect("a transaction");
    let other = fake::event("thing.other").build();
    let other = Batch::to(fake::stream("b-1")).event(other);
    store.append_in(&mut session, other).await.expect("an append");
    session.execute("COMMIT").await.expect("a commit");
    store.close().await;
}

/// The event is written, and its row is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_between_an_append_and_its_rows_leaves_neither() {
    let Some(server) = server(&[]).map(Arc::new) else { return };
    let store = ending(&server, 2).await;
    kept(&store).await;
    store.append(seen("a-1")).await.expect("an append");
    assert_eq!(kind(store.append(seen("a-2")).await), StoreErrorKind::Unknown);
    Watch::over(&server).await.settled(10).await;
    let reader = PostgresStore::open(server.url()).await.expect("a store");
    assert_shows(&reader, 1).await;
    store.append(seen("a-3")).await.expect("an append");
    assert_shows(&reader, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_while_a_model_begins_leaves_it_with_the_workers() {
    let Some(server) = server(&[]).map(Arc::new) else { return };
    let store = ending(&server, 1).await;
    begun(&store).await;
    store.append(seen("a-1")).await.expect("an append");
    let ended = es_core::Builds::keep_inline(&store, &crate::inlined::SEEN).await;
    assert_eq!(ended.map_err(|error| error.kind()), Err(StoreErrorKind::Unknown));
    let reader = PostgresStore::open(server.url()).await.expect("a store");
    reader.append(seen("a-2")).await.expect("an append of a program that knows no model");
    es_core::Builds::keep_inline(&store, &crate::inlined::SEEN).await.expect("a hand-over");
    assert_shows(&reader, 2).await;
}

/// What was acknowledged is shown, what was not is there with its rows or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_crowd_whose_session_ends_each_has_its_rows_or_is_not_there() {
    let Some(server) = server(&[]).map(Arc::new) else { return };
    // How many groups there are is a matter of luck; that there is one is not.
    let has_ended = AtomicBool::new(false);
    let is_due = move |events| events > 1 && !has_ended.swap(true, Ordering::SeqCst);
    let store = ending_when(&server, is_due).await;
    kept(&store).await;
    store.append(seen("first-1")).await.expect("an append");
    let crowd = (0..64).map(|one| {
        let store = store.clone();
        async move { store.append(seen(&format!("crowd-{one}"))).await }
    });
    let outcomes = join_all(crowd).await;
    let acknowledged = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(acknowledged < 64, "no session has ended");
    let reader = PostgresStore::open(server.url()).await.expect("a store");
    let there = logged(&reader).await.len();
    assert!(there > acknowledged, "{there} of {acknowledged} that were acknowledged, and one");
    assert_shows(&reader, there).await;
}
