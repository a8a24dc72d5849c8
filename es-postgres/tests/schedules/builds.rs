//! Commits and changes of one read model at the same time: each is seen by the other, or
//! fenced.
//!
//! Beside ours the functions without their locks run through the same steps, and are
//! caught.

use es_core::{BuildChange, Part, Slices};

use crate::{
    log::{Log, on_a_log},
    models::{BUSY, Both, CHANGE, FENCED, Holding, at, model, part},
};

/// A commit to a build is under way, and build 2 is to answer.
async fn commit_then_serve(log: &Log, commit: u64) -> Both {
    log.begun(&[1, 2]).await;
    let held = Holding::row(log, commit).await;
    log.in_order(held, || log.begin_commit(commit), || log.begin_serve(2)).await
}

#[tokio::test]
async fn who_is_to_answer_has_come_as_far_as_a_commit_that_is_under_way() {
    on_a_log("commit_serve", async |log| {
        assert_eq!(commit_then_serve(log, 1).await, (Ok(()), BUSY));
        assert_eq!(log.looks().await, [(1, true, 1, 1), (2, false, 1, 0)]);
        assert_eq!(log.checkpoint(&part(1)).await, at(0, 5));
    })
    .await;
}

#[tokio::test]
async fn a_build_that_a_commit_has_just_moved_does_not_answer_as_it_was_seen() {
    on_a_log("moved_serve", async |log| {
        assert_eq!(commit_then_serve(log, 2).await, (Ok(()), FENCED));
        assert_eq!(log.looks().await, [(1, true, 1, 0), (2, false, 1, 1)]);
    })
    .await;
}

/// What was committed, and acknowledged, answers no more.
#[tokio::test]
async fn without_locks_a_commit_under_way_is_lost_by_a_swap() {
    on_a_log("commit_serve_bad", async |log| {
        log.without_locks(CHANGE).await;
        assert_eq!(commit_then_serve(log, 1).await, (Ok(()), Ok(())));
        assert_eq!(log.looks().await, [(1, false, 0, 1), (2, true, 1, 0)]);
        assert_eq!(log.checkpoint(&part(2)).await, at(0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_comes_behind_a_swap_is_fenced() {
    on_a_log("serve_commit", async |log| {
        log.begun(&[1, 2]).await;
        let held = Holding::build(log, 1).await;
        let both = log.in_order(held, || log.begin_serve(2), || log.begin_commit(1)).await;
        assert_eq!(both, (Ok(()), FENCED));
        assert_eq!(log.looks().await, [(1, false, 0, 0), (2, true, 1, 0)]);
    })
    .await;
}

async fn two_serves(log: &Log, first: u64, second: u64) -> Both {
    log.begun(&[1, 2, 3]).await;
    let held = Holding::build(log, 1).await;
    log.in_order(held, || log.begin_serve(first), || log.begin_serve(second)).await
}

#[tokio::test]
async fn a_later_build_takes_the_place_of_one_that_takes_the_place_of_the_first() {
    on_a_log("serve_2_3", async |log| {
        assert_eq!(two_serves(log, 2, 3).await, (Ok(()), Ok(())));
        assert_eq!(log.looks().await, [(1, false, 0, 0), (2, false, 0, 0), (3, true, 1, 0)]);
    })
    .await;
}

#[tokio::test]
async fn an_earlier_build_does_not_answer_behind_a_later_one() {
    on_a_log("serve_3_2", async |log| {
        assert_eq!(two_serves(log, 3, 2).await, (Ok(()), FENCED));
        assert_eq!(log.looks().await, [(1, false, 0, 0), (2, false, 0, 0), (3, true, 1, 0)]);
    })
    .await;
}

fn divide() -> BuildChange {
    BuildChange::divide(model(), 1, vec![(Slices::ALL, at(0, 0))], Slices::split(2))
}

async fn commit_then_divide(log: &Log) -> Both {
    log.begun(&[1]).await;
    let held = Holding::row(log, 1).await;
    log.in_order(held, || log.begin_commit(1), || log.begin_change(divide())).await
}

#[tokio::test]
async fn a_part_that_a_commit_has_just_moved_is_not_divided_as_it_was_seen() {
    on_a_log("commit_divide", async |log| {
        assert_eq!(commit_then_divide(log).await, (Ok(()), FENCED));
        assert_eq!(log.checkpoint(&part(1)).await, at(0, 5));
    })
    .await;
}

/// The new parts stand before what was committed, and would fold it a second time.
#[tokio::test]
async fn without_locks_parts_go_back_behind_a_commit_that_was_under_way() {
    on_a_log("commit_divide_bad", async |log| {
        log.without_locks(CHANGE).await;
        assert_eq!(commit_then_divide(log).await, (Ok(()), Ok(())));
        for slices in Slices::split(2) {
            assert_eq!(log.checkpoint(&Part::new(model(), 1, slices)).await, at(1, 0));
        }
        assert_eq!(log.rows(1).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_comes_behind_a_division_is_fenced() {
    on_a_log("divide_commit", async |log| {
        log.begun(&[1]).await;
        let half = "INSERT INTO {schema}.parts \
             (model, build, first_slice, last_slice, epoch, position) \
             VALUES ('model', 1, 0, 511, 0, 0)";
        let held = Holding::these(log, half).await;
        let divided = || log.begin_change(divide());
        let both = log.in_order(held, divided, || log.begin_commit(1)).await;
        assert_eq!(both, (Ok(()), FENCED));
        assert_eq!(log.looks().await, [(1, true, 2, 0)]);
    })
    .await;
}

/// Nothing of it is left, as whoever deletes the rows looks for them afterwards.
#[tokio::test]
async fn a_build_is_discarded_with_what_a_commit_under_way_has_written() {
    on_a_log("commit_discard", async |log| {
        log.begun(&[1, 2]).await;
        let held = Holding::row(log, 2).await;
        let discard = || log.begin_change(BuildChange::discard(model(), 2));
        let both = log.in_order(held, || log.begin_commit(2), discard).await;
        assert_eq!(both, (Ok(()), Ok(())));
        assert_eq!((log.looks().await, log.rows(2).await), (vec![(1, true, 1, 0)], 0));
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_comes_behind_a_discard_is_fenced() {
    on_a_log("discard_commit", async |log| {
        log.begun(&[1, 2]).await;
        log.change(BuildChange::discard(model(), 2)).await;
        log.begun(&[3]).await;
        let held = Holding::these(log, "SELECT FROM {schema}.epochs FOR UPDATE").await;
        let discard = || log.begin_change(BuildChange::discard(model(), 3));
        // What the model had before has an epoch already.
        let commit = || log.begin_commit_at(3, at(1, 0));
        let both = log.in_order(held, discard, commit).await;
        assert_eq!(both, (Ok(()), FENCED));
        assert_eq!((log.looks().await, log.rows(3).await), (vec![(1, true, 1, 0)], 0));
    })
    .await;
}
