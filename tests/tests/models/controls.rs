//! The same runs with a bug put in: the check has something to tell.

use crate::{
    lives::{Run, WORK, WORK_IN_SQLITE, Way},
    pauses::Pausing,
    place::sqlite,
    truth::check,
};

/// Kills of a run.
const KILLS: u64 = 30;
/// Pauses of a run.
const PAUSES: u64 = 4;

/// Workers that only work, and are killed at these places.
fn lanes(ways: &[Way]) -> Vec<Vec<Way>> {
    vec![ways.to_vec(), ways.to_vec()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_commits_that_ask_for_no_epoch() {
    let place = sqlite().await;
    let pausing = Pausing { place: &place, pauses: PAUSES, flags: &["any-epoch"] };
    let (pauses, appended) = pausing.run().await;
    // Whether it ends well is not asked here.
    let _ = place.settle().await;
    let verdict = check(&place, appended).await;
    println!("{verdict}");
    assert!(pauses.accepted > 0);
    assert!(!verdict.doubled.is_empty(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_checkpoints_that_are_written_before_their_rows() {
    let place = sqlite().await;
    let lanes = lanes(&[Way::work_at("control.between_commits", 20)]);
    let run = Run { place: &place, kills: KILLS, lanes, flags: &["checkpoint-first"] };
    let (kills, appended) = run.run().await;
    let _ = place.settle().await;
    let verdict = check(&place, appended).await;
    println!("{kills}\n{verdict}");
    assert!(!verdict.lost.is_empty(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_a_reaction_that_is_done_before_its_effect() {
    let place = sqlite().await;
    let lanes = lanes(&[WORK, WORK_IN_SQLITE].concat());
    let run = Run { place: &place, kills: KILLS, lanes, flags: &["late"] };
    let (kills, appended) = run.run().await;
    let _ = place.settle().await;
    let verdict = check(&place, appended).await;
    println!("{kills}\n{verdict}");
    assert!(!verdict.undone.is_empty(), "{verdict}");
    assert!(verdict.lost.is_empty() && verdict.doubled.is_empty(), "{verdict}");
}
