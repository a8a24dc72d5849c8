//! How a model is handed from workers to appends.

use std::time::Duration;

use es_core::{
    Batch, BuildChange, Changes, Name, Position, Row, RowId, StoreErrorKind, Taking, Tenant, Views,
    limits,
};

use super::{
    scene::{Models, NOBODY, TALLY, added, beside_appends, must},
    tallies::UNLUCKY,
};
use crate::fake;

const HOUR: Duration = Duration::from_secs(3_600);

async fn refused<V: Views>(models: &Models<V>) -> StoreErrorKind {
    models.keep_inline().await.expect_err("a model that cannot begin").kind()
}

/// What the workers had not seen yet is in the rows.
pub async fn what_came_before_is_folded_first<V: Views>(models: &Models<V>) {
    models.add(1, &["a"]).await;
    let part = models.begun_in(1).await.remove(0);
    models.work(&part).await;
    models.add(2, &["a", "b"]).await;
    let last = models.add(3, &["a"]).await;
    models.keep_inline().await.expect("a model that is kept with each append");
    assert_eq!(models.row("a").await, Some(vec![1, 2, 3]));
    assert_eq!(models.row("b").await, Some(vec![2]));
    assert_eq!(models.build().await.position(), Some(last));
    models.add(4, &["b"]).await;
    assert_eq!(models.row("b").await, Some(vec![2, 4]));
}

/// Parts may stand at different positions.
pub async fn each_part_is_folded_from_where_it_stands<V: Views>(models: &Models<V>) {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let parts = models.begun_in(4).await;
    for (number, part) in (1..).zip(&parts) {
        models.add(number, &keys).await;
        models.work(part).await;
    }
    models.keep_inline().await.expect("a model that is kept with each append");
    models.add(5, &keys).await;
    for key in keys {
        assert_eq!(models.row(key).await, Some(vec![1, 2, 3, 4, 5]), "{key}");
    }
}

/// A worker that does not know yet writes nothing.
pub async fn whoever_kept_the_parts_is_fenced<V: Views>(models: &Models<V>) {
    let part = models.begun_in(1).await.remove(0);
    let taken = models.views.take(&part, &NOBODY, HOUR, Taking::IfFree).await;
    let seen = taken.expect("an answer").expect("a free part");
    let (tx, _) = models.views.begin(&part).await.expect("a transaction");
    models.keep_inline().await.expect("a model that is kept with each append");
    let changes =
        Changes::rows([Row { id: RowId::new(Tenant::default(), "a"), value: Some("[7]".into()) }]);
    let next = seen.at(Position::new(9));
    let refusal = models.views.commit(&part, tx, changes, seen, next).await;
    assert_eq!(refusal.map_err(|error| error.kind()), Err(StoreErrorKind::Fenced));
    let held = models.views.renew(&NOBODY, &[(part, seen.epoch)], HOUR).await;
    assert_eq!(held.expect("an answer"), []);
    assert_eq!(models.row("a").await, None);
}

/// It does not become free.
pub async fn nobody_gets_a_part_that_is_kept_so<V: Views>(models: &Models<V>) {
    let part = models.kept().await;
    models.move_clock(chrono::TimeDelta::days(365));
    let taken = models.views.take(&part, &NOBODY, HOUR, Taking::IfFree).await;
    assert_eq!(taken.expect("an answer"), None);
    models.add(1, &["a"]).await;
    assert_eq!(models.row("a").await, Some(vec![1]));
    assert!(models.build().await.is_inline());
}

/// It is as if nobody had asked.
pub async fn beginning_again_changes_nothing<V: Views>(models: &Models<V>) {
    models.kept().await;
    models.add(1, &["a"]).await;
    models.keep_inline().await.expect("a model that is kept so already");
    models.add(2, &["a"]).await;
    assert_eq!(models.row("a").await, Some(vec![1, 2]));
}

/// The store has to be opened with it.
pub async fn a_model_that_the_store_does_not_know_does_not_begin<V: Views>(models: &Models<V>) {
    let strange = Name::from_static("strange");
    models.views.change(BuildChange::begin(strange.clone(), 1)).await.expect("a build");
    let refusal = models.views.keep_inline(&strange).await;
    assert_eq!(refusal.map_err(|error| error.kind()), Err(StoreErrorKind::Unsupported));
}

/// Workers begin builds.
pub async fn a_model_without_a_build_does_not_begin<V: Views>(models: &Models<V>) {
    models.add(1, &["a"]).await;
    assert_eq!(refused(models).await, StoreErrorKind::Busy);
    models.add(2, &["a"]).await;
    assert_eq!(models.row("a").await, None);
}

/// Rows of two revisions are never mixed.
pub async fn a_build_of_another_revision_does_not_begin<V: Views>(models: &Models<V>) {
    let change = BuildChange::begin(TALLY, 1).revision(2);
    models.views.change(change).await.expect("a build");
    models.add(1, &["a"]).await;
    assert_eq!(refused(models).await, StoreErrorKind::Invalid);
    models.add(2, &["a"]).await;
    assert_eq!(models.row("a").await, None);
}

/// A row that stands still would go on without its events.
pub async fn a_model_with_parked_events_does_not_begin<V: Views>(models: &Models<V>) {
    let part = models.begun_in(1).await.remove(0);
    let (tx, seen) = models.views.begin(&part).await.expect("a transaction");
    let id = RowId::new(Tenant::default(), "a");
    let parked = |value| Changes::default().parked([Row { id: id.clone(), value }]);
    let next = seen.at(Position::new(1));
    models.views.commit(&part, tx, parked(Some("7".into())), seen, next).await.expect("a commit");
    assert_eq!(refused(models).await, StoreErrorKind::Invalid);
    let (tx, seen) = models.views.begin(&part).await.expect("a transaction");
    models.views.commit(&part, tx, parked(None), seen, seen).await.expect("a commit");
    models.keep_inline().await.expect("a model that is kept with each append");
}

/// Nobody appends meanwhile, so it must not take long.
pub async fn a_model_that_is_far_behind_does_not_begin<V: Views>(models: &Models<V>) {
    let part = models.begun_in(1).await.remove(0);
    let each = limits::INLINE_CATCH_UP / 10;
    for stream in 0..10 {
        let events = (0..each).map(|_| added(1, &[]));
        models.append(Batch::to(fake::stream(&format!("t-{stream}"))).events(events)).await;
    }
    models.add(1, &["a"]).await;
    assert_eq!(refused(models).await, StoreErrorKind::Busy);
    models.add(1, &["a"]).await;
    assert_eq!(models.row("a").await, None);
    models.work(&part).await;
    models.keep_inline().await.expect("a model that is kept with each append");
    assert_eq!(models.row("a").await, Some(vec![1, 1]));
}

/// It stays with the workers, who can park the event.
pub async fn an_event_that_cannot_be_folded_keeps_a_model_from_beginning<V: Views>(
    models: &Models<V>,
) {
    let part = models.begun_in(1).await.remove(0);
    models.add(1, &["a"]).await;
    models.add(UNLUCKY, &["a"]).await;
    assert_eq!(refused(models).await, StoreErrorKind::Invalid);
    assert_eq!(models.row("a").await, None);
    let (_, checkpoint) = models.views.begin(&part).await.expect("a transaction");
    assert_eq!(checkpoint.position, Position::START);
}

/// Each event is folded once: by the hand-over or by its append.
pub async fn nothing_is_lost_or_doubled_while_a_model_begins<V: Views>(models: &Models<V>) {
    models.begun_in(2).await;
    let begun = beside_appends(&models.log, &["a", "b"], must, models.keep_inline()).await;
    begun.expect("a model that is kept with each append");
    for key in ["a", "b"] {
        assert_eq!(models.row(key).await, Some(models.in_the_log(key).await), "{key}");
    }
}
