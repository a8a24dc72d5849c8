//! Builds that are deleted with all that they hold.

use es_core::{BuildChange, Changes, Part, Views};

use super::scene::{FENCED, HOUR, Models, at, begin, every, name, row};

fn discard(model: &str, build: u64) -> BuildChange {
    BuildChange::discard(name(model), build)
}

/// A build with a row and a parked row.
async fn filled<V: Views>(models: &Models<V>, model: &str, build: u64) -> Part {
    let part = models.begun(model, build).await;
    models.wrote(&part, Changes::rows([row("a", "1")]).parked([row("x", "1")])).await;
    part
}

async fn both<V: Views>(models: &Models<V>, model: &str, build: u64) -> usize {
    let of = |lookup: es_core::Lookup| models.find(lookup.in_build(build));
    of(every(model)).await.len() + of(every(model).parked()).await.len()
}

/// Rows and parked rows go along, and are not there when the number begins again.
pub async fn a_discarded_build_is_gone_with_all_its_rows<V: Views>(models: &Models<V>) {
    filled(models, "m", 1).await;
    filled(models, "m", 2).await;
    models.must(discard("m", 2)).await;
    assert_eq!(both(models, "m", 2).await, 0);
    assert_eq!(models.every_build("m").await.len(), 1);
    models.begun("m", 2).await;
    assert_eq!(both(models, "m", 2).await, 0);
}

/// Other builds and other models keep what they have.
pub async fn a_discarded_build_takes_nothing_else_along<V: Views>(models: &Models<V>) {
    for (model, number) in [("m", 1), ("m", 2), ("m", 12), ("other", 1), ("other", 2)] {
        filled(models, model, number).await;
    }
    let other = models.every_build("other").await;
    models.must(discard("m", 2)).await;
    for (model, number) in [("m", 1), ("m", 12), ("other", 1), ("other", 2)] {
        assert_eq!(both(models, model, number).await, 2, "{model}, build {number}");
        assert_eq!(models.build(model, number).await.parts.len(), 1);
    }
    assert_eq!(models.every_build("other").await, other);
}

/// What answers stays; what was replaced may go.
pub async fn the_build_that_answers_is_not_discarded<V: Views>(models: &Models<V>) {
    filled(models, "m", 1).await;
    assert_eq!(models.refused(discard("m", 1)).await, FENCED);
    filled(models, "m", 2).await;
    assert_eq!(models.refused(discard("m", 1)).await, FENCED);
    assert_eq!(both(models, "m", 1).await, 2);
    models.served("m", 2).await;
    assert_eq!(models.refused(discard("m", 2)).await, FENCED);
    models.must(discard("m", 1)).await;
    assert_eq!(models.serving("m").await, [2]);
    assert_eq!((both(models, "m", 1).await, both(models, "m", 2).await), (0, 2));
}

/// Who discards twice, or what never was, is not refused.
pub async fn discarding_what_is_not_there_changes_nothing<V: Views>(models: &Models<V>) {
    models.must(discard("m", 1)).await;
    filled(models, "m", 1).await;
    filled(models, "m", 2).await;
    let before = models.every_build("m").await;
    for number in [0, 3, 1_000] {
        models.must(discard("m", number)).await;
    }
    assert_eq!(models.every_build("m").await, before);
    models.must(discard("m", 2)).await;
    models.must(discard("m", 2)).await;
    assert_eq!(both(models, "m", 1).await, 2);
}

/// Who kept the build writes nothing any more, and holds nothing.
pub async fn whoever_kept_a_discarded_build_is_fenced<V: Views>(models: &Models<V>) {
    filled(models, "m", 1).await;
    let part = models.begun("m", 2).await;
    let mine = models.took(&part, "old", HOUR).await;
    models.must(discard("m", 2)).await;
    let late = models.write(&part, Changes::rows([row("a", "late")]), mine, at(1, 1)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(FENCED));
    assert_eq!(both(models, "m", 2).await, 0);
    assert_eq!(models.tries(&part, "old", HOUR).await, None);
    let held = models.renew(&name("old"), &[(part, mine.epoch)], HOUR).await;
    assert_eq!(held.expect("an answer"), []);
}

/// Nor when another build has its number, at the same position, with as many
/// owners: epochs go on where they ended (B19).
pub async fn whoever_kept_a_build_is_fenced_when_its_number_begins_again<V: Views>(
    models: &Models<V>,
) {
    models.begun("m", 1).await;
    let part = models.begun("m", 2).await;
    let first = models.took(&part, "old", HOUR).await;
    models.must(discard("m", 2)).await;
    let mut epochs = vec![0, first.epoch];
    for round in 0..3 {
        models.must(begin("m", 2).revision(round)).await;
        for old in &epochs {
            let changes = Changes::rows([row("a", "late")]);
            let late = models.write(&part, changes, at(*old, 0), at(*old, 1)).await;
            assert_eq!(late.map_err(|e| e.kind()), Err(FENCED), "epoch {old}");
        }
        epochs.push(models.checkpoint(&part).await.epoch);
        if round > 0 {
            epochs.push(models.took(&part, "old", HOUR).await.epoch);
        }
        let (latest, earlier) = epochs.split_last().expect("some epochs");
        let held: Vec<_> = earlier.iter().map(|epoch| (part.clone(), *epoch)).collect();
        let still = models.renew(&name("old"), &held, HOUR).await;
        assert_eq!(still.expect("an answer"), [], "the epoch is {latest}");
        models.must(discard("m", 2)).await;
    }
    assert!(epochs.is_sorted_by(|one, next| one < next), "{epochs:?}");
}

fn remove(model: &str) -> BuildChange {
    BuildChange::remove(name(model))
}

/// Also the build that answers; the model may begin again.
pub async fn a_removed_model_is_gone_with_all_its_builds_and_rows<V: Views>(models: &Models<V>) {
    for number in 1..=3 {
        filled(models, "m", number).await;
    }
    models.served("m", 2).await;
    models.must(remove("m")).await;
    assert!(models.every_build("m").await.is_empty());
    assert!(models.find(every("m")).await.is_empty());
    for number in 1..=3 {
        assert_eq!(both(models, "m", number).await, 0, "build {number}");
    }
    filled(models, "m", 1).await;
    assert_eq!(models.serving("m").await, [1]);
    assert_eq!(both(models, "m", 1).await, 2);
}

/// Whatever it is called.
pub async fn a_removed_model_takes_no_other_along<V: Views>(models: &Models<V>) {
    for model in ["m", "m2", "M", "other"] {
        filled(models, model, 1).await;
    }
    models.must(remove("m")).await;
    for model in ["m2", "M", "other"] {
        assert_eq!(both(models, model, 1).await, 2, "{model}");
        assert_eq!(models.serving(model).await, [1], "{model}");
    }
}

/// Nor a second time.
pub async fn removing_what_is_not_there_changes_nothing<V: Views>(models: &Models<V>) {
    models.must(remove("m")).await;
    filled(models, "m", 1).await;
    models.must(remove("m")).await;
    models.must(remove("m")).await;
    assert!(models.every_build("m").await.is_empty());
}

/// A number may come back, an owner may not.
pub async fn whoever_kept_a_removed_model_is_fenced_when_it_begins_again<V: Views>(
    models: &Models<V>,
) {
    let part = filled(models, "m", 1).await;
    let seen = models.took(&part, "one", HOUR).await;
    models.must(remove("m")).await;
    let next = seen.at(es_core::Position::new(9));
    for _ in 0..2 {
        let late = models.write(&part, Changes::rows([row("a", "2")]), seen, next).await;
        assert_eq!(late.map_err(|error| error.kind()), Err(FENCED));
        assert!(models.find(every("m")).await.is_empty());
        models.must(remove("m")).await;
        models.begun("m", 1).await;
    }
}
