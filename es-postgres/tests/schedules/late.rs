//! Changes of read models that come late, or wait for somebody.

use std::time::Duration;

use es_core::{
    BuildChange, Builds, Changes, Checkpoint, Lookup, Name, Part, Position, Row, RowId, Rows,
    Slices, StoreError, StoreErrorKind, Taking, Tenant, Views,
};
use es_postgres::PostgresStore;
use futures_util::future::{Either, select};

use crate::log::{on_a_log, pid, run};

const LEASE: Duration = Duration::from_secs(60);

fn part(build: u64) -> Part {
    Part::new(Name::new("balances").expect("a name"), build, Slices::ALL)
}

fn begins(build: u64) -> BuildChange {
    BuildChange::begin(part(build).model, build)
}

fn discards(build: u64) -> BuildChange {
    BuildChange::discard(part(build).model, build)
}

fn owner() -> Name {
    Name::new("one").expect("a name")
}

/// Takes the part of the build, and writes this row.
async fn write(store: &PostgresStore, build: u64, key: &str) -> Checkpoint {
    let part = part(build);
    let taken = store.take(&part, &owner(), LEASE, Taking::Anyway).await.expect("an answer");
    let seen = taken.expect("a part");
    let (tx, _) = store.begin(&part).await.expect("a transaction");
    let row = Row { id: RowId::new(Tenant::default(), key), value: Some("7".into()) };
    let next = seen.at(Position::new(seen.position.get() + 1));
    store.commit(&part, tx, Changes::rows([row]), seen, next).await.expect("a commit");
    next
}

async fn keys(store: &PostgresStore, build: u64) -> Vec<String> {
    let every = Rows::Every { after: None, limit: 100 };
    let found = store.rows(Lookup::new(part(build).model, every).in_build(build)).await;
    found.expect("rows").into_iter().map(|row| row.id.key).collect()
}

fn assert_kind<T: std::fmt::Debug>(outcome: Result<T, StoreError>, kind: StoreErrorKind) {
    let is_so = matches!(&outcome, Err(error) if error.kind() == kind);
    assert!(is_so, "{outcome:?} is not {kind:?}");
}

/// Its caller pauses between two of its statements; meanwhile somebody else has discarded
/// the build, and begun another one of that number.
#[tokio::test]
async fn a_discard_that_comes_late_takes_no_row_of_a_build_that_came_back() {
    on_a_log("late_discard", async |log| {
        for build in [1, 2] {
            log.store.change(begins(build)).await.expect("a build");
        }
        write(&log.store, 2, "old").await;
        let elsewhere = log.another_store().await;
        let mut keeper = log.session().await;
        let hold = log.sql("BEGIN; SELECT FROM {schema}.view_rows FOR UPDATE");
        run(&mut keeper, &hold).await;
        let keeper_pid = pid(&mut keeper).await;
        let late = Box::pin(elsewhere.change(discards(2)));
        let blocked = Box::pin(log.until_blocked_by(keeper_pid));
        let Either::Right(((), late)) = select(late, blocked).await else {
            panic!("a discard that did not wait for the row")
        };
        run(&mut keeper, "ROLLBACK").await;
        let gone = log.sql("SELECT NOT EXISTS (SELECT FROM {schema}.view_rows)");
        log.until("the rows to be deleted", &gone).await;

        log.store.change(discards(2)).await.expect("a discard");
        log.store.change(begins(2)).await.expect("a build of the same number");
        write(&log.store, 2, "new").await;
        late.await.expect("a discard that finds nothing left to do");

        assert_eq!(keys(&log.store, 2).await, ["new"]);
        elsewhere.close().await;
    })
    .await;
}

/// What it would wait for is not in a snapshot of before.
#[tokio::test]
async fn a_change_is_refused_where_old_snapshots_are_the_default() {
    on_a_log("old_builds", async |log| {
        log.store.change(begins(1)).await.expect("a build");
        let store = log.with_setting("default_transaction_isolation", "repeatable%5C%20read").await;
        let (mut session, number) = (log.session().await, log.number().await);
        let begin_another = log.sql(&format!(
            "BEGIN; SELECT {{schema}}.change_build({number}, 'begin', 'balances', 2, 0, '{{}}', \
             '{{}}', '{{}}', '{{}}', '{{0}}', '{{1023}}', 0)"
        ));
        run(&mut session, &begin_another).await;
        let beginning = pid(&mut session).await;

        let late = store.clone();
        let late = Box::pin(async move { late.change(begins(2)).await });
        let waits = Box::pin(log.until_blocked_by(beginning));
        let outcome = match select(late, waits).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(((), late)) => {
                run(&mut session, "COMMIT").await;
                late.await
            }
        };
        assert_kind(outcome, StoreErrorKind::Invalid);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_change_that_waits_for_a_part_gives_up_by_itself() {
    on_a_log("held_part", async |log| {
        for build in [1, 2] {
            log.store.change(begins(build)).await.expect("a build");
        }
        let mut keeper = log.session().await;
        let hold = log.sql("BEGIN; SELECT FROM {schema}.parts WHERE build = 1 FOR UPDATE");
        run(&mut keeper, &hold).await;

        let parts = vec![(Slices::ALL, Checkpoint::default())];
        let serve = BuildChange::serve(part(2).model, 2, parts);
        assert_kind(log.store.change(serve.clone()).await, StoreErrorKind::Busy);
        log.until_waiting(0).await;
        run(&mut keeper, "ROLLBACK").await;
        log.store.change(serve).await.expect("a build that answers");
    })
    .await;
}

/// Its server goes on waiting, but not for ever.
#[tokio::test]
async fn whoever_gives_up_on_a_part_leaves_no_session_that_waits() {
    on_a_log("given_up", async |log| {
        log.store.change(begins(1)).await.expect("a build");
        let store = log.impatient_store(Duration::from_secs(2)).await;
        let mut keeper = log.session().await;
        let hold = log.sql("BEGIN; SELECT FROM {schema}.parts FOR UPDATE");
        run(&mut keeper, &hold).await;

        let taken = store.take(&part(1), &owner(), LEASE, Taking::Anyway).await;
        assert!(taken.is_err(), "{taken:?}");
        log.until_waiting(0).await;
        run(&mut keeper, "ROLLBACK").await;
        store.close().await;
    })
    .await;
}
