//! An append and its rows are one.

use std::sync::Arc;

use es_core::{AppendError, AppendId, Batch, Expected, Version, Views, Write};

use super::{
    scene::{Models, TALLY, added, batch, event, model_of},
    tallies::{DELETING, UNLUCKY},
};
use crate::{contract::run::together, fake};

/// Whoever has appended finds the rows changed.
pub async fn an_append_changes_its_rows_at_once<V: Views>(models: &Models<V>) {
    models.kept().await;
    for number in 1..=3 {
        models.add(number, &["a", "b"]).await;
        assert_eq!(models.row("a").await, Some((1..=number).collect()));
    }
    assert_eq!(models.row("b").await, Some(vec![1, 2, 3]));
    assert_eq!(models.row("c").await, None);
}

/// Appenders that come at once to one row take turns.
pub async fn a_row_sees_the_events_of_16_appenders_in_the_order_of_the_log<V: Views>(
    models: &Models<V>,
) {
    models.kept().await;
    let appenders = (0..16).map(|appender: u64| {
        let log = Arc::clone(&models.log);
        async move {
            for number in 0..8 {
                let number = 100 + appender * 8 + number;
                let one = batch(&format!("t-{appender}"), number, &["all"]);
                log.append(one).await.expect("an append");
            }
        }
    });
    together(appenders).await;
    let seen = models.row("all").await.expect("a row");
    assert_eq!(seen.len(), 128);
    assert_eq!(seen, models.in_the_log("all").await);
}

/// What is not appended changes nothing.
pub async fn a_refused_append_changes_no_row<V: Views>(models: &Models<V>) {
    models.kept().await;
    let late = batch("t-1", 1, &["a"]).expect(Expected::Exact(Version::new(7)));
    let refusal = models.log.append(late).await.expect_err("a conflict");
    assert!(matches!(refusal, AppendError::Conflict(_)), "{refusal:?}");
    assert_eq!(models.row("a").await, None);
    assert!(models.tallies.committed().is_empty());
}

/// An event that no row can take is not in the log, nor is what comes with it.
pub async fn an_event_that_cannot_be_folded_is_not_appended<V: Views>(models: &Models<V>) {
    models.kept().await;
    let with_it = Batch::to(fake::stream("t-1")).event(added(1, &["a"]));
    let refusal = models.log.append(with_it.event(added(UNLUCKY, &["a"]))).await;
    assert_eq!(model_of(refusal), "tally");
    assert_eq!(models.row("a").await, None);
    assert!(models.in_the_log("a").await.is_empty());
    let position = models.add(2, &["a"]).await;
    assert_eq!(models.row("a").await, Some(vec![2]));
    assert_eq!(models.build().await.position(), Some(position));
}

/// Of many appends at once only the one is refused.
pub async fn an_event_that_cannot_be_folded_touches_no_other_append<V: Views>(models: &Models<V>) {
    models.kept().await;
    let appends = (1..=32).map(|number: u64| {
        let log = Arc::clone(&models.log);
        async move { log.append(batch(&format!("t-{number}"), number, &["all"])).await }
    });
    for (number, outcome) in (1..=32).zip(together(appends).await) {
        assert_eq!(outcome.is_err(), number == UNLUCKY, "{number}: {outcome:?}");
    }
    let seen = models.row("all").await.expect("a row");
    assert_eq!(seen.len(), 31);
    assert_eq!(seen, models.in_the_log("all").await);
}

/// The same append id changes nothing a second time.
pub async fn a_repeated_append_changes_its_rows_once<V: Views>(models: &Models<V>) {
    models.kept().await;
    let once = batch("t-1", 1, &["a"]).append_id(AppendId::derive("once"));
    let first = models.append(once.clone()).await;
    let again = models.append(once).await;
    assert!(!first.repeated && again.repeated);
    assert_eq!(models.row("a").await, Some(vec![1]));
}

/// What the model does not take leaves it where it is.
pub async fn events_of_other_types_change_no_row<V: Views>(models: &Models<V>) {
    models.kept().await;
    let position = models.add(1, &["a"]).await;
    let strange = Batch::to(fake::stream("s-1")).event(event("strange.added", 2, &["a"]));
    models.append(strange.event(event("other.added", 3, &["a"]))).await;
    assert_eq!(models.row("a").await, Some(vec![1]));
    assert_eq!(models.build().await.position(), Some(position));
}

/// One batch, several streams and several rows.
pub async fn a_batch_of_many_streams_changes_each_row<V: Views>(models: &Models<V>) {
    models.kept().await;
    let write = |stream, number, rows: &[&str]| {
        Write::new(fake::stream(stream)).events([added(number, rows)])
    };
    let all = [write("t-1", 1, &["a"]), write("t-2", 2, &["a", "b"]), write("t-1", 3, &["b"])];
    models.append(Batch::new(all)).await;
    assert_eq!(models.row("a").await, Some(vec![1, 2]));
    assert_eq!(models.row("b").await, Some(vec![2, 3]));
}

/// A fold may end a row, and begin it anew.
pub async fn a_row_without_a_value_is_deleted<V: Views>(models: &Models<V>) {
    models.kept().await;
    models.add(1, &["a", "b"]).await;
    models.add(DELETING, &["a"]).await;
    assert_eq!(models.row("a").await, None);
    assert_eq!(models.row("b").await, Some(vec![1]));
    models.add(2, &["a"]).await;
    assert_eq!(models.row("a").await, Some(vec![2]));
}

/// One key is another row for each tenant.
pub async fn the_rows_of_tenants_are_apart<V: Views>(models: &Models<V>) {
    models.kept().await;
    models.add(1, &["a"]).await;
    let acme = fake::tenant("acme");
    let theirs = fake::stream("t-1").of(acme.clone());
    models.append(Batch::to(theirs).event(added(2, &["a"]))).await;
    assert_eq!(models.row("a").await, Some(vec![1]));
    assert_eq!(models.row_of(&acme, "a").await, Some(vec![2]));
}

/// The model is as far as its last event.
pub async fn the_checkpoint_comes_with_the_rows<V: Views>(models: &Models<V>) {
    models.begun_in(4).await;
    models.keep_inline().await.expect("a model that is kept with each append");
    for number in 1..=5 {
        let position = models.add(number, &["a"]).await;
        let build = models.build().await;
        let positions: Vec<_> = build.parts.iter().map(|part| part.checkpoint.position).collect();
        assert_eq!(positions, [position; 4]);
        assert!(build.is_inline());
    }
}

/// A cache that listens is never older than what an appender knows.
pub async fn what_was_committed_is_told_before_the_answer<V: Views>(models: &Models<V>) {
    models.kept().await;
    let position = models.add(1, &["a"]).await;
    let told = models.tallies.committed();
    let [folded] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&folded.part.model, folded.part.build, folded.position), (&TALLY, 1, position));
    assert_eq!(folded.rows.iter().map(|row| &row.id.key).collect::<Vec<_>>(), ["a"]);
}

/// That a store knows a model changes nothing, as long as workers keep it.
pub async fn models_that_are_not_kept_so_change_no_row<V: Views>(models: &Models<V>) {
    models.add(1, &["a"]).await;
    let part = models.begun_in(1).await.remove(0);
    models.add(2, &["a"]).await;
    models.add(UNLUCKY, &["b"]).await;
    assert_eq!(models.row("a").await, None);
    let (_, checkpoint) = models.views.begin(&part).await.expect("a transaction");
    assert_eq!(checkpoint.position, es_core::Position::START);
}
