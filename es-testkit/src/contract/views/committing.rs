//! Model and checkpoint are one.

use es_core::{Checkpoint, Position, Row, StoreError, StoreErrorKind, Views};

use super::rows::{Models, all, deleted, model, put, row};
use crate::contract::run::together;

async fn checkpoint<V: Views>(models: &Models<V>, name: &str) -> Checkpoint {
    models.begin(&model(name)).await.expect("a transaction").1
}

async fn commit<V: Views>(
    models: &Models<V>,
    rows: Vec<Row>,
    seen: Checkpoint,
    next: Checkpoint,
) -> Result<(), StoreError> {
    let (tx, _) = models.begin(&model("m")).await.expect("a transaction");
    models.commit(&model("m"), tx, rows, seen, next).await
}

fn at(epoch: u64, position: u64) -> Checkpoint {
    Checkpoint { epoch, position: Position::new(position) }
}

/// A read model that nobody wrote is at the start.
pub async fn an_unknown_model_is_at_the_start<V: Views>(models: &Models<V>) {
    assert_eq!(checkpoint(models, "m").await, Checkpoint::default());
}

/// The checkpoint comes with the rows.
pub async fn rows_and_checkpoint_are_committed_together<V: Views>(models: &Models<V>) {
    commit(models, vec![row("a", "1")], at(0, 0), at(1, 9)).await.expect("a commit");
    assert_eq!(checkpoint(models, "m").await, at(1, 9));
    assert_eq!(all(models, "m").await, [row("a", "1")]);
}

/// A page without rows moves the checkpoint.
pub async fn a_commit_without_rows_moves_the_checkpoint<V: Views>(models: &Models<V>) {
    commit(models, vec![], at(0, 0), at(0, 500)).await.expect("a commit");
    assert_eq!(checkpoint(models, "m").await, at(0, 500));
}

/// Who has been overtaken writes nothing: no row, no checkpoint (B9).
pub async fn a_fenced_commit_writes_nothing<V: Views>(models: &Models<V>) {
    commit(models, vec![row("a", "1")], at(0, 0), at(1, 9)).await.expect("a commit");
    for seen in [at(0, 0), at(1, 8), at(0, 9), at(2, 9)] {
        let rows = vec![row("a", "2"), row("b", "2"), deleted("a")];
        let refusal = commit(models, rows, seen, at(3, 99)).await.expect_err("a stale owner");
        assert_eq!(refusal.kind(), StoreErrorKind::Fenced, "{seen:?}");
    }
    assert_eq!(checkpoint(models, "m").await, at(1, 9));
    assert_eq!(all(models, "m").await, [row("a", "1")]);
}

/// Of two transactions that began together the second to commit is refused.
pub async fn of_two_transactions_at_once_one_commits<V: Views>(models: &Models<V>) {
    let (one, seen) = models.begin(&model("m")).await.expect("a transaction");
    let (two, also_seen) = models.begin(&model("m")).await.expect("a transaction");
    assert_eq!(seen, also_seen);
    let m = model("m");
    models.commit(&m, one, vec![row("a", "1")], seen, at(0, 1)).await.expect("a commit");
    let late = models.commit(&m, two, vec![row("a", "2")], seen, at(0, 2)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(StoreErrorKind::Fenced));
    assert_eq!(all(models, "m").await, [row("a", "1")]);
}

/// A transaction that is dropped writes nothing and blocks nobody.
pub async fn a_dropped_transaction_writes_nothing<V: Views>(models: &Models<V>) {
    for _ in 0..20 {
        drop(models.begin(&model("m")).await.expect("a transaction"));
    }
    put(models, "m", vec![row("a", "1")]).await;
    assert_eq!(all(models, "m").await.len(), 1);
}

/// If a step of a free-form projection fails, nothing of the commit is there.
/// Where no step can fail, an empty transaction shows that rows need none.
pub async fn a_step_that_fails_takes_everything_back<V: Views>(models: &Models<V>) {
    put(models, "m", vec![row("a", "1")]).await;
    let (mut tx, seen) = models.begin(&model("m")).await.expect("a transaction");
    let Some(breaking) = models.breaking else { return };
    breaking(&mut tx);
    let next = seen.at(Position::new(99));
    let rows = vec![row("a", "2"), row("b", "2")];
    let outcome = models.commit(&model("m"), tx, rows, seen, next).await;
    assert!(outcome.is_err(), "the step fails");
    assert_eq!(checkpoint(models, "m").await, seen);
    assert_eq!(all(models, "m").await, [row("a", "1")]);
    put(models, "m", vec![row("a", "3")]).await;
}

/// A reset deletes the rows and begins anew under a new owner.
pub async fn a_reset_begins_anew<V: Views>(models: &Models<V>) {
    commit(models, vec![row("a", "1")], at(0, 0), at(3, 9)).await.expect("a commit");
    let fresh = models.reset(&model("m")).await.expect("a reset");
    assert_eq!(fresh, at(4, 0));
    assert_eq!(checkpoint(models, "m").await, fresh);
    assert!(all(models, "m").await.is_empty());
}

/// Who was at work when the model was reset is fenced off (B17).
pub async fn a_reset_fences_off_whoever_was_at_work<V: Views>(models: &Models<V>) {
    commit(models, vec![row("a", "1")], at(0, 0), at(1, 9)).await.expect("a commit");
    let fresh = models.reset(&model("m")).await.expect("a reset");
    let late = commit(models, vec![row("a", "2")], at(1, 9), at(1, 10)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(StoreErrorKind::Fenced));
    commit(models, vec![row("b", "1")], fresh, fresh.at(Position::new(5))).await.expect("a commit");
    assert_eq!(all(models, "m").await, [row("b", "1")]);
}

/// A reset of a model that nobody wrote makes it one's own.
pub async fn an_unknown_model_can_be_reset<V: Views>(models: &Models<V>) {
    let fresh = models.reset(&model("m")).await.expect("a reset");
    assert_eq!(fresh, at(1, 0));
    let late = commit(models, vec![], at(0, 0), at(0, 1)).await;
    assert_eq!(late.map_err(|e| e.kind()), Err(StoreErrorKind::Fenced));
}

/// A reset touches no other model.
pub async fn a_reset_touches_no_other_model<V: Views>(models: &Models<V>) {
    put(models, "m", vec![row("a", "1")]).await;
    let other = put(models, "other", vec![row("a", "2")]).await;
    models.reset(&model("m")).await.expect("a reset");
    assert_eq!(all(models, "other").await, [row("a", "2")]);
    assert_eq!(checkpoint(models, "other").await, other);
}

/// The checkpoints of two models are apart.
pub async fn the_checkpoints_of_two_models_are_apart<V: Views>(models: &Models<V>) {
    put(models, "m", vec![]).await;
    assert_eq!(checkpoint(models, "other").await, Checkpoint::default());
}

/// Many workers who add to one row, each deciding again when fenced: no update
/// is lost (B9).
pub async fn no_update_is_lost_among_workers_at_once<V: Views>(models: &Models<V>) {
    let work = |_| {
        let models = models.share();
        async move {
            for _ in 0..10 {
                while !add_one(&models.views).await {
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    together((0..6).map(work)).await;
    assert_eq!(all(models, "m").await, [row("count", "60")]);
    assert_eq!(checkpoint(models, "m").await, at(0, 60));
}

async fn add_one<V: Views>(views: &V) -> bool {
    let (tx, seen) = views.begin(&model("m")).await.expect("a transaction");
    let next = seen.position.get() + 1;
    let rows = vec![row("count", &next.to_string())];
    views.commit(&model("m"), tx, rows, seen, seen.at(Position::new(next))).await.is_ok()
}
