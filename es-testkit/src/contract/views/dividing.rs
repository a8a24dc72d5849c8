//! Parts are divided and joined.

use es_core::{
    BuildChange, Changes, Checkpoint, Part, PartState, Slices, StoreErrorKind, Taking, Views,
};

use super::scene::{FENCED, HOUR, Models, at, every, name, row, seen, whole};
use crate::contract::run::together;

const INVALID: StoreErrorKind = StoreErrorKind::Invalid;

fn divide(from: Vec<(Slices, Checkpoint)>, into: Vec<Slices>) -> BuildChange {
    BuildChange::divide(name("m"), 1, from, into)
}

/// Replaces all parts, as they are, by so many.
async fn divided<V: Views>(models: &Models<V>, parts: u16) {
    let from = seen(&models.build("m", 1).await);
    models.must(divide(from, Slices::split(parts))).await;
}

/// The new parts begin where the old one stood, under a later epoch; nobody has
/// them.
pub async fn a_part_is_divided_where_it_stands<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models.took(&part, "worker", HOUR).await;
    models.moved(&part, 7).await;
    divided(models, 3).await;
    let build = models.build("m", 1).await;
    assert_eq!(
        seen(&build),
        Slices::split(3).into_iter().map(|one| (one, at(2, 7))).collect::<Vec<_>>()
    );
    for part in &build.parts {
        assert_eq!((&part.owner, part.is_free()), (&None, true), "{part:?}");
        models.took(&build.part(part.slices), "other", HOUR).await;
    }
    assert_eq!(models.checkpoint(&whole("m", 1)).await, Checkpoint::default());
}

/// The new part begins where the old ones stood, under a later epoch than any of
/// them had; nobody has it.
pub async fn parts_are_joined_where_they_stand<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, 3).await;
    for _ in 0..4 {
        models.stole(&parts[1], "worker", HOUR).await;
    }
    models.took(&parts[2], "worker", HOUR).await;
    for part in &parts {
        models.moved(part, 9).await;
    }
    divided(models, 1).await;
    let mut joined = PartState::new(Slices::ALL);
    joined.checkpoint = at(5, 9);
    assert_eq!(models.build("m", 1).await.parts, [joined]);
}

/// Parts beside those that change, and other builds, stay as they are.
pub async fn parts_beside_those_that_change_stay_as_they_are<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, 4).await;
    models.begun_in("m", 2, 4).await;
    models.begun_in("other", 1, 4).await;
    let mine = models.took(&parts[0], "worker", HOUR).await;
    models.moved(&parts[3], 8).await;
    let beside = [models.every_build("other").await, vec![models.build("m", 2).await]];
    let middle = parts[1].slices.joined(parts[2].slices).expect("neighbours");
    let from = vec![(parts[2].slices, at(0, 0)), (parts[1].slices, at(0, 0))];
    models.must(divide(from, vec![middle])).await;
    let due = [(parts[0].slices, mine), (middle, at(1, 0)), (parts[3].slices, at(0, 8))];
    let build = models.build("m", 1).await;
    assert_eq!(seen(&build), due);
    assert_eq!(build.parts[0].owner, Some(name("worker")));
    assert!(!build.parts[0].is_free());
    assert_eq!([models.every_build("other").await, vec![models.build("m", 2).await]], beside);
}

/// Who kept a part before it was divided or joined writes nothing, and holds nothing.
pub async fn whoever_kept_a_part_that_changed_is_fenced<V: Views>(models: &Models<V>) {
    let mut parts = vec![models.begun("m", 1).await];
    for into in [2, 3, 1] {
        let build = models.build("m", 1).await;
        for part in &parts {
            models.took(part, "old", HOUR).await;
        }
        divided(models, into).await;
        for (part, state) in parts.iter().zip(&build.parts) {
            let mine = state.checkpoint.taken_over();
            let changes = Changes::rows([row("a", "late")]).parked([row("x", "late")]);
            let late = models.write(part, changes, mine, mine).await;
            assert_eq!(late.map_err(|e| e.kind()), Err(FENCED), "{part}");
            assert_eq!(models.tries(part, "old", HOUR).await, None, "{part}");
            let held = models.renew(&name("old"), &[(part.clone(), mine.epoch)], HOUR).await;
            assert_eq!(held.expect("an answer"), [], "{part}");
        }
        let build = models.build("m", 1).await;
        parts = build.parts.iter().map(|part| build.part(part.slices)).collect();
    }
    assert_eq!(models.find(every("m")).await, []);
    assert_eq!(models.find(every("m").parked()).await, []);
}

/// Nor when there is a part of the same slices again, at the same position.
pub async fn whoever_kept_a_part_is_fenced_when_it_comes_back<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    let mine = models.took(&part, "old", HOUR).await;
    divided(models, 2).await;
    divided(models, 1).await;
    let late = models.write(&part, Changes::rows([row("a", "late")]), mine, at(1, 5)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(FENCED));
    let theirs = models.took(&part, "old", HOUR).await;
    assert!(theirs.epoch > mine.epoch + 1, "{theirs:?}");
    let held = models.renew(&name("old"), &[(part, mine.epoch)], HOUR).await;
    assert_eq!(held.expect("an answer"), []);
}

/// Rows belong to the build, whatever its parts are.
pub async fn rows_stay_when_parts_change<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    models
        .wrote(&part, Changes::rows([row("a", "1"), row("b", "1")]).parked([row("x", "1")]))
        .await;
    for parts in [5, 2, 1] {
        divided(models, parts).await;
        assert_eq!(models.find(every("m")).await, [row("a", "1"), row("b", "1")]);
        assert_eq!(models.find(every("m").parked()).await, [row("x", "1")]);
    }
}

/// Parts change only as they were seen: who takes or moves one meanwhile is looked
/// at again.
pub async fn parts_that_are_not_as_seen_do_not_change<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, 2).await;
    for part in &parts {
        models.took(part, "worker", HOUR).await;
        models.moved(part, 3).await;
    }
    let before = models.build("m", 1).await;
    let (one, two) = (parts[0].slices, parts[1].slices);
    for (from, into) in [
        (vec![(one, at(1, 3)), (two, at(0, 3))], vec![Slices::ALL]),
        (vec![(one, at(1, 2)), (two, at(1, 2))], vec![Slices::ALL]),
        (vec![(one, at(2, 3)), (two, at(1, 3))], vec![Slices::ALL]),
        (vec![(Slices::ALL, at(1, 3))], Slices::split(4)),
        (vec![(one, at(0, 3))], one.divided(2)),
    ] {
        assert_eq!(models.refused(divide(from.clone(), into)).await, FENCED, "{from:?}");
    }
    for (model, build) in [("m", 2), ("other", 1)] {
        let change = BuildChange::divide(name(model), build, vec![(one, at(1, 3))], one.divided(2));
        assert_eq!(models.refused(change).await, FENCED);
    }
    let after = models.build("m", 1).await;
    assert_eq!(seen(&after), seen(&before));
    assert!(after.parts.iter().all(|part| !part.is_free()));
}

/// What one part has handled the other has not: they cannot be one.
pub async fn parts_at_two_positions_are_not_joined<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, 2).await;
    models.moved(&parts[0], 3).await;
    let from = seen(&models.build("m", 1).await);
    assert_eq!(models.refused(divide(from, vec![Slices::ALL])).await, INVALID);
    assert_eq!(models.build("m", 1).await.parts.len(), 2);
    models.moved(&parts[1], 3).await;
    divided(models, 1).await;
}

/// The new parts have each slice of the old ones once, and no other.
pub async fn new_parts_that_leave_or_share_a_slice_are_invalid<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, 2).await;
    let (one, two) = (parts[0].slices, parts[1].slices);
    let (seen_one, start) = ((one, at(0, 0)), at(0, 0));
    let slices = |first, last| Slices { first, last };
    for (from, into) in [
        (vec![], vec![]),
        (vec![seen_one], vec![]),
        (vec![], one.divided(2)),
        (vec![seen_one], vec![slices(0, 510)]),
        (vec![seen_one], vec![slices(1, 511)]),
        (vec![seen_one], vec![slices(0, 512)]),
        (vec![seen_one], vec![slices(0, 300), slices(300, 511)]),
        (vec![seen_one], vec![slices(0, 300), slices(302, 511)]),
        (vec![seen_one], vec![Slices::ALL]),
        (vec![seen_one, seen_one], vec![one]),
        (vec![seen_one, (Slices::ALL, start)], vec![Slices::ALL]),
        (vec![(two, start)], vec![slices(512, u16::MAX)]),
    ] {
        let refusal = models.refused(divide(from.clone(), into.clone())).await;
        assert_eq!(refusal, INVALID, "{from:?} into {into:?}");
    }
    assert_eq!(seen(&models.build("m", 1).await), [seen_one, (two, start)]);
}

/// Of many who divide a part at once, and of those who take it, nobody works beside
/// another: each change was made to what its maker had seen.
pub async fn of_16_who_divide_a_part_at_once_exactly_one_does<V: Views>(models: &Models<V>) {
    let mut part = models.begun("m", 1).await;
    for _ in 0..5 {
        let from = vec![(part.slices, models.checkpoint(&part).await)];
        let divides = |parts: u16| {
            let (models, change) =
                (models.share(), divide(from.clone(), part.slices.divided(parts)));
            async move { models.change(change).await.map_err(|e| e.kind()) }
        };
        let outcomes = together((2..18).map(divides)).await;
        assert!(outcomes.iter().all(|one| matches!(one, Ok(()) | Err(FENCED))), "{outcomes:?}");
        let winners: Vec<_> = (2..18).zip(&outcomes).filter(|(_, one)| one.is_ok()).collect();
        assert_eq!(winners.len(), 1, "{outcomes:?}");
        let build = models.build("m", 1).await;
        let due: Vec<_> = part.slices.divided(winners[0].0);
        let found = build.parts.iter().map(|one| one.slices);
        let found: Vec<_> = found.filter(|one| part.slices.contains(one.first)).collect();
        assert_eq!(found, due);
        part = Part { slices: due[0], ..part };
        models.take(&part, &name("worker"), HOUR, Taking::IfFree).await.expect("an answer");
    }
}
