//! Several programs append to one log.

use std::sync::Arc;

use es_core::{AppendError, Batch, EventStore, Views};

use super::{
    Tallies,
    scene::{Models, batch, beside_appends, event, model_of, must},
};
use crate::{contract::run::together, fake};

/// Else its rows would lack an event.
pub async fn a_program_that_does_not_know_the_model_appends_nothing_for_it<V: Views>(
    models: &Models<V>,
) {
    let stranger = models.as_another(None).await;
    stranger.append(batch("t-1", 1, &["a"])).await.expect("an append");
    models.kept().await;
    assert_eq!(model_of(stranger.append(batch("t-2", 2, &["a"])).await), "tally");
    let with_others = Batch::to(fake::stream("t-3")).event(event("any.thing", 1, &[]));
    let with_others = with_others.events(batch("t-3", 3, &["a"]).writes.remove(0).events);
    assert_eq!(model_of(stranger.append(with_others).await), "tally");
    assert_eq!(models.in_the_log("a").await, [1]);
    assert_eq!(models.row("a").await, Some(vec![1]));
}

/// A model is in nobody's way whom it does not concern.
pub async fn a_program_that_does_not_know_the_model_appends_everything_else<V: Views>(
    models: &Models<V>,
) {
    let stranger = models.as_another(None).await;
    models.kept().await;
    for number in 0..3 {
        let other = Batch::to(fake::stream("s-1")).event(event("other.added", number, &["a"]));
        stranger.append(other).await.expect("an append that concerns nobody");
    }
}

/// Nor are two revisions mixed.
pub async fn a_program_with_another_revision_appends_nothing_for_it<V: Views>(models: &Models<V>) {
    let newer = models.as_another(Some(Tallies::of_revision(2))).await;
    newer.append(batch("t-1", 1, &["a"])).await.expect("an append");
    models.kept().await;
    assert_eq!(model_of(newer.append(batch("t-2", 2, &["a"])).await), "tally");
    assert_eq!(models.row("a").await, Some(vec![1]));
}

/// Nothing of it is left.
pub async fn a_program_may_append_again_once_the_model_has_ended<V: Views>(models: &Models<V>) {
    let stranger = models.as_another(None).await;
    let part = models.kept().await;
    model_of(stranger.append(batch("t-1", 1, &["a"])).await);
    models.end(&part).await;
    stranger.append(batch("t-2", 2, &["a"])).await.expect("an append");
    models.work(&part).await;
    assert_eq!(models.row("a").await, Some(vec![2]));
}

/// Appends of several programs take turns as well.
pub async fn a_row_sees_the_events_of_two_programs_in_the_order_of_the_log<V: Views>(
    models: &Models<V>,
) {
    let other = models.as_another(Some(Tallies::default())).await;
    models.kept().await;
    let logs = [Arc::clone(&models.log), other];
    let appenders = (0..8_u64).map(|appender| {
        let log = Arc::clone(&logs[usize::try_from(appender % 2).unwrap_or_default()]);
        async move {
            for number in 0..8 {
                let number = 100 + appender * 8 + number;
                append(&*log, &batch(&format!("t-{appender}"), number, &["all"])).await;
            }
        }
    });
    together(appenders).await;
    let seen = models.row("all").await.expect("a row");
    assert_eq!(seen.len(), 64);
    assert_eq!(seen, models.in_the_log("all").await);
}

/// Again, as long as others are in the way.
async fn append(log: &dyn EventStore, batch: &Batch) {
    loop {
        match log.append(batch.clone()).await {
            Err(AppendError::Store(error)) if error.is_transient() => {}
            outcome => return drop(outcome.expect("an append")),
        }
    }
}

/// An append of a program that does not know the model is folded by the hand-over, or it is
/// refused.
pub async fn no_append_slips_through_while_a_model_begins<V: Views>(models: &Models<V>) {
    models.begun_in(1).await;
    let stranger = models.as_another(None).await;
    let goes_on = |told: Result<_, _>| match told {
        Err(AppendError::Model { .. }) => false,
        Err(AppendError::Store(error)) if error.is_transient() => true,
        outcome => must(outcome),
    };
    let begun = beside_appends(&stranger, &["a"], goes_on, models.keep_inline()).await;
    begun.expect("a model that is kept with each append");
    assert_eq!(models.row("a").await.unwrap_or_default(), models.in_the_log("a").await);
    model_of(stranger.append(batch("t-9", 9, &["a"])).await);
}
