//! Parts that are taken, renewed and written to at the same time.

use std::time::Duration;

use es_core::{Builds, Checkpoint, Name, Part, StoreErrorKind, Taking};

use crate::{
    log::{Begun, Log, begin, on_a_log, run},
    models::{FENCED, HOUR, Holding, at, kind, part},
};

#[tokio::test]
async fn who_takes_a_part_goes_on_behind_a_commit_that_was_under_way() {
    on_a_log("commit_take", async |log| {
        log.begun(&[1]).await;
        let held = Holding::row(log, 1).await;
        let both = log.in_order(held, || log.begin_commit(1), || log.begin_take("one")).await;
        assert_eq!(both, (Ok(()), Ok(Some(at(1, 5)))));
        assert_eq!(log.begin_commit(1).end().await, FENCED);
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_comes_behind_a_new_owner_is_fenced() {
    on_a_log("take_commit", async |log| {
        log.begun(&[1]).await;
        let held = Holding::part(log, 1).await;
        let both = log.in_order(held, || log.begin_take("one"), || log.begin_commit(1)).await;
        assert_eq!(both, (Ok(Some(at(1, 0))), FENCED));
        assert_eq!((log.rows(1).await, log.checkpoint(&part(1)).await), (0, at(1, 0)));
    })
    .await;
}

/// The lease that the first has is seen by the second, which has begun before.
#[tokio::test]
async fn of_two_that_take_a_part_at_once_one_has_it() {
    on_a_log("two_takes", async |log| {
        log.begun(&[1]).await;
        let held = Holding::part(log, 1).await;
        let both = log.in_order(held, || log.begin_take("one"), || log.begin_take("other")).await;
        assert_eq!(both, (Ok(Some(at(1, 0))), Ok(None)));
    })
    .await;
}

/// Build 1, which `one` had, whose lease has ended.
async fn let_go_by_one(log: &Log) {
    log.begun(&[1]).await;
    let (part, one) = (part(1), Name::from_static("one"));
    let taken = log.store.take(&part, &one, Duration::ZERO, Taking::IfFree);
    assert_eq!(taken.await.expect("an answer"), Some(at(1, 0)));
}

fn begin_renew(log: &Log) -> Begun<Result<Vec<Part>, StoreErrorKind>> {
    let (store, held) = (log.store.clone(), [(part(1), 1)]);
    begin(async move { kind(store.renew(&Name::from_static("one"), &held, HOUR).await) })
}

/// Whoever looks for work waits for none of it.
fn begin_take_idle(log: &Log) -> Begun<Result<Option<Checkpoint>, StoreErrorKind>> {
    let store = log.store.clone();
    let other = Name::from_static("other");
    begin(async move { kind(store.take(&part(1), &other, HOUR, Taking::IfIdle).await) })
}

#[tokio::test]
async fn who_renews_waits_for_nobody_and_has_no_lease_of_a_part_that_is_lost() {
    on_a_log("take_renew", async |log| {
        let_go_by_one(log).await;
        let held = Holding::part(log, 1).await;
        let taking = log.begin_take("other");
        log.until_waiting(1).await;
        assert_eq!(begin_renew(log).end().await, Ok(vec![part(1)]));
        held.let_go().await;
        // The lease is the other's, which a renewal has not given to one.
        assert_eq!(taking.end().await, Ok(Some(at(2, 0))));
        assert_eq!(begin_renew(log).end().await, Ok(vec![]));
        assert_eq!(begin_take_idle(log).end().await, Ok(Some(at(3, 0))));
    })
    .await;
}

#[tokio::test]
async fn a_part_is_not_free_whose_commit_was_under_way_when_its_lease_ended() {
    on_a_log("commit_lease", async |log| {
        log.begun(&[1]).await;
        assert_eq!(log.begin_take("one").end().await, Ok(Some(at(1, 0))));
        let mut session = log.session().await;
        let ended = log.sql("UPDATE {schema}.parts SET until = '-infinity'");
        run(&mut session, &ended).await;
        let held = Holding::row(log, 1).await;
        let committing = log.begin_commit_at(1, at(1, 0));
        log.until_waiting(1).await;
        assert_eq!(begin_take_idle(log).end().await, Ok(None));
        assert_eq!(begin_renew(log).end().await, Ok(vec![part(1)]));
        let taking = log.begin_take("other");
        log.until_waiting(2).await;
        held.let_go().await;
        assert_eq!(committing.end().await, Ok(()));
        // The commit has begun the lease anew.
        assert_eq!(taking.end().await, Ok(None));
    })
    .await;
}
