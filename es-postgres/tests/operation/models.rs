//! The read models of a tenant behind its wall: which build answers everybody sees, and
//! only those who keep the models change it.

use std::time::Duration;

use es_core::{
    BuildChange, Builds, Changes, Lookup, Name, Part, Position, Row, RowId, Rows, Slices,
    StoreErrorKind, Taking, Views,
};
use es_postgres::PostgresStore;

use crate::walled::{Walled, behind_a_wall, tenant};

const TENANTS: [&str; 2] = ["acme", "beta"];

fn model() -> Name {
    Name::from_static("model")
}

fn part(build: u64) -> Part {
    Part::new(model(), build, Slices::ALL)
}

fn row(of: &str, build: u64) -> Row {
    let value = Some(format!("{of} {build}").into());
    Row { id: RowId::new(tenant(of), "one"), value }
}

/// A build with a row for each tenant, one of which is parked as well.
async fn fill(store: &PostgresStore, build: u64) {
    store.change(BuildChange::begin(model(), build)).await.expect("a build");
    let (tx, seen) = store.begin(&part(build)).await.expect("a transaction");
    let changes = Changes::rows(TENANTS.map(|of| row(of, build)));
    let changes = changes.parked(TENANTS.map(|of| row(of, build)));
    let next = seen.at(Position::new(1));
    store.commit(&part(build), tx, changes, seen, next).await.expect("a commit");
}

async fn serve(store: &PostgresStore, build: u64) {
    let (_, seen) = store.begin(&part(build)).await.expect("a checkpoint");
    let serve = BuildChange::serve(model(), build, vec![(Slices::ALL, seen)]);
    store.change(serve).await.expect("a swap");
}

/// By key and by the page, of the model and beside it.
async fn assert_finds_its_own(store: &PostgresStore, of: &str, build: u64) {
    let these = Rows::These(vec![row(of, build).id]);
    let page = Rows::Of { tenant: tenant(of), after: None, limit: 10 };
    for rows in [these, page] {
        let lookup = Lookup::new(model(), rows);
        for lookup in [lookup.clone(), lookup.parked()] {
            assert_eq!(store.rows(lookup).await.expect("rows"), [row(of, build)]);
        }
    }
}

#[tokio::test]
async fn a_store_of_one_tenant_finds_its_own_rows_before_and_after_a_swap() {
    behind_a_wall("swapped", async |walled| {
        let all = walled.of_all().await;
        let stores = [walled.of("acme").await, walled.of("beta").await];
        for build in [1, 2] {
            fill(&all, build).await;
            serve(&all, build).await;
            for (store, of) in stores.iter().zip(TENANTS) {
                assert_finds_its_own(store, of, build).await;
            }
        }
        all.change(BuildChange::discard(model(), 1)).await.expect("a build that is deleted");
        assert_finds_its_own(&stores[0], "acme", 2).await;

        let unchecked = walled.unchecked("acme").await;
        let every = Rows::Every { after: None, limit: 10 };
        let theirs = Rows::Of { tenant: tenant("beta"), after: None, limit: 10 };
        for (rows, found) in [(every, vec![row("acme", 2)]), (theirs, vec![])] {
            assert_eq!(unchecked.rows(Lookup::new(model(), rows)).await.expect("rows"), found);
        }
        for store in stores.into_iter().chain([unchecked, all]) {
            store.close().await;
        }
    })
    .await;
}

/// What the server says to whoever may write no builds and no parts: that there are none,
/// or that they are none of his.
#[tokio::test]
async fn a_role_of_one_tenant_changes_neither_builds_nor_parts_with_any_sql() {
    behind_a_wall("unchanged", async |walled| {
        let all = walled.of_all().await;
        fill(&all, 1).await;
        fill(&all, 2).await;
        // A model that had parts once has an epoch.
        let gone = Name::from_static("gone");
        all.change(BuildChange::begin(gone.clone(), 1)).await.expect("a build");
        all.change(BuildChange::begin(gone.clone(), 2)).await.expect("a build");
        all.change(BuildChange::discard(gone, 2)).await.expect("a build that is deleted");
        let before = all.builds(&[model()]).await.expect("builds");
        finds_nothing_to_change(walled).await;
        may_add_nothing(walled).await;

        let unchecked = walled.unchecked("acme").await;
        let (owner, lease) = (model(), Duration::from_secs(60));
        let taken = unchecked.take(&part(1), &owner, lease, Taking::Anyway).await;
        assert_eq!(taken.expect("an answer"), None);
        assert!(unchecked.renew(&owner, &[(part(1), 0)], lease).await.expect("none").is_empty());
        let (tx, _) = unchecked.begin(&part(1)).await.expect("no checkpoint");
        let (seen, changes) = (before[0].parts[0].checkpoint, Changes::rows([row("acme", 9)]));
        let fenced = unchecked.commit(&part(1), tx, changes, seen, seen).await;
        assert_eq!(fenced.expect_err("no part").kind(), StoreErrorKind::Fenced);
        let begun = unchecked.change(BuildChange::begin(model(), 3)).await;
        assert_eq!(begun.expect_err("a build").kind(), StoreErrorKind::Schema);
        let seen = vec![(Slices::ALL, before[1].parts[0].checkpoint)];
        let served = unchecked.change(BuildChange::serve(model(), 2, seen)).await;
        assert_eq!(served.expect_err("a swap").kind(), StoreErrorKind::Fenced);

        assert_eq!(all.builds(&[model()]).await.expect("builds"), before);
        assert_eq!(walled.count(&walled.worker, "", "epochs").await, 1);
        for store in [unchecked, all] {
            store.close().await;
        }
    })
    .await;
}

async fn finds_nothing_to_change(walled: &Walled) {
    for sql in [
        "UPDATE {schema}.parts SET position = 9, epoch = 9 RETURNING 1",
        "DELETE FROM {schema}.parts RETURNING 1",
        "SELECT 1 FROM {schema}.parts",
        "UPDATE {schema}.epochs SET epoch = 9 RETURNING 1",
        "UPDATE {schema}.builds SET serves = NOT serves RETURNING 1",
        "DELETE FROM {schema}.builds RETURNING 1",
        "SELECT 1 FROM {schema}.builds FOR UPDATE",
        "SELECT 1 FROM {schema}.builds FOR KEY SHARE",
    ] {
        let found = walled.ask(&walled.app, "acme", sql).await.expect(sql);
        assert!(found.is_empty(), "{sql}");
    }
}

async fn may_add_nothing(walled: &Walled) {
    for sql in [
        "INSERT INTO {schema}.builds VALUES ('model', 9, 0, false)",
        "INSERT INTO {schema}.builds VALUES ('model', 1, 0, false) \
         ON CONFLICT (model, number) DO UPDATE SET serves = false",
        "INSERT INTO {schema}.parts VALUES ('model', 1, 0, 9, 0, 0)",
        "INSERT INTO {schema}.epochs VALUES ('model', 9)",
        "TRUNCATE {schema}.parts",
    ] {
        let error = walled.ask(&walled.app, "acme", sql).await.expect_err(sql);
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}");
    }
}
