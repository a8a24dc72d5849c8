//! A copy loses nothing, doubles nothing, and can be stopped anywhere.

use es_core::{
    Batch, CopyError, Copying, Import, Position, Read, copy, limits, memory::MemoryStore,
};
use parking_lot::Mutex;

use super::scene::{
    Dies, Mortal, Store, at, contents, copying, everything, fill, filled, find, log_of, log_with,
    must, name, pages,
};
use crate::{contract::run::together, fake, sweep};

/// The events of the source, in its order.
pub async fn a_copy_to_memory_holds_the_same_in_the_same_order(store: &Store) {
    fill(&**store).await;
    let target = MemoryStore::new();
    let copied = copy(&**store, &target, copying()).await.expect("a copy");
    let source = log_of(&**store).await;
    assert_eq!(contents(&log_of(&target).await), contents(&source));
    assert_eq!((copied.read, copied.appended), (source.len() as u64, source.len() as u64));
    assert_eq!(copied.through, source.last().expect("an event").position);
}

/// The events of the source, in its order.
pub async fn a_copy_from_memory_holds_the_same_in_the_same_order(store: &Store) {
    let source = filled().await;
    copy(&source, &**store, copying()).await.expect("a copy");
    assert_eq!(contents(&log_of(&**store).await), contents(&log_of(&source).await));
}

/// The events of the source, in its order.
pub async fn a_copy_within_one_kind_of_store_holds_the_same(store: &Store) {
    fill(&**store).await;
    let target = store.another().await;
    copy(&**store, &*target, copying()).await.expect("a copy");
    assert_eq!(contents(&log_of(&*target).await), contents(&log_of(&**store).await));
}

/// It finds what it has done.
pub async fn a_copy_begun_again_appends_nothing(store: &Store) {
    let source = filled().await;
    let first = copy(&source, &**store, copying()).await.expect("a copy");
    let again = copy(&source, &**store, copying()).await.expect("a copy");
    assert_eq!((again.appended, again.known), (0, first.appended));
    assert_eq!(contents(&log_of(&**store).await), contents(&log_of(&source).await));
}

/// Whatever the last batch of the earlier run held.
pub async fn a_copy_takes_what_came_since(store: &Store) {
    let source = MemoryStore::new();
    for count in [1, 300, 1, 700, 1] {
        must(&source, Batch::to(fake::stream("thing-a")).events(fake::events(count))).await;
        let copied = copy(&source, &**store, copying()).await.expect("a copy");
        assert_eq!(copied.appended, count as u64);
    }
    assert_eq!(contents(&log_of(&**store).await), contents(&log_of(&source).await));
}

/// Before the append, and before its answer.
pub async fn a_copy_killed_around_any_append_loses_and_doubles_nothing(store: &Store) {
    let source = filled().await;
    for dies in [Dies::Before, Dies::After] {
        for appends in 0.. {
            let target = store.another().await;
            let mortal = Mortal::new(target.share(), appends, dies);
            let first = copy(&source, &mortal, copying()).await;
            copy(&source, &*target, copying()).await.expect("a copy");
            assert_eq!(contents(&log_of(&*target).await), contents(&log_of(&source).await));
            target.leave_alone().await;
            if first.is_ok() {
                assert!(appends > 3, "several batches");
                break;
            }
        }
    }
}

/// Even in the middle of an append.
pub async fn a_copy_dropped_wherever_it_waits_loses_and_doubles_nothing(store: &Store) {
    let (source, target) = (MemoryStore::new(), store.share());
    for tenant in ["acme", "default", "acme"].map(fake::tenant) {
        must(&source, Batch::to(fake::stream("thing-a").of(tenant)).events(fake::events(2))).await;
    }
    let named = |run| Copying::all(name(&format!("copy {run}")));
    let wanted = contents(&log_of(&source).await);
    let swept = sweep(
        |run| copy(&source, &*target, named(run)),
        async |run| {
            // What was dropped may still be carried out.
            copy(&source, &*target, named(run)).await.expect("a copy");
            let all = contents(&log_with(&*target, (run + 1) * wanted.len()).await);
            assert_eq!(all.len(), (run + 1) * wanted.len());
            assert_eq!(all[run * wanted.len()..], wanted);
        },
    );
    swept.await.output.expect("a copy");
}

/// Each position that it tells is one.
pub async fn a_copy_goes_on_from_anywhere_it_had_come_through(store: &Store) {
    let source = filled().await;
    let through = Mutex::new(vec![Position::START]);
    let telling = copying().progress(|copied| through.lock().push(copied.through));
    copy(&source, &**store, telling).await.expect("a copy");
    let mut through = through.into_inner();
    assert!(through.is_sorted());
    through.dedup();
    assert!(through.len() > 3, "it tells of several batches");
    for through in through {
        let again = copy(&source, &**store, copying().after(through)).await.expect("a copy");
        assert_eq!(again.appended, 0, "after {through}");
    }
    assert_eq!(contents(&log_of(&**store).await), contents(&log_of(&source).await));
}

/// In the same streams too.
pub async fn a_copy_leaves_what_the_target_holds(store: &Store) {
    let source = filled().await;
    fill(&**store).await;
    let before = contents(&log_of(&**store).await);
    for _ in 0..2 {
        copy(&source, &**store, copying()).await.expect("a copy");
    }
    let all = contents(&log_of(&**store).await);
    assert_eq!(all[..before.len()], before);
    assert_eq!(all[before.len()..], contents(&log_of(&source).await));
}

/// As if somebody had started it twice.
pub async fn two_copies_at_once_double_nothing(store: &Store) {
    let source = filled().await;
    let run = || {
        let (source, target) = (source.clone(), store.share());
        async move { copy(&source, &*target, copying()).await.map(|copied| copied.appended) }
    };
    let appended = together([run(), run(), run()]).await;
    let appended: u64 = appended.into_iter().map(|copied| copied.expect("a copy")).sum();
    let source = log_of(&source).await;
    assert_eq!(appended, source.len() as u64);
    assert_eq!(contents(&log_with(&**store, source.len()).await), contents(&source));
}

/// Until it is dropped.
pub async fn a_copy_that_follows_takes_what_comes(store: &Store) {
    let target = MemoryStore::new();
    let (through, mut seen) = tokio::sync::watch::channel(Position::START);
    let telling = copying().follow().progress(move |copied| {
        through.send_replace(copied.through);
    });
    let writing = async {
        for count in [1, 400, 2] {
            let stream = fake::stream("thing-a");
            let batch = Batch::to(stream).events(fake::events(count));
            let written = must(&**store, batch).await.position;
            seen.wait_for(|through| *through >= written).await.expect("a copy under way");
            let source = contents(&log_of(&**store).await);
            assert_eq!(contents(&log_of(&target).await), source);
        }
    };
    tokio::select! {
        ended = copy(&**store, &target, telling) => panic!("it ended: {ended:?}"),
        () = writing => {}
    }
}

/// By tenant, as by any other filter.
pub async fn a_copy_of_a_part_takes_that_part(store: &Store) {
    let source = filled().await;
    let acme = Read::all().of(fake::tenant("acme"));
    let part = Copying::of(name("acme"), acme.clone());
    copy(&source, &**store, part).await.expect("a copy");
    let wanted = find(&source, acme).await;
    assert!(!wanted.is_empty());
    assert_eq!(contents(&log_of(&**store).await), contents(&wanted));
}

/// Of a batch in events and in bytes.
pub async fn a_copy_of_large_events_keeps_to_the_bounds(store: &Store) {
    let source = MemoryStore::new();
    for bytes in [limits::PAYLOAD_BYTES, 10, limits::PAYLOAD_BYTES, limits::PAYLOAD_BYTES / 2] {
        for _ in 0..3 {
            let event = fake::event("film.sent").content_type(es_core::ContentType::BYTES);
            let batch =
                Batch::to(fake::stream("film-1")).event(event.payload(vec![7; bytes]).into());
            must(&source, batch).await;
        }
    }
    must(&source, Batch::to(fake::stream("thing-a")).events(fake::events(1_000))).await;
    must(&source, Batch::to(fake::stream("thing-b")).events(fake::events(1_000))).await;
    copy(&source, &**store, copying()).await.expect("a copy");
    let equal = contents(&log_of(&**store).await) == contents(&log_of(&source).await);
    assert!(equal, "the events of the source");
}

/// A batch takes each id once, a log may hold it twice.
pub async fn an_event_id_that_occurs_twice_is_copied_twice(store: &Store) {
    let event = fake::event("thing.repeated").build();
    for _ in 0..2 {
        must(&**store, Batch::to(fake::stream("thing-a")).event(event.clone())).await;
    }
    let target = MemoryStore::new();
    copy(&**store, &target, copying()).await.expect("a copy");
    assert_eq!(log_of(&target).await.len(), 2);
}

/// It says nothing where the events still are.
pub async fn what_a_store_marks_by_itself_is_not_copied(store: &Store) {
    let (mut marker, source) = (at("thing-a", 5, 9), MemoryStore::new());
    marker.event_type = name("gesta.deleted");
    let log = vec![at("thing-b", 1, 7), marker, at("thing-a", 6, 11)];
    source.import(pages(log)).await.expect("an import");
    let copied = copy(&source, &**store, copying()).await.expect("a copy");
    assert_eq!((copied.read, copied.appended), (3, 2));
    let versions = log_of(&**store).await.into_iter().map(|event| event.version.get());
    assert_eq!(versions.collect::<Vec<_>>(), [1, 1]);
}

/// The order of the source is the order of the target.
pub async fn a_copy_backwards_is_refused(store: &Store) {
    let backwards = Copying::of(name("back"), everything().backwards());
    let refusal = copy(&filled().await, &**store, backwards).await.expect_err("a refusal");
    assert!(matches!(refusal, CopyError::Source(_)));
}
