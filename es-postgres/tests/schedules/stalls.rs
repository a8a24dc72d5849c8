//! What must not keep followers waiting, and does not.

use es_core::EventStore;

use crate::{
    log::{Log, on_a_log, run, to},
    naive::{HoleWatcher, Naive},
    ours::{Follower, Poller},
};

const ROLLED_BACK: usize = 300;
const KILLED: usize = 20;

#[tokio::test]
async fn appends_that_were_rolled_back_or_killed_stall_nobody() {
    on_a_log("a5", async |log| {
        let mut naive = HoleWatcher::new(log, None).await;
        let follower = Follower::of_all(&log.store);
        let mut session = log.session().await;
        for _ in 0..ROLLED_BACK {
            run(&mut session, "BEGIN").await;
            log.store.append_in(&mut session, to("a-1")).await.expect("an append");
            run(&mut session, "ROLLBACK").await;
        }
        for n in 0..KILLED {
            let held = log.hold(to(&format!("killed-{n}"))).await;
            let kill = format!("SELECT pg_terminate_backend({})", held.pid);
            run(&mut session, &kill).await;
            let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_locks WHERE pid = {})", held.pid);
            log.until("a killed session to be gone", &gone).await;
        }

        let appended = log.append("b-1").await;
        naive.poll().await;
        follower.until(appended.position).await;

        assert_eq!(appended.position.get(), (ROLLED_BACK + KILLED + 1) as u64);
        assert_eq!(naive.seen(), [0; 0], "who waits for every hole waits for ever");
        follower.assert_whole(log).await;
    })
    .await;
}

#[tokio::test]
async fn a_transaction_of_a_stranger_keeps_nobody_waiting() {
    on_a_log("a6", async |log| {
        let mut naive = Naive::older_than_all(log).await;
        let (mut poller, follower) = (Poller::new(&log.store), Follower::of_all(&log.store));
        let elsewhere = log.another_store().await;
        let other = Follower::of_all(&elsewhere);
        let stranger = log.sql(
            "BEGIN; CREATE TABLE {schema}.strange (n int); \
             INSERT INTO {schema}.strange VALUES (1)",
        );
        let mut session = log.session().await;
        run(&mut session, &stranger).await;

        for _ in 0..50 {
            log.append("a-1").await;
            elsewhere.append(to("b-1")).await.expect("an append");
        }
        naive.poll().await;
        poller.poll().await;

        poller.assert_whole(log).await;
        follower.assert_whole(log).await;
        other.assert_whole(log).await;
        assert_eq!(naive.seen, [0; 0], "who waits for all transactions waits for strangers");
        run(&mut session, "COMMIT").await;
        elsewhere.close().await;
    })
    .await;
}

#[tokio::test]
async fn events_from_a_cluster_with_more_transactions_behind_it_are_read() {
    on_a_log("a7", async |log| {
        for n in 0..5 {
            log.append(&format!("a-{n}")).await;
        }
        as_an_older_cluster_noted(log).await;
        let mut naive = Naive::older_than_all_as_noted(log).await;
        let mut poller = Poller::new(&log.store);
        naive.poll().await;
        poller.poll().await;

        assert_eq!(naive.skipped(log).await.len(), 5);
        poller.assert_whole(log).await;
    })
    .await;
}

/// A column of transaction ids, as a dump carries it from cluster to cluster.
async fn as_an_older_cluster_noted(log: &Log) {
    let sql = log.sql(
        "CREATE TABLE {schema}.written_by AS SELECT position, \
             pg_current_xact_id()::text::bigint + 1000000000 AS xid FROM {schema}.events",
    );
    run(&mut log.session().await, &sql).await;
}
