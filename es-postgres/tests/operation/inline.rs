//! Where read models cannot change with each append.

use std::time::Duration;

use es_core::{
    Builds, EventStore, Import, ImportError, Part, Slices, StoreError, StoreErrorKind, Taking,
};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::servers::postgres_url;
use futures_util::{StreamExt, stream};

use crate::{
    inlined::{SEEN, Seen, begun, kept, seen},
    scene::{Scene, on_a_log},
    walled::{behind_a_wall, tenant},
};

fn refusal<T>(outcome: Result<T, StoreError>) -> Option<StoreErrorKind> {
    outcome.err().map(|error| error.kind())
}

async fn folding(scene: &Scene) -> PostgresStore {
    let options = PostgresOptions::new(postgres_url()).schema(&scene.schema);
    options.inline(Seen::new()).open().await.expect("the same log again")
}

#[tokio::test]
async fn a_store_of_one_tenant_is_not_opened_with_models() {
    behind_a_wall("inline_tenant", async |walled| {
        let options = walled.by(&walled.app).only_tenant(tenant("acme")).inline(Seen::new());
        assert_eq!(refusal(options.open().await), Some(StoreErrorKind::Invalid));
    })
    .await;
}

/// The sessions of its tenants would not see it.
#[tokio::test]
async fn no_model_begins_behind_a_wall() {
    behind_a_wall("inline_walled", async |walled| {
        let store = walled.by(&walled.worker).inline(Seen::new()).open().await.expect("a store");
        begun(&store).await;
        let kept = store.keep_inline(&SEEN).await;
        assert_eq!(refusal(kept), Some(StoreErrorKind::Unsupported));
        store.append(seen("a-1")).await.expect("an append");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn no_wall_is_raised_around_a_model_that_changes_with_each_append() {
    on_a_log("inline_raised", async |scene| {
        let store = folding(scene).await;
        kept(&store).await;
        let owner = PostgresOptions::new(postgres_url()).schema(&scene.schema);
        let raised = owner.separate_tenants([] as [&str; 0]).await;
        assert_eq!(refusal(raised), Some(StoreErrorKind::Invalid));
        end(&store).await;
        owner.separate_tenants(["postgres"]).await.expect("a wall");
        store.close().await;
    })
    .await;
}

async fn end(store: &PostgresStore) {
    let part = Part::new(SEEN, 1, Slices::ALL);
    let taken = store.take(&part, &SEEN, Duration::ZERO, Taking::Anyway).await;
    taken.expect("an answer").expect("a part");
}

#[tokio::test]
async fn nothing_is_imported_past_a_model_that_changes_with_each_append() {
    on_a_log("inline_import", async |scene| {
        let store = folding(scene).await;
        kept(&store).await;
        let nothing = || stream::empty().boxed();
        let refused = scene.store.import(nothing()).await;
        let is_refused = matches!(&refused, Err(ImportError::Store(error))
            if error.kind() == StoreErrorKind::Invalid);
        assert!(is_refused, "{refused:?}");
        end(&store).await;
        scene.store.import(nothing()).await.expect("an import of nothing");
        store.close().await;
    })
    .await;
}

/// What a model was once costs nothing, and what a program knows is looked up anew.
#[tokio::test]
async fn a_program_learns_that_a_model_has_ended_and_begun_again() {
    on_a_log("inline_learns", async |scene| {
        let store = folding(scene).await;
        kept(&store).await;
        for events in [1, 2, 3] {
            store.append(seen("a-1")).await.expect("an append that is folded");
            end(&store).await;
            store.append(seen("a-1")).await.expect("an append that is not");
            store.append(seen("a-1")).await.expect("an append that is not");
            let other = PostgresOptions::new(postgres_url()).schema(&scene.schema);
            let other = other.inline(Seen::new()).open().await.expect("the same log again");
            other.keep_inline(&SEEN).await.expect("a model that is kept with each append");
            other.close().await;
            crate::inlined::assert_shows(&store, 3 * events).await;
        }
        store.close().await;
    })
    .await;
}
