//! Each stream of a category is cut.

use std::time::Duration;

use chrono::TimeDelta;
use es_core::{Batch, Expected, Keep, Read, Retention, StreamId, Write};

use super::scene::{Log, stream, things, to, versions};
use crate::{contract::run::together, fake};

const HOUR: Duration = Duration::from_secs(3_600);

/// And a marker before them, which is none of them.
pub async fn at_most_the_newest_remain(log: &Log) {
    for count in 1..=5 {
        log.must(to(&stream(&count.to_string()), count)).await;
    }
    assert_eq!(log.keeping(things().newest(3)).await, (2, 3));
    for count in 1..=5 {
        let left = log.of(&stream(&count.to_string())).await;
        assert_eq!(left.iter().filter(|event| !event.is_truncated()).count(), count.min(3));
    }
}

/// By the clock of the store.
pub async fn only_the_young_remain(log: &Log) {
    let it = stream("1");
    for _ in 0..4 {
        log.have(&it, 2).await;
        log.move_clock(TimeDelta::hours(1));
    }
    assert_eq!(log.keeping(things().younger_than(5 * HOUR)).await, (0, 0));
    assert_eq!(log.keeping(things().younger_than(5 * HOUR / 2)).await, (1, 4));
    assert_eq!(versions(&log.of(&it).await), [4, 5, 6, 7, 8]);
    assert_eq!(log.keeping(things().younger_than(Duration::MAX)).await, (0, 0));
}

/// Whichever leaves less.
pub async fn both_conditions_hold_together(log: &Log) {
    let (old, long) = (stream("old"), stream("long"));
    log.have(&old, 3).await;
    log.move_clock(TimeDelta::hours(2));
    log.have(&old, 1).await;
    log.have(&long, 6).await;
    assert_eq!(log.keeping(things().newest(4).younger_than(HOUR)).await, (2, 5));
    assert_eq!(versions(&log.of(&old).await), [3, 4]);
    assert_eq!(versions(&log.of(&long).await), [2, 3, 4, 5, 6]);
}

/// And however few are to remain.
pub async fn the_last_remains_however_old(log: &Log) {
    let it = stream("1");
    log.have(&it, 3).await;
    log.have(&stream("2"), 1).await;
    log.move_clock(TimeDelta::hours(9));
    assert_eq!(log.keeping(things().newest(0).younger_than(HOUR)).await, (1, 2));
    assert_eq!(versions(&log.of(&it).await), [2, 3]);
    assert_eq!(versions(&log.of(&stream("2")).await), [1]);
}

/// It is a request to remove nothing.
pub async fn without_a_condition_all_remain(log: &Log) {
    log.have(&stream("1"), 3).await;
    assert_eq!(log.keeping(things()).await, (0, 0));
    assert_eq!(log.keeping(things().newest(u64::MAX)).await, (0, 0));
    assert_eq!(log.everything().await.len(), 3);
}

/// Not even from those that have a marker.
pub async fn a_retention_again_removes_nothing(log: &Log) {
    log.must(to(&stream("1"), 9)).await;
    assert_eq!(log.keeping(things().newest(2)).await, (1, 7));
    let before = log.everything().await;
    assert_eq!(log.keeping(things().newest(2)).await, (0, 0));
    assert_eq!(log.everything().await, before);
}

/// Not those whose names only begin alike.
pub async fn only_the_category_of_the_tenant_is_cut(log: &Log) {
    let theirs = stream("1").of(fake::tenant("acme"));
    let names = ["things-1", "thin-1", "thing.a-1", "thing2-thing-1"];
    let others = names.iter().map(|name| fake::stream(name)).chain([theirs.clone()]);
    let others: Vec<_> = others.collect();
    for one in others.iter().chain([&stream("1"), &stream("-"), &stream("thing-1")]) {
        log.have(one, 3).await;
    }
    assert_eq!(log.keeping(things().newest(1)).await, (3, 6));
    for one in &others {
        assert_eq!(versions(&log.of(one).await), [1, 2, 3]);
    }
    let acme = things().of(fake::tenant("acme"));
    assert_eq!(log.keeping(acme.newest(1)).await, (1, 2));
    assert_eq!(versions(&log.of(&theirs).await), [2, 3]);
    let nobodys = Keep::category("nothing").expect("a category").newest(1);
    assert_eq!(log.keeping(nobodys).await, (0, 0));
}

/// However many have to be listed.
pub async fn a_category_of_many_streams_is_cut_wholly(log: &Log) {
    let write = |at: usize| Write::new(stream(&at.to_string())).events(fake::events(2));
    for part in 0..6 {
        log.must(Batch::new((part * 200..part * 200 + 200).map(write))).await;
    }
    assert_eq!(log.keeping(things().newest(1)).await, (1_200, 1_200));
    let left = log.find(Read::category("thing").expect("a category")).await;
    assert_eq!(left.iter().filter(|event| event.is_truncated()).count(), 1_200);
}

/// Their marker is all that they have.
pub async fn ended_streams_are_left_as_they_are(log: &Log) {
    let (deleted, entombed) = (stream("1"), stream("2"));
    log.have(&deleted, 3).await;
    log.have(&entombed, 3).await;
    log.end(&deleted).await;
    log.tombstone(&entombed, Expected::Any).await.expect("a tombstone");
    let before = log.everything().await;
    assert_eq!(log.keeping(things().newest(1).younger_than(HOUR)).await, (0, 0));
    assert_eq!(log.everything().await, before);
}

/// What one removes the other does not, and both come to an end.
pub async fn two_at_once_are_not_in_each_others_way(log: &Log) {
    let streams: Vec<StreamId> = (0..40).map(|at| stream(&at.to_string())).collect();
    for one in &streams {
        log.must(to(one, 10)).await;
    }
    let store = log.store();
    let retentions = [3, 3, 5, 3].map(|newest| {
        let store = store.clone();
        async move { store.retain(things().newest(newest)).await.expect("a retention").events }
    });
    let removed: u64 = together(retentions).await.into_iter().sum();
    assert_eq!(removed, 40 * 7);
    for one in &streams {
        assert_eq!(versions(&log.of(one).await), [7, 8, 9, 10]);
    }
}
