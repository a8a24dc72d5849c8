//! Models that are handed over to appends while others append.

use std::sync::{
    Arc,
    mpsc::{Receiver, SyncSender, sync_channel},
};

use es_core::{AppendError, Batch, Builds, EventStore, StoreError, StoreErrorKind};
use es_postgres::PostgresStore;
use parking_lot::Mutex;

use crate::{
    inlined::{SEEN, Seen, assert_shows, begun, kept, logged, seen},
    log::{Begun, Log, begin, begin_append, in_time, on_a_log, pid, run, to},
};

/// As often as somebody is in the way.
fn begin_keeping(store: &PostgresStore) -> Begun<Result<(), StoreError>> {
    let store = store.clone();
    begin(async move {
        loop {
            let kept = store.keep_inline(&SEEN).await;
            if !is_busy(&kept) {
                return kept;
            }
        }
    })
}

fn is_busy(outcome: &Result<(), StoreError>) -> bool {
    matches!(outcome, Err(error) if error.kind() == StoreErrorKind::Busy)
}

fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, AppendError>) {
    let is_refused = matches!(&outcome, Err(AppendError::Model { model, .. }) if *model == SEEN);
    assert!(is_refused, "{outcome:?}");
}

fn assert_kind<T: std::fmt::Debug>(outcome: Result<T, AppendError>, kind: StoreErrorKind) {
    let is_so = matches!(&outcome, Err(AppendError::Store(error)) if error.kind() == kind);
    assert!(is_so, "{outcome:?} is not {kind:?}");
}

/// It is not seen by whoever looks for what the model lacks.
#[tokio::test]
async fn a_model_does_not_begin_past_an_append_that_is_under_way() {
    on_a_log("inline_held", async |log| {
        let ours = log.inline(Seen::new()).await;
        begun(&ours).await;
        let held = log.hold(seen("a-1")).await;
        let keeping = begin_keeping(&ours);
        log.until_blocked_by(held.pid).await;
        held.commit().await;
        keeping.end().await.expect("a model that begins");
        assert_shows(&ours, 1).await;
        ours.close().await;
    })
    .await;
}

/// Nobody waits for it in vain, and nothing has changed.
#[tokio::test]
async fn a_model_does_not_begin_while_a_transaction_stays_open() {
    on_a_log("inline_open", async |log| {
        let ours = log.inline(Seen::new()).await;
        begun(&ours).await;
        let held = log.hold(seen("a-1")).await;
        assert!(is_busy(&ours.keep_inline(&SEEN).await));
        held.commit().await;
        log.store.append(seen("a-2")).await.expect("an append of a program that knows no model");
        let builds = ours.builds(&[SEEN]).await.expect("builds");
        assert!(!builds[0].is_inline());
        ours.close().await;
    })
    .await;
}

/// Where a fold waits until it is let go.
struct Stop {
    folds: Mutex<Receiver<()>>,
    goes_on: SyncSender<()>,
}

fn stopping() -> (Seen, Arc<Stop>) {
    let ((tell, folds), (goes_on, go)) = (sync_channel(1), sync_channel(1));
    let go = Mutex::new(go);
    let model = Seen::when_folding(move |_| {
        tell.send(()).map_err(|error| error.to_string())?;
        go.lock().recv().map_err(|error| error.to_string())
    });
    (model, Arc::new(Stop { folds: Mutex::new(folds), goes_on }))
}

impl Stop {
    async fn until_folding(&self) {
        let folding = async {
            while self.folds.lock().try_recv().is_err() {
                tokio::task::yield_now().await;
            }
        };
        in_time("a fold", folding).await;
    }

    fn let_go(&self) {
        self.goes_on.send(()).expect("a fold that waits");
    }
}

/// Whoever comes in the middle waits, and then knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_append_that_comes_while_a_model_begins_is_refused() {
    on_a_log("inline_late", async |log| {
        let (model, stop) = stopping();
        let ours = log.inline(model).await;
        begun(&ours).await;
        log.store.append(seen("a-1")).await.expect("an append");
        let old = log.with_setting("default_transaction_isolation", "repeatable%5C%20read").await;
        let keeping = begin_keeping(&ours);
        stop.until_folding().await;
        let late = [&log.store, &old].map(|store| begin_append(store, seen("a-2")));
        log.until_waiting(2).await;
        stop.let_go();
        keeping.end().await.expect("a model that begins");
        for (late, store) in late.into_iter().zip([&log.store, &old]) {
            assert_refused(late.end().await);
            assert_refused(store.append(seen("a-2")).await);
        }
        assert_shows(&ours, 1).await;
        ours.close().await;
        old.close().await;
    })
    .await;
}

/// It does not see the model, which has begun since then.
#[tokio::test]
async fn an_old_snapshot_appends_nothing_for_a_model_that_has_begun() {
    on_a_log("inline_snapshot", async |log| {
        let ours = log.inline(Seen::new()).await;
        begun(&ours).await;
        let mut session = log.session().await;
        let old = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
        run(&mut session, old).await;
        ours.keep_inline(&SEEN).await.expect("a model that is kept with each append");
        assert_kind(log.store.append_in(&mut session, seen("a-1")).await, StoreErrorKind::Busy);
        run(&mut session, "ROLLBACK").await;

        run(&mut session, old).await;
        assert_refused(log.store.append_in(&mut session, seen("a-1")).await);
        log.store.append_in(&mut session, to("a-1")).await.expect("an append that is free");
        run(&mut session, "COMMIT").await;
        assert_shows(&ours, 0).await;
        ours.close().await;
    })
    .await;
}

#[tokio::test]
async fn old_snapshots_as_the_default_pass_by_no_model() {
    on_a_log("inline_default", async |log| {
        let ours = log.inline(Seen::new()).await;
        kept(&ours).await;
        for level in ["repeatable%5C%20read", "serializable"] {
            let old = log.with_setting("default_transaction_isolation", level).await;
            assert_refused(old.append(seen("a-1")).await);
            old.append(to("b-1")).await.expect("an append that concerns no model");
            old.close().await;
        }
        ours.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_transaction_of_the_caller_changes_the_rows_or_nothing() {
    on_a_log("inline_in", async |log| {
        let ours = log.inline(Seen::new()).await;
        kept(&ours).await;
        let mut session = log.session().await;
        for (end, events) in [("ROLLBACK", 0), ("COMMIT", 2), ("ROLLBACK", 2)] {
            run(&mut session, "BEGIN").await;
            for stream in ["a-1", "a-2"] {
                ours.append_in(&mut session, seen(stream)).await.expect("an append");
            }
            run(&mut session, end).await;
            assert_shows(&ours, events).await;
        }
        ours.append(seen("a-1")).await.expect("an append by itself");
        assert_shows(&ours, 3).await;
        ours.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_transaction_stays_usable_when_an_event_cannot_be_folded() {
    on_a_log("inline_refused", async |log| {
        let lucky = Arc::new(Mutex::new(true));
        let luck = Arc::clone(&lucky);
        let fold = move |_| luck.lock().then_some(()).ok_or_else(|| "no luck".to_owned());
        let ours = log.inline(Seen::when_folding(fold)).await;
        kept(&ours).await;
        let mut session = log.session().await;
        run(&mut session, "BEGIN").await;
        ours.append_in(&mut session, seen("a-1")).await.expect("an append");
        *lucky.lock() = false;
        assert_refused(ours.append_in(&mut session, seen("a-2")).await);
        ours.append_in(&mut session, to("b-1")).await.expect("a usable transaction");
        *lucky.lock() = true;
        ours.append_in(&mut session, seen("a-3")).await.expect("a usable transaction");
        run(&mut session, "COMMIT").await;
        assert_shows(&ours, 2).await;
        ours.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_transaction_with_an_old_snapshot_changes_no_rows() {
    on_a_log("inline_isolation", async |log| {
        let ours = log.inline(Seen::new()).await;
        kept(&ours).await;
        let mut session = log.session().await;
        run(&mut session, "BEGIN ISOLATION LEVEL REPEATABLE READ").await;
        assert_kind(ours.append_in(&mut session, seen("a-1")).await, StoreErrorKind::Invalid);
        ours.append_in(&mut session, to("b-1")).await.expect("a usable transaction");
        run(&mut session, "COMMIT").await;
        assert!(logged(&ours).await.is_empty());
        ours.close().await;
    })
    .await;
}

/// A transaction has the model, and does not end.
#[tokio::test]
async fn who_waits_for_a_model_in_vain_keeps_no_other_append_waiting() {
    on_a_log("inline_vain", async |log: &Log| {
        let ours = log.hasty_inline(Seen::new()).await;
        kept(&ours).await;
        let mut session = log.session().await;
        run(&mut session, "BEGIN").await;
        ours.append_in(&mut session, seen("a-0")).await.expect("an append");
        let first = begin_append(&ours, seen("a-first"));
        log.until_blocked_by(pid(&mut session).await).await;
        let answered = Arc::new(Mutex::new(Vec::new()));
        let begin_noted = |batch: Batch, is_late: bool| {
            let (ours, answered) = (ours.clone(), Arc::clone(&answered));
            begin(async move {
                let told = ours.append(batch).await;
                answered.lock().push(is_late);
                told
            })
        };
        let others = (1..=40).map(|one| begin_noted(to(&format!("b-{one}")), false));
        let others: Vec<_> = others.collect();
        let models = (1..=40).map(|one| begin_noted(seen(&format!("a-{one}")), true));
        let models: Vec<_> = models.collect();
        for other in others {
            other.end().await.expect("an append that concerns no model");
        }
        for late in models.into_iter().chain([first]) {
            assert_kind(late.end().await, StoreErrorKind::Busy);
        }
        assert!(answered.lock().is_sorted(), "{answered:?}");
        run(&mut session, "COMMIT").await;
        ours.append(seen("a-1")).await.expect("an append");
        assert_shows(&ours, 2).await;
        ours.close().await;
    })
    .await;
}

/// Other models, and other programs, are in nobody's way.
#[tokio::test]
async fn who_waits_for_a_model_keeps_nobody_else_waiting() {
    on_a_log("inline_waits", async |log: &Log| {
        let ours = log.inline(Seen::new()).await;
        kept(&ours).await;
        let mut session = log.session().await;
        run(&mut session, "BEGIN").await;
        ours.append_in(&mut session, seen("a-1")).await.expect("an append");
        let waiting = begin_append(&ours, seen("a-2"));
        log.until_waiting(1).await;
        log.store.append(to("b-1")).await.expect("an append that concerns no model");
        run(&mut session, "COMMIT").await;
        waiting.end().await.expect("an append that has waited");
        assert_shows(&ours, 2).await;
        ours.close().await;
    })
    .await;
}
