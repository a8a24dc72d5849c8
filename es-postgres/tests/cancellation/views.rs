use std::{sync::Arc, time::Duration};

use es_core::{
    Builds, Changes, Checkpoint, Lookup, Name, Part, Position, Row, RowId, Rows, Slices,
    StoreError, Taking, Tenant, Views,
};
use es_postgres::{PostgresStore, PostgresTx};
use sqlx::query;
use tokio::sync::Mutex;

use crate::{private::Watch, scene::Scene};

/// More than any sweep needs.
pub(crate) const RUNS: usize = 400;

/// Each run has a model of its own: the server may carry out what was dropped when it is
/// looked for already.
pub(crate) fn of(run: usize) -> Name {
    Name::new(format!("view-{run}")).expect("a name")
}

pub(crate) fn part(run: usize) -> Part {
    Part::new(of(run), 1, Slices::ALL)
}

/// Build 1 of each run's model, in one part that has not moved; nothing else is there.
pub(crate) async fn begun(watch: &mut Watch) {
    let last = RUNS - 1;
    let sql = format!(
        "TRUNCATE gesta.builds, gesta.parts, gesta.epochs, gesta.view_rows;
         INSERT INTO gesta.builds (model, number, revision, serves)
         SELECT 'view-' || n, 1, 0, true FROM generate_series(0, {last}) AS n;
         INSERT INTO gesta.parts (model, build, first_slice, last_slice, epoch, position)
         SELECT 'view-' || n, 1, 0, 1023, 0, 0 FROM generate_series(0, {last}) AS n"
    );
    watch.run(&sql).await;
}

pub(crate) fn rows(count: i64) -> Vec<Row> {
    let row = |n: i64| Row {
        id: RowId::new(Tenant::default(), n.to_string()),
        value: Some(vec![1; 100].into()),
    };
    (0..count).map(row).collect()
}

fn step(run: usize) -> query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments> {
    sqlx::query("INSERT INTO effects VALUES ($1)").bind(run as i64)
}

/// Effects, rows, what is parked and the checkpoint in one number, as one statement sees
/// them.
fn kept(run: usize) -> String {
    let view = of(run);
    format!(
        "SELECT (SELECT count(*) FROM effects WHERE run = {run}) * 1000000 \
         + (SELECT count(*) FROM gesta.view_rows WHERE model = '{view}') * 1000 \
         + (SELECT position FROM gesta.parts WHERE model = '{view}')"
    )
}

pub(crate) fn next() -> Checkpoint {
    Checkpoint { epoch: 1, position: Position::new(9) }
}

/// How a transaction of a projection is filled.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    rows: i64,
    parked: i64,
    steps: bool,
    connection: bool,
}

const NOTHING: Work =
    Work { name: "of a checkpoint", rows: 0, parked: 0, steps: false, connection: false };

const WORKS: [Work; 6] = [
    NOTHING,
    Work { name: "of rows", rows: 20, ..NOTHING },
    Work { name: "of what is parked", parked: 20, ..NOTHING },
    Work { name: "of steps", steps: true, ..NOTHING },
    Work { name: "of what the connection did", connection: true, ..NOTHING },
    Work { name: "of all of it", rows: 20, parked: 20, steps: true, connection: true },
];

impl Work {
    async fn done(self, store: &PostgresStore, run: usize) -> Result<(), StoreError> {
        let (mut tx, seen) = store.begin(&part(run)).await?;
        if self.steps {
            tx.run(step(run));
        }
        if self.connection {
            let connection = tx.connection().await?;
            step(run).execute(connection).await.expect("a step");
        }
        let changes = Changes::rows(rows(self.rows)).parked(rows(self.parked));
        store.commit(&part(run), tx, changes, seen, next()).await
    }

    /// As [`kept`] counts it.
    fn whole(self) -> i64 {
        let effects = i64::from(self.steps) + i64::from(self.connection);
        effects * 1_000_000 + (self.rows + self.parked) * 1_000 + 9
    }
}

#[tokio::test]
async fn a_dropped_commit_of_a_view_is_there_wholly_or_not_at_all() {
    let Some(mut scene) = Scene::open().await else { return };
    let mut watch = Watch::over(&scene.server).await;
    watch.run("CREATE TABLE effects (run bigint)").await;
    let store = scene.store.clone();
    for work in WORKS {
        watch.run("TRUNCATE effects").await;
        begun(&mut watch).await;
        let commit = |run: usize| work.done(&store, run);
        let check = async |run: usize| {
            let (found, whole) = (watch.number(&kept(run)).await, work.whole());
            assert!([0, whole].contains(&found), "{found}, not {whole}");
        };
        let done = scene.sweep(&format!("commit {}", work.name), commit, check).await;
        done.expect("a commit");
    }
}

/// Whatever becomes of the checkpoint becomes of the steps, if the caller goes
/// on with a transaction after it has stopped waiting for it.
#[tokio::test]
async fn a_checkpoint_never_moves_without_the_steps_that_were_dropped() {
    let Some(mut scene) = Scene::open().await else { return };
    let mut watch = Watch::over(&scene.server).await;
    watch.run("CREATE TABLE effects (run bigint)").await;
    begun(&mut watch).await;
    let store = scene.store.clone();
    let txs: Vec<Arc<Mutex<Option<PostgresTx>>>> = (0..RUNS).map(|_| Arc::default()).collect();
    for tx in &txs {
        *tx.lock().await = Some(store.begin(&part(0)).await.expect("a transaction").0);
    }
    let connect = |run: usize| {
        let tx = Arc::clone(&txs[run]);
        async move {
            let mut tx = tx.lock().await;
            let tx = tx.as_mut().expect("a transaction");
            tx.run(step(run));
            tx.run(step(run));
            tx.connection().await.map(drop)
        }
    };
    let check = async |run: usize| {
        let tx = txs[run].lock().await.take().expect("a transaction");
        let seen = Checkpoint::default();
        let committed = store.commit(&part(run), tx, Changes::default(), seen, next()).await;
        let (_, found) = store.begin(&part(run)).await.expect("a checkpoint");
        assert_eq!(found == next(), committed.is_ok());
        let count = format!("SELECT count(*) FROM effects WHERE run = {run}");
        let effects = watch.number(&count).await;
        // The first was dropped before it was given any.
        assert_eq!(effects, if committed.is_ok() && run > 0 { 2 } else { 0 }, "run {run}");
    };
    // The open transaction of a run is looked at before it is committed.
    let swept = es_testkit::sweep(connect, check).await;
    crate::scene::told("connection of a transaction", swept).expect("a connection");
    drop(txs);
    scene.watch.settled(crate::scene::SESSIONS).await;
}

#[tokio::test]
async fn a_dropped_look_at_a_view_leaves_nothing_behind() {
    let Some(mut scene) = Scene::open().await else { return };
    begun(&mut Watch::over(&scene.server).await).await;
    let (store, part) = (scene.store.clone(), part(0));
    let (tx, seen) = store.begin(&part).await.expect("a transaction");
    store.commit(&part, tx, Changes::rows(rows(20)), seen, next()).await.expect("a commit");

    let begun = scene.sweep("begin", |_| store.begin(&part), async |_| {}).await;
    assert_eq!(begun.expect("a transaction").1, next());
    let builds =
        scene.sweep("builds", |_| async { store.builds(&[of(0)]).await }, async |_| {}).await;
    assert_eq!(builds.expect("builds")[0].parts[0].checkpoint, next());
    let ids = rows(20).into_iter().map(|row| row.id).collect();
    let page = Rows::Of { tenant: Tenant::default(), after: None, limit: 1_000 };
    for look in [page, Rows::These(ids), Rows::Every { after: None, limit: 1_000 }] {
        let lookup = || Lookup::new(of(0), look.clone());
        let found = scene.sweep("rows", |_| store.rows(lookup()), async |_| {}).await;
        assert_eq!(found.expect("rows").len(), 20);
    }
}

/// A part has an owner and the epoch that he has raised, or neither; and a lease that
/// begins anew, or the old one.
#[tokio::test]
async fn a_dropped_lease_is_taken_and_renewed_wholly_or_not_at_all() {
    const LEASE: Duration = Duration::from_secs(3_600);
    let Some(mut scene) = Scene::open().await else { return };
    let mut watch = Watch::over(&scene.server).await;
    begun(&mut watch).await;
    let (store, owner) = (scene.store.clone(), Name::from_static("owner"));
    let is_so = |run: usize, what: &str| {
        format!("SELECT ({what})::integer::bigint FROM gesta.parts WHERE model = '{}'", of(run))
    };
    let take = |run: usize| {
        let (store, owner) = (&store, &owner);
        async move { store.take(&part(run), owner, LEASE, Taking::IfFree).await }
    };
    let check = async |run: usize| {
        const WHOLE: &str = "epoch = CASE WHEN owner = 'owner' THEN 1 ELSE 0 END \
             AND (owner IS NOT NULL) = (until > now()) \
             AND (owner IS NOT NULL) = (lease > interval '0')";
        assert_eq!(watch.number(&is_so(run, WHOLE)).await, 1);
    };
    let taken = scene.sweep("take", take, check).await;
    assert_eq!(taken.expect("an answer").map(|taken| taken.epoch), Some(1));

    watch.run("UPDATE gesta.parts SET owner = 'owner', epoch = 1, until = 'epoch'").await;
    let renew = |run: usize| {
        let (store, owner) = (&store, &owner);
        async move { store.renew(owner, &[(part(run), 1)], LEASE * 2).await }
    };
    let check = async |run: usize| {
        const WHOLE: &str = "(until > now()) = (lease = interval '2 hours') AND epoch = 1";
        assert_eq!(watch.number(&is_so(run, WHOLE)).await, 1);
    };
    let renewed = scene.sweep("renew", renew, check).await;
    assert_eq!(renewed.expect("an answer").len(), 1);
}
