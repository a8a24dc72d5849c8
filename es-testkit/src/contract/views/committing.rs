//! Model and checkpoint are one.

use es_core::{Changes, Checkpoint, Part, Position, Row, Slices, StoreError, Views};

use super::scene::{FENCED, Models, all, at, deleted, every, put, row, whole};
use crate::contract::run::together;

async fn commit<V: Views>(
    models: &Models<V>,
    rows: Vec<Row>,
    seen: Checkpoint,
    next: Checkpoint,
) -> Result<(), StoreError> {
    models.write(&whole("m", 1), Changes::rows(rows), seen, next).await
}

/// A part that nobody began is at the start.
pub async fn a_part_that_is_not_there_is_at_the_start<V: Views>(models: &Models<V>) {
    assert_eq!(models.checkpoint(&whole("m", 1)).await, Checkpoint::default());
    let part = models.begun("m", 1).await;
    assert_eq!(models.checkpoint(&part).await, Checkpoint::default());
}

/// What is written belongs to a part: of this model, this build, these slices.
pub async fn a_commit_to_a_part_that_is_not_there_is_fenced<V: Views>(models: &Models<V>) {
    let m = models.begun("m", 1).await;
    let half = Slices::split(2)[0];
    for part in [whole("other", 1), whole("m", 2), whole("m", 0), Part { slices: half, ..m }] {
        let changes = Changes::rows([row("a", "1")]).parked([row("a", "1")]);
        let refusal = models.write(&part, changes, at(0, 0), at(0, 1)).await;
        assert_eq!(refusal.map_err(|e| e.kind()), Err(FENCED), "{part}");
        assert!(models.find(every(part.model.as_str()).in_build(part.build)).await.is_empty());
    }
    assert!(models.find(every("m").parked()).await.is_empty());
    assert_eq!(models.checkpoint(&whole("m", 1)).await, at(0, 0));
}

/// The checkpoint comes with the rows.
pub async fn rows_and_checkpoint_are_committed_together<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    commit(models, vec![row("a", "1")], at(0, 0), at(1, 9)).await.expect("a commit");
    assert_eq!(models.checkpoint(&part).await, at(1, 9));
    assert_eq!(all(models, "m").await, [row("a", "1")]);
}

/// So do the rows beside the model.
pub async fn parked_rows_and_checkpoint_are_committed_together<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    let changes = Changes::rows([row("a", "1")]).parked([row("x", "2"), row("y", "3")]);
    models.write(&part, changes, at(0, 0), at(0, 9)).await.expect("a commit");
    let changes = Changes::default().parked([deleted("x")]);
    models.write(&part, changes, at(0, 9), at(0, 10)).await.expect("a commit");
    assert_eq!(models.find(every("m").parked()).await, [row("y", "3")]);
    assert_eq!(all(models, "m").await, [row("a", "1")]);
}

/// A page without rows moves the checkpoint.
pub async fn a_commit_without_rows_moves_the_checkpoint<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    commit(models, vec![], at(0, 0), at(0, 500)).await.expect("a commit");
    assert_eq!(models.checkpoint(&part).await, at(0, 500));
}

/// Numbers as large as any store counts.
pub async fn large_numbers_are_kept<V: Views>(models: &Models<V>) {
    const MOST: u64 = i64::MAX as u64;
    let part = models.begun("m", MOST).await;
    let large = at(MOST, MOST);
    models.write(&part, Changes::rows([row("a", "1")]), at(0, 0), large).await.expect("a commit");
    assert_eq!(models.checkpoint(&part).await, large);
    assert_eq!(models.build("m", MOST).await.parts[0].checkpoint, large);
    assert_eq!(all(models, "m").await, [row("a", "1")]);
}

/// Who has been overtaken writes nothing: no row, no checkpoint (B9).
pub async fn a_fenced_commit_writes_nothing<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    commit(models, vec![row("a", "1")], at(0, 0), at(1, 9)).await.expect("a commit");
    for seen in [at(0, 0), at(1, 8), at(0, 9), at(2, 9)] {
        let changes = Changes::rows([row("a", "2"), row("b", "2"), deleted("a")]);
        let changes = changes.parked([row("x", "2")]);
        let refusal = models.write(&part, changes, seen, at(3, 99)).await;
        assert_eq!(refusal.map_err(|e| e.kind()), Err(FENCED), "{seen:?}");
    }
    assert_eq!(models.checkpoint(&part).await, at(1, 9));
    assert_eq!(all(models, "m").await, [row("a", "1")]);
    assert!(models.find(every("m").parked()).await.is_empty());
}

/// Of two transactions that began together the second to commit is refused.
pub async fn of_two_transactions_at_once_one_commits<V: Views>(models: &Models<V>) {
    let m = models.begun("m", 1).await;
    let (one, seen) = models.begin(&m).await.expect("a transaction");
    let (two, also_seen) = models.begin(&m).await.expect("a transaction");
    assert_eq!(seen, also_seen);
    let rows = |value| Changes::rows([row("a", value)]);
    models.commit(&m, one, rows("1"), seen, at(0, 1)).await.expect("a commit");
    let late = models.commit(&m, two, rows("2"), seen, at(0, 2)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(FENCED));
    assert_eq!(all(models, "m").await, [row("a", "1")]);
}

/// A transaction that is dropped writes nothing and blocks nobody.
pub async fn a_dropped_transaction_writes_nothing<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    for _ in 0..20 {
        drop(models.begin(&part).await.expect("a transaction"));
    }
    put(models, "m", vec![row("a", "1")]).await;
    assert_eq!(all(models, "m").await.len(), 1);
}

/// If a step of a free-form projection fails, nothing of the commit is there.
/// Where no step can fail, an empty transaction shows that rows need none.
pub async fn a_step_that_fails_takes_everything_back<V: Views>(models: &Models<V>) {
    put(models, "m", vec![row("a", "1")]).await;
    let m = whole("m", 1);
    let (mut tx, seen) = models.begin(&m).await.expect("a transaction");
    let Some(breaking) = models.breaking else { return };
    breaking(&mut tx);
    let next = seen.at(Position::new(99));
    let changes = Changes::rows([row("a", "2"), row("b", "2")]).parked([row("x", "2")]);
    let outcome = models.commit(&m, tx, changes, seen, next).await;
    assert!(outcome.is_err(), "the step fails");
    assert_eq!(models.checkpoint(&m).await, seen);
    assert_eq!(all(models, "m").await, [row("a", "1")]);
    assert!(models.find(every("m").parked()).await.is_empty());
    put(models, "m", vec![row("a", "3")]).await;
}

/// The checkpoints of two models are apart, and those of two builds.
pub async fn the_checkpoints_of_models_and_builds_are_apart<V: Views>(models: &Models<V>) {
    let (m, other) = (models.begun("m", 1).await, models.begun("other", 1).await);
    let next = models.begun("m", 2).await;
    models.wrote(&m, Changes::default()).await;
    for part in [other, next] {
        assert_eq!(models.checkpoint(&part).await, Checkpoint::default());
    }
}

/// Each part of a build goes its own way; their rows are rows of one build.
pub async fn the_checkpoints_of_parts_are_apart<V: Views>(models: &Models<V>) {
    let parts = models.begun_in("m", 1, 3).await;
    for (n, part) in (1..).zip(&parts) {
        models.moved(part, n).await;
        models.wrote(part, Changes::rows([row(&n.to_string(), "x")])).await;
    }
    for (n, part) in (1..).zip(&parts) {
        assert_eq!(models.checkpoint(part).await, at(0, n + 1));
    }
    assert_eq!(models.build("m", 1).await.position(), Some(Position::new(2)));
    assert_eq!(all(models, "m").await.len(), 3);
}

/// Many workers who add to one row, each deciding again when fenced: no update
/// is lost (B9).
pub async fn no_update_is_lost_among_workers_at_once<V: Views>(models: &Models<V>) {
    let part = models.begun("m", 1).await;
    let work = |_| {
        let (models, part) = (models.share(), part.clone());
        async move {
            for _ in 0..10 {
                while !add_one(&models.views, &part).await {
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    together((0..6).map(work)).await;
    assert_eq!(all(models, "m").await, [row("count", "60")]);
    assert_eq!(models.checkpoint(&part).await, at(0, 60));
}

async fn add_one<V: Views>(views: &V, part: &Part) -> bool {
    let (tx, seen) = views.begin(part).await.expect("a transaction");
    let next = seen.position.get() + 1;
    let changes = Changes::rows([row("count", &next.to_string())]);
    views.commit(part, tx, changes, seen, seen.at(Position::new(next))).await.is_ok()
}
