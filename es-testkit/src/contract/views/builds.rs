//! Builds begin, and their rows are apart.

use es_core::{Changes, Name, PartState, Position, Slices, StoreErrorKind, Views};

use super::scene::{FENCED, Models, at, begin, every, name, row, seen};
use crate::contract::run::together;

/// A model that nobody began has no builds.
pub async fn a_model_that_nobody_began_has_no_builds<V: Views>(models: &Models<V>) {
    assert_eq!(models.every_build("m").await, []);
    assert_eq!(models.builds(&[]).await.expect("builds"), []);
}

/// A build tells which code makes it and how it is divided; its parts are at the
/// start, and nobody has them.
pub async fn a_build_is_what_it_was_begun_as<V: Views>(models: &Models<V>) {
    let mut parts = Slices::split(3);
    parts.reverse();
    models.must(begin("m", 4).revision(7).parts(parts)).await;
    let build = models.build("m", 4).await;
    assert_eq!((build.model.as_str(), build.number, build.revision), ("m", 4, 7));
    let due: Vec<_> = Slices::split(3).into_iter().map(PartState::new).collect();
    assert_eq!(build.parts, due);
}

/// A build may begin where it wants nothing of what comes before.
pub async fn a_build_begins_where_it_was_told<V: Views>(models: &Models<V>) {
    let from = Position::new(70);
    models.must(begin("m", 1).parts(Slices::split(2)).from(from)).await;
    let build = models.build("m", 1).await;
    assert!(build.parts.iter().all(|part| part.checkpoint == at(0, 70)), "{:?}", build.parts);
}

/// A revision may be a fingerprint, of which every bit counts.
pub async fn a_revision_keeps_all_its_bits<V: Views>(models: &Models<V>) {
    let revisions = [0, 1, 1 << 63, (1 << 63) - 1, u64::MAX];
    for (number, revision) in (1..).zip(revisions) {
        models.must(begin("m", number).revision(revision)).await;
        assert_eq!(models.build("m", number).await.revision, revision);
    }
}

/// The first build answers at once, whatever its number.
pub async fn the_first_build_answers_at_once<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 3).await;
    assert_eq!(models.serving("m").await, [3]);
    models.wrote(&part, Changes::rows([row("a", "1")])).await;
    assert_eq!(models.find(every("m")).await, [row("a", "1")]);
}

/// A second build does not answer.
pub async fn a_second_build_does_not_answer<V: Views>(models: &Models<V>) {
    models.begun("m", 1).await;
    let second = models.begun("m", 2).await;
    models.wrote(&second, Changes::rows([row("a", "2")]).parked([row("x", "2")])).await;
    assert_eq!(models.serving("m").await, [1]);
    assert_eq!(models.find(every("m")).await, []);
    assert_eq!(models.find(every("m").parked()).await, []);
}

/// A number that exists cannot be begun, and stays as it is.
pub async fn a_number_that_exists_cannot_be_begun<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.wrote(&part, Changes::rows([row("a", "1")])).await;
    let before = models.every_build("m").await;
    let again = begin("m", 1).revision(9).parts(Slices::split(2));
    assert_eq!(models.refused(again).await, FENCED);
    assert_eq!(models.refused(begin("m", 1)).await, FENCED);
    assert_eq!(models.every_build("m").await, before);
    assert_eq!(models.find(every("m")).await, [row("a", "1")]);
}

/// Builds begin in the order of their numbers: the latest is the newest code.
pub async fn a_number_before_the_latest_cannot_be_begun<V: Views>(models: &Models<V>) {
    models.begun("m", 1).await;
    models.begun("m", 5).await;
    assert_eq!(models.refused(begin("m", 3)).await, FENCED);
    models.begun("other", 3).await;
    assert_eq!(models.every_build("m").await.len(), 2);
}

/// Of many who begin one build at once exactly one does; the others are fenced.
pub async fn of_16_who_begin_a_build_at_once_exactly_one_does<V: Views>(models: &Models<V>) {
    for number in 1..=5 {
        let begins = |revision| {
            let models = models.share();
            let change = begin("m", number).revision(revision).parts(Slices::split(4));
            async move { models.change(change).await.map_err(|e| e.kind()) }
        };
        let outcomes = together((0..16).map(begins)).await;
        let winners: Vec<_> = (0..).zip(&outcomes).filter(|(_, one)| one.is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        assert!(outcomes.iter().all(|one| matches!(one, Ok(()) | Err(FENCED))), "{outcomes:?}");
        let build = models.build("m", number).await;
        assert_eq!((build.revision, build.parts.len()), (winners[0].0, 4));
        assert_eq!(models.serving("m").await, [1]);
    }
}

/// The parts of a build have each slice once; builds are counted from 1.
pub async fn parts_that_leave_or_share_a_slice_are_invalid<V: Views>(models: &Models<V>) {
    let slices = |first, last| Slices { first, last };
    for parts in [
        vec![],
        vec![slices(0, 1_022)],
        vec![slices(1, 1_023)],
        vec![slices(0, 1_024)],
        vec![slices(0, u16::MAX), slices(0, 1_023)],
        vec![slices(0, 500), slices(500, 1_023)],
        vec![slices(0, 499), slices(501, 1_023)],
        vec![Slices::ALL, Slices::ALL],
        vec![slices(0, 511), slices(700, 600), slices(512, 1_023)],
    ] {
        let change = begin("m", 1).parts(parts.clone());
        assert_eq!(models.refused(change).await, StoreErrorKind::Invalid, "{parts:?}");
    }
    assert_eq!(models.refused(begin("m", 0)).await, StoreErrorKind::Invalid);
    assert_eq!(models.every_build("m").await, []);
}

/// As many parts as there are slices, each with a checkpoint of its own.
pub async fn a_build_may_have_a_part_for_each_slice<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, es_core::SLICES).await;
    models.moved(&parts[700], 9).await;
    let position = |n| if n == 700 { 9 } else { 0 };
    let due = (0..).zip(&parts).map(|(n, part)| (part.slices, at(0, position(n))));
    let due: Vec<_> = due.collect();
    assert_eq!(seen(&models.build("m", 1).await), due);
}

/// Builds come in the order of their numbers.
pub async fn builds_come_in_the_order_of_their_numbers<V: Views>(models: &Models<V>) {
    let numbers = [1, 2, 9, 10, 11, 100];
    for number in numbers {
        models.begun("m", number).await;
    }
    let found: Vec<_> = models.every_build("m").await.iter().map(|build| build.number).collect();
    assert_eq!(found, numbers);
}

/// Who asks for some models is told of those alone.
pub async fn only_the_builds_of_these_models_are_told<V: Views>(models: &Models<V>) {
    for model in ["a", "A", "ab", "b"] {
        models.begun(model, 1).await;
        models.begun(model, 2).await;
    }
    let asked: Vec<Name> = ["b", "never", "A"].map(name).to_vec();
    let mut found: Vec<_> = models.builds(&asked).await.expect("builds");
    found.sort_by_key(|build| (build.model.clone(), build.number));
    let found: Vec<_> = found.iter().map(|one| (one.model.as_str(), one.number)).collect();
    assert_eq!(found, [("A", 1), ("A", 2), ("b", 1), ("b", 2)]);
}

/// What one build writes the other does not see.
pub async fn rows_of_two_builds_are_apart<V: Views>(models: &Models<V>) {
    let (one, two) = (models.begun("m", 1).await, models.begun("m", 2).await);
    models.wrote(&one, Changes::rows([row("a", "1"), row("b", "1")])).await;
    models.wrote(&two, Changes::rows([row("b", "2"), row("c", "2")])).await;
    let of = |build| models.find(every("m").in_build(build));
    assert_eq!(of(1).await, [row("a", "1"), row("b", "1")]);
    assert_eq!(of(2).await, [row("b", "2"), row("c", "2")]);
    assert_eq!(of(3).await, []);
}

/// Nor what it has parked.
pub async fn parked_rows_of_two_builds_are_apart<V: Views>(models: &Models<V>) {
    let (one, two) = (models.begun("m", 1).await, models.begun("m", 2).await);
    models.wrote(&one, Changes::default().parked([row("a", "1")])).await;
    models.wrote(&two, Changes::default().parked([row("a", "2"), row("b", "2")])).await;
    let of = |build| models.find(every("m").in_build(build).parked());
    assert_eq!(of(1).await, [row("a", "1")]);
    assert_eq!(of(2).await, [row("a", "2"), row("b", "2")]);
}
