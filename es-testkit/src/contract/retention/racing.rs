//! What happens at once has one order, and what is dropped is whole.

use std::sync::Arc;

use es_core::{
    AppendError, DELETED, EventStore, Expected, Retention, StreamId, TOMBSTONED, Version,
};

use super::scene::{Log, exact, stream, to, versions};
use crate::{contract::run::together, fake, sweep};

/// What an append or a deletion of a race was told.
async fn race(store: Arc<dyn Retention>, it: StreamId, at: usize) -> (bool, u64, u64) {
    let deletes = at % 4 == 3;
    let answer = if deletes {
        store.delete(&it, Expected::Any).await
    } else {
        store.append(to(&it, 2)).await
    };
    let answer = answer.expect("whatever is expected");
    (deletes && !answer.repeated, answer.version().get(), answer.position.get())
}

/// No two have one version, versions and positions agree, and what remains is
/// what came after the last deletion.
pub async fn deletions_and_appends_have_one_order(log: &Log) {
    for round in 0..5 {
        let it = stream(&round.to_string());
        log.have(&it, 1).await;
        let racers = (0..32).map(|at| race(log.store(), it.clone(), at));
        let mut told = together(racers).await;
        told.sort_unstable_by_key(|(_, version, _)| *version);
        assert!(told.is_sorted_by_key(|(_, _, position)| *position));
        let left = log.of(&it).await;
        let last = told.iter().rev().find(|(deleted, ..)| *deleted).expect("a deletion").1;
        let due: Vec<_> = (last..=told.last().expect("a racer").1).collect();
        assert_eq!(versions(&left), due);
        assert_eq!(left[0].event_type, DELETED);
        let grown: u64 = told.iter().map(|(deleted, ..)| if *deleted { 1 } else { 2 }).sum();
        let repeated = racers_that_came_second(&told);
        assert_eq!(1 + grown - 2 * repeated, told.last().expect("a racer").1);
    }
}

/// Deletions that found another one, which answer with its version.
fn racers_that_came_second(told: &[(bool, u64, u64)]) -> u64 {
    let second = |pair: &&[(bool, u64, u64)]| pair[0].1 == pair[1].1;
    told.windows(2).filter(second).count() as u64
}

/// Each append that was acknowledged behind the cut is there, at its version.
pub async fn truncations_lose_no_append(log: &Log) {
    let it = stream("1");
    log.have(&it, 1).await;
    let racers = (0..48).map(|at| {
        let (store, it) = (log.store(), it.clone());
        async move {
            match at % 3 {
                0 => drop(store.truncate(&it, Version::new(at)).await.expect("a truncation")),
                _ => drop(store.append(to(&it, 2)).await.expect("an append")),
            }
        }
    });
    together(racers).await;
    log.cut(&it, 46).await;
    assert_eq!(versions(&log.of(&it).await), (45..=65).collect::<Vec<_>>());
    let whole = log.of(&it).await;
    assert!(whole[0].is_truncated() && !whole[1].is_truncated());
}

/// Those that lose are told who won.
pub async fn of_a_deletion_and_appends_at_one_version_one_wins(log: &Log) {
    for round in 0..10 {
        let it = stream(&round.to_string());
        log.have(&it, 3).await;
        let racers = (0..16).map(|at| {
            let (store, it) = (log.store(), it.clone());
            async move {
                let outcome = match at % 2 {
                    0 => store.delete(&it, exact(3)).await,
                    _ => store.append(to(&it, 1).expect(exact(3))).await,
                };
                match outcome {
                    Ok(won) => u64::from(!won.repeated),
                    Err(AppendError::Conflict(conflict)) => {
                        assert_eq!(versions(&conflict.unseen), [4]);
                        0
                    }
                    Err(other) => panic!("a conflict was due, not {other:?}"),
                }
            }
        });
        assert_eq!(together(racers).await.into_iter().sum::<u64>(), 1);
        assert!([vec![4], vec![1, 2, 3, 4]].contains(&versions(&log.of(&it).await)));
    }
}

/// Each append comes before it or is told that the stream is gone.
pub async fn nothing_follows_a_tombstone(log: &Log) {
    for round in 0..5 {
        let it = stream(&round.to_string());
        log.have(&it, 1).await;
        let racers = (0..32).map(|at| {
            let (store, it) = (log.store(), it.clone());
            async move {
                if at == 7 {
                    let ended = store.tombstone(&it, Expected::Any).await.expect("a tombstone");
                    return Some(ended.version().get());
                }
                match store.append(to(&it, 1)).await {
                    Ok(appended) => Some(appended.version().get()),
                    Err(AppendError::Gone { .. }) => None,
                    Err(other) => panic!("it is there or gone, not {other:?}"),
                }
            }
        });
        let told = together(racers).await;
        let last = told[7].expect("the version of the tombstone");
        assert_eq!(told.iter().flatten().max(), Some(&last));
        let left = log.of(&it).await;
        assert_eq!((versions(&left), &left[0].event_type), (vec![last], &TOMBSTONED));
    }
}

/// At each point where it waits; and who comes later is not in its way.
pub async fn a_dropped_deletion_is_done_wholly_or_not_at_all(log: &Log) {
    let delete = |run: usize| {
        let (store, it) = (log.store(), stream(&run.to_string()));
        async move {
            let batch = to(&it, 3).append_id(fake::append_id());
            store.append(batch).await.expect("an append");
            store.delete(&it, Expected::Any).await.expect("a deletion")
        }
    };
    let check = async |run: usize| {
        let it = stream(&run.to_string());
        let left = versions(&log.of(&it).await);
        assert!([vec![], vec![1, 2, 3], vec![4]].contains(&left), "{left:?}");
        log.have(&it, 1).await;
        log.end(&it).await;
        assert_eq!(log.of(&it).await.len(), 1);
    };
    sweep(delete, check).await;
    let all = log.everything().await;
    assert!(all.iter().all(|event| event.event_type == DELETED));
}

/// At each point where it waits.
pub async fn a_dropped_truncation_is_done_wholly_or_not_at_all(log: &Log) {
    let truncate = |run: usize| {
        let (store, it) = (log.store(), stream(&run.to_string()));
        async move {
            store.append(to(&it, 5)).await.expect("an append");
            store.truncate(&it, Version::new(4)).await.expect("a truncation")
        }
    };
    let check = async |run: usize| {
        let it = stream(&run.to_string());
        let left = versions(&log.of(&it).await);
        assert!([vec![], vec![1, 2, 3, 4, 5], vec![3, 4, 5]].contains(&left), "{left:?}");
        log.must(to(&it, 5)).await;
        log.cut(&it, 5).await;
        assert_eq!(log.of(&it).await[0].version, Version::new(4));
    };
    assert_eq!(sweep(truncate, check).await.output, 3);
}
