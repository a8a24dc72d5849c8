use es_core::{Build, BuildChange, Builds, Checkpoint, Slices};
use es_postgres::PostgresStore;

use crate::{
    private::Watch,
    scene::Scene,
    views::{begun, of},
};

/// Which builds there are: the number, whether it answers, and how many parts it has.
async fn looks(store: &PostgresStore, run: usize) -> Vec<(u64, bool, usize)> {
    let builds = store.builds(&[of(run)]).await.expect("builds");
    let look = |build: &Build| (build.number, build.serves, build.parts.len());
    builds.iter().map(look).collect()
}

type Look = &'static [(u64, bool, usize)];

/// Drops the change everywhere, and finds the builds as they were or as they become.
async fn sweep(
    scene: &mut Scene,
    name: &str,
    change: impl Fn(usize) -> BuildChange,
    before: Look,
    after: Look,
) {
    let store = scene.store.clone();
    let make = |run: usize| store.change(change(run));
    let check = async |run: usize| {
        let found = looks(&store, run).await;
        assert!(found == before || found == after, "{name}: {found:?}");
    };
    scene.sweep(name, make, check).await.expect("a change");
}

fn seen() -> Vec<(Slices, Checkpoint)> {
    vec![(Slices::ALL, Checkpoint::default())]
}

#[tokio::test]
async fn a_dropped_change_of_the_builds_is_made_wholly_or_not_at_all() {
    let Some(mut scene) = Scene::open().await else { return };
    let mut watch = Watch::over(&scene.server).await;
    begun(&mut watch).await;
    let begin = |run: usize| BuildChange::begin(of(run), 2).parts(Slices::split(4));
    sweep(&mut scene, "begin of a build", begin, &[(1, true, 1)], &[(1, true, 1), (2, false, 4)])
        .await;
    begun(&mut watch).await;
    let divide = |run: usize| BuildChange::divide(of(run), 1, seen(), Slices::split(4));
    sweep(&mut scene, "divide", divide, &[(1, true, 1)], &[(1, true, 4)]).await;

    second(&mut watch).await;
    let serve = |run: usize| BuildChange::serve(of(run), 2, seen());
    let (before, after) = (&[(1, true, 1), (2, false, 1)], &[(1, false, 0), (2, true, 1)]);
    sweep(&mut scene, "serve", serve, before, after).await;
}

/// Build 2 beside the first, and two rows for each of them, one of which is parked.
async fn second(watch: &mut Watch) {
    begun(watch).await;
    watch
        .run(
            "INSERT INTO gesta.builds (model, number, revision, serves)
             SELECT model, 2, 0, false FROM gesta.builds;
             INSERT INTO gesta.parts (model, build, first_slice, last_slice, epoch, position)
             SELECT model, 2, 0, 1023, 0, 0 FROM gesta.parts;
             INSERT INTO gesta.view_rows (model, build, kind, tenant, key, value)
             SELECT model, number, kind, 'default', 'key', '' FROM gesta.builds,
                 generate_series(0, 1) AS kind",
        )
        .await;
}

/// Without parts it is not written to any more; whoever discards it again deletes the
/// rest.
#[tokio::test]
async fn a_dropped_discard_leaves_all_or_a_build_without_parts_to_be_discarded_again() {
    let Some(mut scene) = Scene::open().await else { return };
    let mut watch = Watch::over(&scene.server).await;
    second(&mut watch).await;
    let store = scene.store.clone();
    let discard = |run: usize| store.change(BuildChange::discard(of(run), 2));
    let check = async |run: usize| {
        let count = |build: u64| {
            let model = of(run);
            format!(
                "SELECT count(*) FROM gesta.view_rows WHERE model = '{model}' AND build = {build}"
            )
        };
        let found = looks(&store, run).await;
        let rows = watch.number(&count(2)).await;
        match found[..] {
            [(1, true, 1), (2, false, 1)] => assert_eq!(rows, 2),
            [(1, true, 1), (2, false, 0)] => assert!(rows <= 2),
            _ => assert_eq!((&found[..], rows), (&[(1, true, 1)][..], 0)),
        }
        store.change(BuildChange::discard(of(run), 2)).await.expect("a discard");
        assert_eq!(looks(&store, run).await, [(1, true, 1)]);
        assert_eq!((watch.number(&count(1)).await, watch.number(&count(2)).await), (2, 0));
    };
    scene.sweep("discard", discard, check).await.expect("a discard");
}
