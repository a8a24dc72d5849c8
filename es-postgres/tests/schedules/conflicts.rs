//! Appends of a crowd whose streams have grown: each is told what it has missed.

use es_core::{AppendError, Batch, Conflict, EventStore, Expected, Version, limits};
use es_testkit::fake;

use crate::log::{Log, begin_append, on_a_log, thing, to};

/// An append, and what its writer is to be told: the version, and how many events
/// he has not seen; nothing, if the append is right.
struct Case {
    stream: &'static str,
    expected: Expected,
    told: Option<(u64, usize)>,
}

fn exact(version: u64) -> Expected {
    Expected::Exact(Version::new(version))
}

fn cases() -> Vec<Case> {
    let case = |stream, expected, told| Case { stream, expected, told };
    vec![
        case("grown-1", exact(3), Some((5, 2))),
        case("grown-2", exact(5), None),
        case("grown-3", Expected::NoStream, Some((5, 5))),
        case("grown-4", exact(9), Some((5, 0))),
        case("none-1", exact(2), Some((0, 0))),
        case("none-2", Expected::NoStream, None),
        case("none-3", Expected::Exists, Some((0, 0))),
        case("large-1", exact(0), Some((3, 3))),
        case("long-1", exact(1), Some((1_001, 1_000))),
        case("long-2", exact(0), Some((1_001, 0))),
        case("grown-5", Expected::Any, None),
    ]
}

async fn fill(log: &Log) {
    for stream in ["grown-1", "grown-2", "grown-3", "grown-4", "grown-5"] {
        let batch = Batch::to(fake::stream(stream)).events(fake::events(5));
        log.store.append(batch).await.expect("an append");
    }
    for _ in 0..3 {
        let event = fake::event("thing.kept").payload(vec![b' '; 50_000]).build();
        let batch = Batch::to(fake::stream("large-1")).event(event);
        log.store.append(batch).await.expect("an append");
    }
    for stream in ["long-1", "long-2"] {
        for events in [1, limits::CONFLICT_EVENTS] {
            let batch = Batch::to(fake::stream(stream)).events(fake::events(events));
            log.store.append(batch).await.expect("an append");
        }
    }
}

fn check(case: &Case, conflict: &Conflict) {
    let (actual, missed) = case.told.expect("an append that is refused");
    assert_eq!(conflict.actual, Version::new(actual), "{}", case.stream);
    assert_eq!(conflict.unseen.len(), missed, "{}", case.stream);
    let versions: Vec<_> = conflict.unseen.iter().map(|event| event.version.get()).collect();
    let first = actual + 1 - missed as u64;
    assert_eq!(versions, (first..=actual).collect::<Vec<_>>(), "{}", case.stream);
    assert!(conflict.unseen.iter().all(|event| event.stream == fake::stream(case.stream)));
}

#[tokio::test]
async fn each_of_a_crowd_is_told_what_it_has_not_seen() {
    on_a_log("conflicts", async |log| {
        fill(log).await;
        let store = log.another_store().await;
        store.append(to("alone-1")).await.expect("a connection that is open");
        let first = begin_append(&store, to("alone-1"));
        let begin = |case: &Case| {
            let batch = Batch::to(fake::stream(case.stream)).expect(case.expected).event(thing());
            begin_append(&store, batch.append_id(fake::append_id()))
        };
        let crowd: Vec<_> = cases().iter().map(begin).collect();
        first.end().await.expect("an append");
        for (case, append) in cases().iter().zip(crowd) {
            match append.end().await {
                Ok(_) => assert!(case.told.is_none(), "{}", case.stream),
                Err(AppendError::Conflict(conflict)) => check(case, &conflict),
                Err(error) => panic!("{}: {error}", case.stream),
            }
        }
        store.close().await;
    })
    .await;
}
