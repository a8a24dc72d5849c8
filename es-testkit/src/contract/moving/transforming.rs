//! What becomes of an event is up to the copy.

use es_core::{
    Batch, CopyError, EventId, Expected, NewEvent, Position, RecordedEvent, Retention, StreamId,
    Upcast, Upcasters, Upcasting, copy, limits, memory::MemoryStore,
};
use parking_lot::Mutex;
use uuid::Uuid;

use super::scene::{Dies, Mortal, Store, contents, copying, filled, log_of, must, name};
use crate::fake;

type Outputs = Vec<(StreamId, NewEvent)>;

/// Drops some events, splits others, and renames and moves the rest.
fn transformed(event: RecordedEvent) -> Outputs {
    let (stream, mut event) = event.into_new();
    match event.event_type.as_str() {
        "thing.sent" => vec![],
        "thing.described" => {
            (0..3).map(|part| (other(&stream, part), part_of(&event, part))).collect()
        }
        _ => {
            event.event_type = name("thing.renamed");
            vec![(stream.of(fake::tenant("everybody")), event)]
        }
    }
}

/// One stream of the tenant, then two of another one.
fn other(stream: &StreamId, part: u8) -> StreamId {
    let tenant = if part == 0 { stream.tenant().clone() } else { fake::tenant("parts") };
    fake::stream(&format!("part-{part}")).of(tenant)
}

/// An id of its own that is the same in every run.
fn part_of(event: &NewEvent, part: u8) -> NewEvent {
    let id = Uuid::from_u128(event.id.uuid().as_u128() ^ u128::from(part));
    NewEvent { id: EventId::new(id), ..event.clone() }
}

async fn outputs(source: &MemoryStore) -> Outputs {
    log_of(source).await.into_iter().flat_map(transformed).collect()
}

/// The target holds what the transform says, in its order.
pub async fn a_transform_drops_renames_splits_and_moves_to_tenants(store: &Store) {
    let source = filled().await;
    let copied = copy(&source, &**store, copying().transform(transformed)).await.expect("a copy");
    let wanted = outputs(&source).await;
    assert_eq!(contents(&log_of(&**store).await), wanted);
    assert_eq!(copied.appended, wanted.len() as u64);
}

/// Even between the parts of one event.
pub async fn a_transform_killed_around_any_append_loses_and_doubles_nothing(store: &Store) {
    let source = filled().await;
    let wanted = outputs(&source).await;
    for dies in [Dies::Before, Dies::After] {
        for appends in 0.. {
            let target = store.another().await;
            let through = Mutex::new(Position::START);
            let telling = copying().transform(transformed);
            let telling = telling.progress(|copied| *through.lock() = copied.through);
            let mortal = Mortal::new(target.share(), appends, dies);
            let first = copy(&source, &mortal, telling).await;
            let rest = copying().transform(transformed).after(through.into_inner());
            copy(&source, &*target, rest).await.expect("a copy");
            assert_eq!(contents(&log_of(&*target).await), wanted, "{appends} {dies:?}");
            target.leave_alone().await;
            if first.is_ok() {
                assert!(appends > 5, "several batches");
                break;
            }
        }
    }
}

/// A batch may end within the parts of an event.
pub async fn a_split_larger_than_a_batch_goes_on_from_anywhere(store: &Store) {
    const PARTS: u128 = limits::BATCH_EVENTS as u128 * 5 / 2;
    let source = MemoryStore::new();
    for _ in 0..3 {
        must(&source, Batch::to(fake::stream("thing-a")).events(fake::events(1))).await;
    }
    let split = |event: RecordedEvent| {
        let (stream, event) = event.into_new();
        let id = event.id.uuid().as_u128() << 16;
        let part = |part| EventId::new(Uuid::from_u128(id | part));
        let parts =
            (0..PARTS).map(|at| (stream.clone(), NewEvent { id: part(at), ..event.clone() }));
        parts.collect()
    };
    let through = Mutex::new(vec![Position::START]);
    let telling = copying().transform(split);
    let telling = telling.progress(|copied| through.lock().push(copied.through));
    copy(&source, &**store, telling).await.expect("a copy");
    for through in through.into_inner() {
        let again = copying().transform(split).after(through);
        assert_eq!(copy(&source, &**store, again).await.expect("a copy").appended, 0);
    }
    assert_eq!(log_of(&**store).await.len() as u128, 3 * PARTS);
}

/// They share an id and a position.
pub async fn a_copy_through_upcasters_takes_every_part(store: &Store) {
    let source = MemoryStore::new();
    let joint = || fake::event("thing.joint").payload("{}").build();
    let batch = Batch::to(fake::stream("thing-a")).events((0..3).map(|_| joint()));
    must(&source, batch).await;
    let part = name("thing.part");
    let split =
        Upcasters::new().one_to_many(name("thing.joint"), 1, [(part.clone(), 2)], move |_| {
            let parts = (1..=3).map(|number| Upcast::new(part.clone(), 2, number.into()));
            Ok(parts.collect())
        });
    let source = Upcasting::new(source, split).expect("rules that hold together");
    for appended in [9, 0] {
        let copied = copy(&source, &**store, copying()).await.expect("a copy");
        assert_eq!((copied.appended, copied.known), (appended, 9 - appended));
        assert_eq!(contents(&log_of(&**store).await), contents(&log_of(&source).await));
    }
}

/// It cannot be compared any more.
pub async fn a_copy_of_what_the_target_has_removed_is_refused(store: &Store) {
    let stream = fake::stream("thing-a");
    let target = MemoryStore::new();
    must(&**store, Batch::to(stream.clone()).events(fake::events(3))).await;
    copy(&**store, &target, copying()).await.expect("a copy");
    target.delete(&stream, Expected::Any).await.expect("a deletion");
    let again = copy(&**store, &target, copying()).await;
    assert!(matches!(again, Err(CopyError::Diverged { .. })), "{again:?}");
}

/// What it had copied is not what it would copy now.
pub async fn another_transform_under_the_same_name_is_refused(store: &Store) {
    let source = filled().await;
    copy(&source, &**store, copying()).await.expect("a copy");
    let before = log_of(&**store).await.len();
    let other = copying().transform(|event: RecordedEvent| {
        let (stream, event) = event.into_new();
        vec![(stream.clone(), part_of(&event, 1)), (stream, event)]
    });
    let refusal = copy(&source, &**store, other).await.expect_err("a refusal");
    assert!(matches!(refusal, CopyError::Diverged { .. }), "{refusal:?}");
    assert_eq!(log_of(&**store).await.len(), before);
}

/// There is nothing to append.
pub async fn a_transform_that_drops_everything_comes_through(store: &Store) {
    let source = filled().await;
    let copied = copy(&source, &**store, copying().transform(|_| vec![])).await.expect("a copy");
    let last = log_of(&source).await.last().map(|event| event.position);
    assert_eq!((copied.appended, Some(copied.through)), (0, last));
    assert!(log_of(&**store).await.is_empty());
}
