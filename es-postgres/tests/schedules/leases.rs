//! Parts that are taken, renewed and written to at the same time.

use std::time::Duration;

use es_core::{Builds, Name, Part, StoreErrorKind, Taking};

use crate::{
    log::{Begun, Log, begin, on_a_log},
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

#[tokio::test]
async fn who_has_lost_a_part_meanwhile_does_not_renew_the_lease_of_another() {
    on_a_log("take_renew", async |log| {
        let_go_by_one(log).await;
        let held = Holding::part(log, 1).await;
        let both = log.in_order(held, || log.begin_take("other"), || begin_renew(log)).await;
        assert_eq!(both, (Ok(Some(at(2, 0))), Ok(vec![])));
    })
    .await;
}

#[tokio::test]
async fn a_part_is_not_free_whose_lease_has_just_begun_anew() {
    on_a_log("renew_take", async |log| {
        let_go_by_one(log).await;
        let held = Holding::part(log, 1).await;
        let both = log.in_order(held, || begin_renew(log), || log.begin_take("other")).await;
        assert_eq!(both, (Ok(vec![part(1)]), Ok(None)));
    })
    .await;
}
