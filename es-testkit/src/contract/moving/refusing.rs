//! An import is whole, or it has not happened.

use std::{cell::RefCell, mem};

use es_core::{Batch, Claim, EventStore, ImportError, Position, RecordedEvent, limits};
use futures_util::{StreamExt, stream};

use super::scene::{Store, at, broken, everything, filled, log_of, must, name, pages, pages_of};
use crate::{contract::run::together, fake, sweep};

async fn refusal(store: &Store, events: Vec<RecordedEvent>) -> ImportError {
    store.import(pages(events)).await.expect_err("an import that must be refused")
}

/// The store is empty, and an import finds it so.
async fn assert_untouched(store: &Store) {
    assert!(log_of(&**store).await.is_empty(), "a refused import leaves no trace");
    let source = filled().await;
    store.import(source.read(everything())).await.expect("an import");
    assert_eq!(log_of(&**store).await, log_of(&source).await);
}

/// What is imported keeps its place, and places are taken.
pub async fn a_store_with_events_refuses_an_import(store: &Store) {
    must(&**store, Batch::to(fake::stream("thing-a")).events(fake::events(1))).await;
    let refusal = refusal(store, vec![at("thing-b", 1, 100)]).await;
    assert!(matches!(refusal, ImportError::NotEmpty), "{refusal:?}");
    assert_eq!(log_of(&**store).await.len(), 1);
}

/// Claims without events are something too.
pub async fn a_store_with_claims_refuses_an_import(store: &Store) {
    let stream = fake::stream("thing-a");
    let claim = Claim::take("scope", "key", stream.clone()).expect("a claim");
    must(&**store, Batch::to(stream).claim(claim)).await;
    let refusal = refusal(store, vec![at("thing-b", 1, 100)]).await;
    assert!(matches!(refusal, ImportError::NotEmpty), "{refusal:?}");
}

/// Whatever came before the failure.
pub async fn an_import_that_fails_leaves_nothing(store: &Store) {
    let events = (1..=20_000).map(|position| at("thing-a", position, position)).collect();
    let failing = pages(events).chain(stream::once(async { Err(broken()) })).boxed();
    let failure = store.import(failing).await.expect_err("the failure of the source");
    assert!(matches!(failure, ImportError::Source(_)), "{failure:?}");
    assert_untouched(store).await;
}

/// All is there, or nothing.
pub async fn an_import_dropped_wherever_it_waits_leaves_nothing(store: &Store) {
    let source = filled().await;
    let wanted = log_of(&source).await;
    let target = RefCell::new(store.another().await);
    let swept = sweep(
        |_| {
            let (target, pages) = (target.borrow().share(), pages_of(wanted.clone(), 7));
            async move { target.import(pages).await }
        },
        async |run| {
            let next = store.another().await;
            let dropped = mem::replace(&mut *target.borrow_mut(), next);
            // What was dropped may still be carried out.
            match dropped.import(source.read(everything())).await {
                Ok(_) | Err(ImportError::NotEmpty) => {}
                Err(error) => panic!("after drop {run}: {error:?}"),
            }
            assert_eq!(log_of(&*dropped).await, wanted);
            dropped.leave_alone().await;
        },
    );
    swept.await.output.expect("an import");
}

/// The others find that it is not empty.
pub async fn two_imports_at_once_leave_one(store: &Store) {
    let source = filled().await;
    let run = || {
        let (target, pages) = (store.share(), source.read(everything()));
        async move { target.import(pages).await }
    };
    let done = together([run(), run(), run()]).await;
    assert_eq!(done.iter().filter(|one| one.is_ok()).count(), 1, "{done:?}");
    let refused = |one: &Result<_, ImportError>| matches!(one, Err(ImportError::NotEmpty));
    assert_eq!(done.iter().filter(|one| refused(one)).count(), 2, "{done:?}");
    assert_eq!(log_of(&**store).await, log_of(&source).await);
}

/// Never among what is imported.
pub async fn an_append_during_an_import_is_before_or_behind_it(store: &Store) {
    let source = filled().await;
    let stream = fake::stream("thing-a");
    let batch = Batch::to(stream).events(fake::events(1)).append_id(fake::append_id());
    let (imported, appended) =
        tokio::join!(store.import(source.read(everything())), store.append(batch.clone()));
    let log = log_of(&**store).await;
    let wanted = log_of(&source).await;
    match (imported, appended) {
        (Ok(imported), Ok(appended)) => {
            assert_eq!(log[..wanted.len()], wanted);
            assert!(appended.position > imported.position);
        }
        (Ok(_), Err(_)) => assert_eq!(log, wanted),
        (Err(refusal), appended) => {
            assert!(matches!(refusal, ImportError::NotEmpty), "{refusal:?}");
            assert_eq!(log.len(), usize::from(appended.is_ok()));
        }
    }
}

async fn assert_invalid(store: &Store, events: Vec<RecordedEvent>, wanted: u64) {
    let last = events.last().expect("an event").clone();
    match refusal(store, events).await {
        ImportError::Invalid { position, .. } => assert_eq!(position, Position::new(wanted)),
        other => panic!("an invalid event was due, not {other:?}: {last:?}"),
    }
    assert!(log_of(&**store).await.is_empty(), "a refused import leaves no trace");
}

/// An event is missing.
pub async fn a_hole_in_a_stream_is_refused(store: &Store) {
    let log =
        vec![at("thing-a", 4, 1), at("thing-b", 1, 2), at("thing-a", 6, 3), at("thing-b", 2, 4)];
    assert_invalid(store, log, 3).await;
    assert_untouched(store).await;
}

/// Only one of them can be the event of that version.
pub async fn a_version_that_comes_twice_is_refused(store: &Store) {
    let log =
        vec![at("thing-a", 4, 1), at("thing-b", 1, 2), at("thing-a", 4, 3), at("thing-b", 2, 4)];
    assert_invalid(store, log, 3).await;
    assert_untouched(store).await;
}

/// Of the log, and of a stream.
pub async fn positions_out_of_order_are_refused(store: &Store) {
    assert_invalid(store, vec![at("thing-a", 1, 2), at("thing-b", 1, 1)], 1).await;
    assert_invalid(store, vec![at("thing-a", 1, 2), at("thing-b", 1, 2)], 2).await;
    assert_invalid(store, vec![at("thing-a", 1, 0)], 0).await;
    assert_invalid(store, vec![at("thing-a", 2, 1), at("thing-a", 1, 2)], 2).await;
    assert_untouched(store).await;
}

/// As from a file that somebody has written by hand.
pub async fn what_no_store_records_is_refused(store: &Store) {
    let with = |change: &dyn Fn(&mut RecordedEvent)| {
        let mut event = at("thing-b", 1, 2);
        change(&mut event);
        vec![at("thing-a", 1, 1), event]
    };
    let many = (0..=limits::TAGS).map(|n| fake::tag("n", &n.to_string()));
    let many: Vec<_> = many.collect();
    let changes: [&dyn Fn(&mut RecordedEvent); 6] = [
        &|event| event.event_type = name("$dropped"),
        &|event| event.payload = vec![b'1'; limits::PAYLOAD_BYTES + 1].into(),
        &|event| event.payload = "[".repeat(limits::JSON_DEPTH + 1).into(),
        &|event| event.tags = many.clone(),
        &|event| event.recorded_at = chrono::DateTime::<chrono::Utc>::MAX_UTC,
        &|event| event.version = es_core::Version::NONE,
    ];
    for change in changes {
        assert_invalid(store, with(change), 2).await;
    }
    let last = (1 << 48) - 1;
    assert_invalid(store, vec![at("thing-a", 1, last + 1)], last + 1).await;
    assert_invalid(store, vec![at("thing-a", u64::MAX, 1)], 1).await;
    assert_untouched(store).await;
}
