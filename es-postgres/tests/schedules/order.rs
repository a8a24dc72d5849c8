//! Positions are drawn in one order and committed in another.

use es_core::{Appended, Expected, Version};
use es_postgres::PostgresStore;
use sqlx::PgConnection;

use crate::{
    log::{Gate, Log, begin, begin_append, numbers, on_a_log, pid, run, taken_place, to},
    naive::{HoleWatcher, LocksFirst, Naive},
    ours::{Follower, Poller},
};

#[tokio::test]
async fn an_append_that_commits_after_a_later_one_is_not_skipped() {
    on_a_log("a1", async |log| {
        let mut naive = Naive::after_the_last(log).await;
        let (mut poller, follower) = (Poller::new(&log.store), Follower::of_all(&log.store));

        let held = log.hold(to("a-1")).await;
        log.append("b-1").await;
        naive.poll().await;
        poller.poll().await;
        assert_eq!(poller.positions(), [0; 0]);
        held.commit().await;
        naive.poll().await;
        poller.poll().await;

        assert_eq!(naive.skipped(log).await, [1]);
        poller.assert_whole(log).await;
        follower.assert_whole(log).await;
    })
    .await;
}

#[tokio::test]
async fn transaction_ids_in_another_order_than_positions_do_not_matter() {
    on_a_log("a2", async |log| {
        let mut naive = Naive::older_than_all(log).await;
        let (mut poller, follower) = (Poller::new(&log.store), Follower::of_all(&log.store));

        // An update draws its transaction id before it waits for the row, and its
        // position afterwards.
        log.append("a-1").await;
        let mut blocker = log.session().await;
        let lock = "BEGIN; SELECT FROM {schema}.streams WHERE stream = 'a-1' FOR UPDATE";
        run(&mut blocker, &log.sql(lock)).await;
        let older = begin_append(&log.store, to("a-1").expect(Expected::Exists));
        log.until_blocked_by(pid(&mut blocker).await).await;
        let mut newer = log.hold(to("b-1")).await;
        run(&mut blocker, "ROLLBACK").await;
        let older = older.end().await.expect("an append");
        assert!(older.position > newer.appended.position);

        until_all_are_as_new(log, &mut newer.session).await;
        naive.poll().await;
        poller.poll().await;
        assert_eq!((naive.seen.as_slice(), poller.positions()), ([1, 3].as_slice(), vec![1]));
        newer.commit().await;
        poller.poll().await;
        naive.poll().await;

        assert_eq!(naive.skipped(log).await, [2]);
        poller.assert_whole(log).await;
        follower.assert_whole(log).await;
    })
    .await;
}

/// Waits for transactions of strangers, for which this reader would wait too.
async fn until_all_are_as_new(log: &Log, session: &mut PgConnection) {
    let xid = numbers(session, "SELECT pg_current_xact_id()::text::bigint").await[0];
    let sql = format!("SELECT {xid} <= pg_snapshot_xmin(pg_current_snapshot())::text::bigint");
    log.until("transactions of strangers to end", &sql).await;
}

#[tokio::test]
async fn rows_are_not_read_in_a_snapshot_older_than_the_locks() {
    on_a_log("a3", async |log| {
        let mut naive = Naive::in_one_statement(log, 1).await;
        let (mut poller, follower) = (Poller::new(&log.store), Follower::of_all(&log.store));

        let held = log.hold(to("a-1")).await;
        let first = held.appended.position.get().cast_signed();
        log.append("b-1").await;
        let mut gate = Gate::shut(log, 1).await;
        let polling = begin(async move {
            naive.poll().await;
            naive
        });
        gate.until_somebody_waits(log).await;
        poller.poll().await;
        held.commit().await;
        gate.open().await;
        let mut naive = polling.end().await;
        naive.poll().await;
        poller.poll().await;

        assert_eq!(naive.skipped(log).await, [first]);
        poller.assert_whole(log).await;
        follower.assert_whole(log).await;
    })
    .await;
}

#[tokio::test]
async fn the_last_position_is_not_read_after_the_locks() {
    on_a_log("a3b", async |log| {
        let mut naive = LocksFirst::new(log).await;
        let (mut poller, follower) = (Poller::new(&log.store), Follower::of_all(&log.store));

        naive.look_at_the_locks().await;
        poller.poll().await;
        let held = log.hold(to("a-1")).await;
        let first = held.appended.position.get().cast_signed();
        log.append("b-1").await;
        naive.read().await;
        poller.poll().await;
        held.commit().await;
        naive.look_at_the_locks().await;
        naive.read().await;
        poller.poll().await;

        assert_eq!(naive.skipped(log).await, [first]);
        poller.assert_whole(log).await;
        follower.assert_whole(log).await;
    })
    .await;
}

#[tokio::test]
async fn an_append_that_takes_longer_than_any_poll_is_waited_for_and_named() {
    on_a_log("a4", async |log| {
        let mut naive = HoleWatcher::new(log, Some(5)).await;
        let (mut poller, follower) = (Poller::new(&log.store), Follower::of_all(&log.store));
        let elsewhere = log.another_store().await;
        let other = Follower::of_all(&elsewhere);

        let before = log.append("b-1").await;
        let held = log.hold(to("a-1")).await;
        for _ in 0..20 {
            log.append("b-1").await;
            naive.poll().await;
            poller.poll().await;
        }
        assert_eq!(poller.positions(), [1]);
        for follower in [&follower, &other] {
            follower.until(before.position).await;
            assert_eq!(follower.through(), before.position);
        }
        let later = log.hold(to("c-1")).await;
        let holder = log.store.holder().await.expect("an answer").expect("a holder");
        assert_eq!((holder.pid, holder.state.as_str()), (held.pid, "idle in transaction"));
        later.roll_back().await;
        held.commit().await;
        naive.poll().await;
        poller.poll().await;

        assert_eq!(naive.skipped(log).await, [2]);
        assert_eq!(log.store.holder().await.expect("an answer"), None);
        poller.assert_whole(log).await;
        follower.assert_whole(log).await;
        other.assert_whole(log).await;
        elsewhere.close().await;
    })
    .await;
}

/// Two that have found the version of the stream, and have not written yet.
#[tokio::test]
async fn appends_to_one_stream_come_one_after_the_other() {
    on_a_log("rows", async |log| {
        let follower = Follower::of_all(&log.store);
        log.append("a-1").await;
        let mut place = log.session().await;
        run(&mut place, &log.sql(&taken_place("a-1", 2))).await;
        let first = begin(append_in_a_transaction(log.store.clone(), log.session().await));
        log.until_blocked_by(pid(&mut place).await).await;
        let second = begin(append_in_a_transaction(log.store.clone(), log.session().await));
        log.until_waiting(2).await;
        run(&mut place, "ROLLBACK").await;

        let versions = [first.end().await.version(), second.end().await.version()];
        assert_eq!(versions, [Version::new(2), Version::new(3)]);
        follower.assert_whole(log).await;
    })
    .await;
}

async fn append_in_a_transaction(store: PostgresStore, mut session: PgConnection) -> Appended {
    run(&mut session, "BEGIN").await;
    let appended = store.append_in(&mut session, to("a-1")).await;
    run(&mut session, "COMMIT").await;
    appended.expect("an append at any version")
}
