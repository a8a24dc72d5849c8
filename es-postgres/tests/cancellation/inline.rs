//! Appends that change the rows of a read model.

use es_core::{AppendError, Appended, Batch, Builds, EventStore, Part, Slices, Taking};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::sweep;
use sqlx::{Connection, PgConnection};

use crate::{
    inlined::{SEEN, Seen, assert_shows, kept, logged, seen},
    scene::{SESSIONS, Scene, told},
};

/// A store beside that of the scene, which folds the model.
async fn folding(scene: &Scene) -> PostgresStore {
    let options = PostgresOptions::new(&scene.url).inline(Seen::new());
    let store = options.open().await.expect("a store that opens");
    kept(&store).await;
    store.append(seen("first-1")).await.expect("an append that learns of the model");
    store
}

async fn assert_whole(store: &PostgresStore) {
    assert_shows(store, logged(store).await.len()).await;
}

fn batch(run: usize) -> Batch {
    seen(&format!("swept-{run}"))
}

#[tokio::test]
async fn a_dropped_append_changes_its_rows_or_is_not_there() {
    let Some(mut scene) = Scene::open().await else { return };
    let store = folding(&scene).await;
    let append = |run: usize| store.append(batch(run));
    let swept = sweep(append, async |_| {
        scene.watch.settled(2 * SESSIONS).await;
        assert_whole(&store).await;
        store.append(seen("kept-1")).await.expect("a store that appends");
        assert_whole(&store).await;
    });
    let outcome: Result<Appended, AppendError> = told("append that is folded", swept.await);
    outcome.expect("an append");
    store.close().await;
}

#[tokio::test]
async fn a_dropped_hand_over_is_made_wholly_or_not_at_all() {
    let Some(mut scene) = Scene::open().await else { return };
    let store = folding(&scene).await;
    let (model, part) = (SEEN, Part::new(SEEN, 1, Slices::ALL));
    let end = || store.take(&part, &model, std::time::Duration::ZERO, Taking::Anyway);
    end().await.expect("a part");
    store.append(seen("between-1")).await.expect("an append that is not folded");
    let keep = |_| store.keep_inline(&model);
    let swept = sweep(keep, async |_| {
        scene.watch.settled(2 * SESSIONS).await;
        store.keep_inline(&model).await.expect("a model that is kept with each append");
        assert_whole(&store).await;
        end().await.expect("a part");
        store.append(seen("between-1")).await.expect("an append that is not folded");
    });
    told("hand-over", swept.await).expect("a hand-over");
    store.close().await;
}

/// What is half done cannot be committed.
#[tokio::test]
async fn a_transaction_with_a_dropped_append_has_its_rows_or_is_not_committed() {
    let Some(mut scene) = Scene::open().await else { return };
    let store = folding(&scene).await;
    let connection = PgConnection::connect(&scene.url).await.expect("a session");
    let connection = tokio::sync::Mutex::new(connection);
    say(&mut *connection.lock().await, "BEGIN").await.expect("a transaction");
    let append = |run: usize| {
        let (store, connection) = (&store, &connection);
        async move { store.append_in(&mut *connection.lock().await, batch(run)).await }
    };
    let mut refused = 0;
    let swept = sweep(append, async |run| {
        let mut connection = connection.lock().await;
        if run % 2 == 0 {
            // Nor does another one end what was left.
            let _ = store.append_in(&mut connection, seen("after-1")).await;
        }
        if say(&mut connection, "COMMIT").await.is_err() {
            refused += 1;
        }
        scene.watch.settled(2 * SESSIONS).await;
        assert_whole(&store).await;
        say(&mut connection, "BEGIN").await.expect("a transaction");
    });
    told("append_in that is folded", swept.await).expect("an append");
    assert!(refused > 0, "no append was dropped half-way");
    store.close().await;
}

async fn say(connection: &mut PgConnection, sql: &str) -> sqlx::Result<()> {
    sqlx::query(sql).execute(connection).await.map(drop)
}
