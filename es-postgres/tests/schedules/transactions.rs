//! Appends in transactions that are not as simple as one would like.

use es_core::{
    AppendError, Appended, Batch, Criteria, EventStore, Expected, Position, StoreErrorKind,
};
use es_postgres::PostgresStore;
use es_testkit::fake;
use sqlx::PgConnection;

use crate::{
    log::{begin, on_a_log, run, to},
    ours::Follower,
};

fn take_seat(stream: &str) -> Batch {
    let taken = fake::event("seat.taken").tag("seat", "1").build();
    let criteria = Criteria::tag(fake::tag("seat", "1"));
    Batch::to(fake::stream(stream)).event(taken).unless(criteria, Position::START)
}

fn assert_kind<T: std::fmt::Debug>(outcome: Result<T, AppendError>, kind: StoreErrorKind) {
    let is_so = matches!(&outcome, Err(AppendError::Store(error)) if error.kind() == kind);
    assert!(is_so, "{outcome:?} is not {kind:?}");
}

#[tokio::test]
async fn a_condition_is_refused_in_a_snapshot_that_is_older_than_the_locks() {
    on_a_log("old", async |log| {
        let mut session = log.session().await;
        run(&mut session, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
            .await;
        log.store.append_in(&mut session, to("a-1")).await.expect("an append without condition");
        log.append("seats-1").await;
        let first = log.hold(take_seat("guest-1")).await;
        first.commit().await;

        let outcome = log.store.append_in(&mut session, take_seat("guest-2")).await;
        assert_kind(outcome, StoreErrorKind::Invalid);
        run(&mut session, "COMMIT").await;
        assert_eq!(log.positions().await.len(), 3);
    })
    .await;
}

#[tokio::test]
async fn a_condition_is_refused_where_old_snapshots_are_the_default() {
    on_a_log("old_default", async |log| {
        let store = log.with_setting("default_transaction_isolation", "serializable").await;
        let held = log.hold(take_seat("guest-1")).await;
        assert_kind(store.append(take_seat("guest-2")).await, StoreErrorKind::Invalid);
        held.commit().await;
        store.append(to("a-1")).await.expect("an append without condition");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_refused_append_in_an_open_transaction_keeps_nobody_waiting() {
    on_a_log("refused", async |log| {
        let follower = Follower::of_all(&log.store);
        log.append("a-1").await;
        let mut session = log.session().await;
        run(&mut session, "BEGIN; SELECT pg_current_xact_id()").await;
        let outcome = log.store.append_in(&mut session, to("a-1").expect(Expected::NoStream)).await;
        assert!(matches!(outcome, Err(AppendError::Conflict(_))), "{outcome:?}");

        log.append("b-1").await;
        follower.assert_whole(log).await;
        assert_eq!(log.store.holder().await.expect("an answer"), None);
        log.store.append_in(&mut session, to("a-1")).await.expect("a usable transaction");
        run(&mut session, "COMMIT").await;
        follower.assert_whole(log).await;
    })
    .await;
}

#[tokio::test]
async fn of_transactions_in_a_deadlock_one_is_told_to_try_again() {
    on_a_log("deadlock", async |log| {
        let follower = Follower::of_all(&log.store);
        let (one, other) = (log.hold(to("a-1")).await, log.hold(to("b-1")).await);
        let pid = other.pid;
        let one = begin(append_and_end(log.store.clone(), one.session, "b-1"));
        log.until_blocked_by(pid).await;
        let other = begin(append_and_end(log.store.clone(), other.session, "a-1"));

        let (one, other) = (one.end().await, other.end().await);
        let (lost, won) = if one.is_ok() { (other, one) } else { (one, other) };
        won.expect("the other one appends");
        assert_kind(lost, StoreErrorKind::Busy);
        follower.assert_whole(log).await;
        assert_eq!(log.positions().await.len(), 2);
    })
    .await;
}

async fn append_and_end(
    store: PostgresStore,
    mut session: PgConnection,
    stream: &str,
) -> Result<Appended, AppendError> {
    let outcome = store.append_in(&mut session, to(stream)).await;
    run(&mut session, if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" }).await;
    outcome
}
