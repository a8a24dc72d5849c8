//! How a model is handed back to workers.

use std::time::Duration;

use es_core::{BuildChange, Checkpoint, Position, Slices, Taking, Views};

use super::{
    scene::{Models, NOBODY, TALLY, beside_appends, must},
    tallies::UNLUCKY,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Workers go on where the appends have stopped.
pub async fn appends_leave_the_rows_of_a_taken_part_alone<V: Views>(models: &Models<V>) {
    let part = models.kept().await;
    let last = models.add(1, &["a"]).await;
    let checkpoint = models.end(&part).await;
    assert_eq!(checkpoint.position, last);
    models.add(2, &["a"]).await;
    models.add(UNLUCKY, &["b"]).await;
    assert_eq!(models.row("a").await, Some(vec![1]));
    assert!(!models.build().await.is_inline());
    assert_eq!(models.views.begin(&part).await.expect("a transaction").1, checkpoint);
}

/// A new build is kept by workers first.
pub async fn a_build_that_takes_the_place_is_not_kept_so<V: Views>(models: &Models<V>) {
    models.kept().await;
    let last = models.add(1, &["a"]).await;
    let begin = BuildChange::begin(TALLY, 2).revision(1).from(last);
    models.views.change(begin).await.expect("a build that begins");
    let parts = vec![(Slices::ALL, Checkpoint { epoch: 0, position: last })];
    models.views.change(BuildChange::serve(TALLY, 2, parts)).await.expect("a build that answers");
    models.add(2, &["a"]).await;
    assert_eq!(models.row("a").await, None);
    assert!(!models.build().await.is_inline());
    models.keep_inline().await.expect("a model that is kept with each append");
    models.add(3, &["a"]).await;
    assert_eq!(models.row("a").await, Some(vec![2, 3]));
}

/// Each event is folded once: by the hand-over, by its append, or by a worker.
pub async fn nothing_is_lost_or_doubled_while_a_model_begins_and_ends<V: Views>(
    models: &Models<V>,
) {
    let part = models.begun_in(1).await.remove(0);
    let changes = async {
        for _ in 0..10 {
            models.keep_inline().await.expect("a model that is kept with each append");
            tokio::task::yield_now().await;
            models.views.take(&part, &NOBODY, HOUR, Taking::Anyway).await.expect("an answer");
            tokio::task::yield_now().await;
            models.work(&part).await;
        }
    };
    beside_appends(&models.log, &["a"], must, changes).await;
    models.work(&part).await;
    let shown = models.row("a").await.expect("a row");
    assert_eq!(shown, models.in_the_log("a").await);
    assert_ne!(models.build().await.position(), Some(Position::START));
}
