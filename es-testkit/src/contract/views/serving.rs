//! One build takes the place of another, in one moment.

use es_core::{BuildChange, Changes, Lookup, Position, Row, Rows, Slices, StoreErrorKind, Views};
use futures_util::FutureExt;
use tokio::join;

use super::scene::{FENCED, HOUR, Models, at, every, id, name, row, seen};
use crate::contract::run::together;

const BUSY: StoreErrorKind = StoreErrorKind::Busy;

/// Two builds with a row each, both at position 1.
async fn two_builds<V: Views>(models: &Models<V>, model: &str) {
    for (number, value) in [(1, "old"), (2, "new")] {
        let part = models.begun(model, number).await;
        models.wrote(&part, Changes::rows([row("a", value)]).parked([row("x", value)])).await;
    }
}

/// Before the swap the one, after it the other; by its number each of them.
pub async fn a_lookup_without_a_build_finds_the_one_that_answers<V: Views>(models: &Models<V>) {
    two_builds(models, "m").await;
    for (serving, value) in [(1, "old"), (2, "new")] {
        models.served("m", serving).await;
        assert_eq!(models.serving("m").await, [serving]);
        for rows in [
            Rows::These(vec![id("a"), id("x")]),
            Rows::Of { tenant: id("a").tenant, after: None, limit: 9 },
            Rows::Every { after: None, limit: 9 },
        ] {
            let lookup = Lookup::new(name("m"), rows);
            assert_eq!(models.find(lookup.clone()).await, [row("a", value)]);
            assert_eq!(models.find(lookup.clone().parked()).await, [row("x", value)]);
            assert_eq!(models.find(lookup.clone().in_build(1)).await, [row("a", "old")]);
            assert_eq!(models.find(lookup.in_build(2)).await, [row("a", "new")]);
        }
    }
}

/// A build may answer that has come further than the one before it.
pub async fn a_build_that_has_come_further_may_answer<V: Views>(models: &Models<V>) {
    let old = models.begun("m", 1).await;
    let new = models.begun_in("m", 2, 2).await;
    models.moved(&old, 5).await;
    models.moved(&new[0], 5).await;
    models.moved(&new[1], 8).await;
    models.served("m", 2).await;
    assert_eq!(models.serving("m").await, [2]);
}

/// A build does not answer if one of its parts is behind any of the one that does.
pub async fn a_build_that_is_behind_does_not_answer<V: Views>(models: &Models<V>) {
    let (old, new) = (models.begun_in("m", 1, 2).await, models.begun_in("m", 2, 2).await);
    models.moved(&old[1], 5).await;
    models.moved(&new[0], 9).await;
    models.moved(&new[1], 4).await;
    let before = models.every_build("m").await;
    let refusal = models.serve("m", 2).await;
    assert_eq!(refusal.map_err(|e| e.kind()), Err(BUSY));
    assert_eq!(models.every_build("m").await, before);
    models.moved(&new[1], 5).await;
    models.served("m", 2).await;
}

/// A build answers only as it was seen: who divides or moves it meanwhile is
/// looked at again.
pub async fn a_build_that_is_not_as_seen_does_not_answer<V: Views>(models: &Models<V>) {
    models.begun("m", 1).await;
    let parts = models.begun_in("m", 2, 2).await;
    models.moved(&parts[0], 3).await;
    models.took(&parts[1], "worker", HOUR).await;
    let (one, two) = (parts[0].slices, parts[1].slices);
    let before = models.every_build("m").await;
    for wrong in [
        vec![],
        vec![(one, at(0, 3))],
        vec![(one, at(0, 3)), (two, at(0, 0))],
        vec![(one, at(0, 2)), (two, at(1, 0))],
        vec![(one, at(0, 4)), (two, at(1, 0))],
        vec![(two, at(1, 0)), (two, at(1, 0))],
        vec![(one, at(0, 3)), (two, at(1, 0)), (Slices::ALL, at(0, 0))],
        vec![(Slices::ALL, at(0, 0))],
    ] {
        let change = BuildChange::serve(name("m"), 2, wrong.clone());
        assert_eq!(models.refused(change).await, FENCED, "{wrong:?}");
    }
    let unknown = BuildChange::serve(name("m"), 3, vec![]);
    assert_eq!(models.refused(unknown).await, FENCED);
    assert_eq!(models.serving("m").await, [1]);
    let after = models.every_build("m").await;
    assert_eq!(
        after.iter().map(seen).collect::<Vec<_>>(),
        before.iter().map(seen).collect::<Vec<_>>()
    );
    models.must(BuildChange::serve(name("m"), 2, vec![(two, at(1, 0)), (one, at(0, 3))])).await;
}

/// A log that was restored from an older copy ends before what the old build shows: that
/// need not be reached. What is on the log must be.
pub async fn what_is_beyond_the_log_need_not_be_reached<V: Views>(models: &Models<V>) {
    let old = models.begun_in("m", 1, 2).await;
    models.moved(&old[0], 9).await;
    models.moved(&old[1], 4).await;
    let new = models.begun("m", 2).await;
    models.moved(&new, 3).await;
    let of_log = |end| {
        let parts = vec![(Slices::ALL, at(0, 3))];
        BuildChange::serve(name("m"), 2, parts).of_log(Position::new(end))
    };
    for end in [9, 8, 4] {
        assert_eq!(models.refused(of_log(end)).await, StoreErrorKind::Busy, "{end}");
    }
    models.must(of_log(3)).await;
    assert_eq!(models.serving("m").await, [2]);
}

/// Who was not told that the swap succeeded may ask for it again.
pub async fn a_build_that_answers_may_be_served_again<V: Views>(models: &Models<V>) {
    models.begun("m", 1).await;
    let parts = models.begun_in("m", 2, 2).await;
    models.moved(&parts[0], 3).await;
    models.served("m", 2).await;
    let before = models.every_build("m").await;
    models.served("m", 2).await;
    assert_eq!(models.every_build("m").await, before);
}

/// The build that answered and those before it have no parts any more; a later one
/// keeps them. None of those comes back.
pub async fn a_build_that_was_replaced_has_no_parts<V: Views>(models: &Models<V>) {
    for number in 1..=4 {
        models.begun_in("m", number, 2).await;
    }
    models.served("m", 3).await;
    let builds = models.every_build("m").await;
    let parts: Vec<_> = builds.iter().map(|build| (build.number, build.parts.len())).collect();
    assert_eq!(parts, [(1, 0), (2, 0), (3, 2), (4, 2)]);
    assert_eq!(models.refused(BuildChange::serve(name("m"), 2, vec![])).await, FENCED);
    assert_eq!(models.serving("m").await, [3]);
}

/// Who kept the old build writes nothing any more, and holds nothing (B17).
pub async fn whoever_kept_a_replaced_build_is_fenced<V: Views>(models: &Models<V>) {
    two_builds(models, "m").await;
    let old = models.build("m", 1).await.part(Slices::ALL);
    let mine = models.took(&old, "old", HOUR).await;
    models.served("m", 2).await;
    let changes = Changes::rows([row("a", "late")]).parked([row("x", "late")]);
    let late = models.write(&old, changes, mine, at(1, 2)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(FENCED));
    assert_eq!(models.find(every("m").in_build(1)).await, [row("a", "old")]);
    assert_eq!(models.find(every("m")).await, [row("a", "new")]);
    assert_eq!(models.tries(&old, "old", HOUR).await, None);
    let held = models.renew(&name("old"), &[(old, mine.epoch)], HOUR).await;
    assert_eq!(held.expect("an answer"), []);
}

/// A swap touches no other model.
pub async fn a_swap_touches_no_other_model<V: Views>(models: &Models<V>) {
    for model in ["m", "other"] {
        two_builds(models, model).await;
    }
    let before = models.every_build("other").await;
    models.served("m", 2).await;
    assert_eq!(models.every_build("other").await, before);
    assert_eq!(models.find(every("other")).await, [row("a", "old")]);
}

/// What is committed to the old build is not lost: either the swap comes first, and
/// the commit is fenced, or the new build is behind.
pub async fn a_swap_and_a_commit_to_the_old_build_do_not_both_succeed<V: Views>(
    models: &Models<V>,
) {
    for round in 0..40 {
        let model = format!("m-{round}");
        two_builds(models, &model).await;
        let parts = seen(&models.build(&model, 2).await);
        let old = models.build(&model, 1).await.part(Slices::ALL);
        let (committing, swapping) = (models.share(), models.share());
        let commit = async move {
            let (tx, seen) = committing.begin(&old).await.expect("a transaction");
            let changes = Changes::rows([row("a", "older")]);
            committing.commit(&old, tx, changes, seen, at(0, 2)).await.map_err(|e| e.kind())
        };
        let change = BuildChange::serve(name(&model), 2, parts);
        let swap = async move { swapping.change(change).await.map_err(|e| e.kind()) };
        let outcomes = together([commit.boxed(), swap.boxed()]).await;
        match (outcomes[0], outcomes[1]) {
            (Ok(()), Err(BUSY)) | (Err(FENCED), Ok(())) => {}
            both => panic!("commit and swap: {both:?}"),
        }
    }
}

/// Whoever swaps at once, one build answers afterwards, and has parts.
pub async fn of_builds_that_are_served_at_once_one_answers<V: Views>(models: &Models<V>) {
    for round in 0..10 {
        let model = format!("m-{round}");
        for number in 1..=5 {
            models.begun_in(&model, number, 2).await;
        }
        let serve = |number| {
            let (models, model) = (models.share(), name(&model));
            let parts = Slices::split(2).into_iter().map(|slices| (slices, at(0, 0)));
            let change = BuildChange::serve(model, number, parts.collect());
            async move { models.change(change).await.map_err(|e| e.kind()) }
        };
        let outcomes = together((1..=5).map(serve)).await;
        assert!(outcomes.iter().all(|one| matches!(one, Ok(()) | Err(FENCED))), "{outcomes:?}");
        let serving = models.serving(&model).await;
        assert_eq!(serving.len(), 1, "{outcomes:?}");
        assert_eq!(models.build(&model, serving[0]).await.parts.len(), 2);
    }
}

/// A lookup sees all of one build, never some of each, while builds change places
/// and the old ones are discarded.
pub async fn a_lookup_during_a_swap_finds_one_build<V: Views>(models: &Models<V>) {
    const KEYS: u64 = 50;
    let rows = |value: u64| (0..KEYS).map(move |n| row(&format!("{n:02}"), &value.to_string()));
    let first = models.begun("m", 1).await;
    models.wrote(&first, Changes::rows(rows(1))).await;
    let swap = async {
        for number in 2..=20 {
            let part = models.begun("m", number).await;
            models.wrote(&part, Changes::rows(rows(number))).await;
            models.served("m", number).await;
            models.must(BuildChange::discard(name("m"), number - 1)).await;
        }
    };
    let look = |ask: usize| {
        let (models, ids) = (models.share(), rows(0).map(|row| row.id).collect());
        let these = Lookup::new(name("m"), Rows::These(ids));
        let lookup = if ask == 0 { these } else { every("m") };
        async move {
            for _ in 0..200 {
                let found: Vec<Row> = models.rows(lookup.clone()).await.expect("rows");
                let values: Vec<_> = found.iter().map(|row| &row.value).collect();
                assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
                assert_eq!(found.len() as u64, KEYS);
                tokio::task::yield_now().await;
            }
        }
    };
    join!(swap, together((0..2).map(look)));
}
