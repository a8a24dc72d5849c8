//! A stream from the snapshot on that the same store keeps of it, if it keeps any.

use std::sync::Arc;

use es_core::{
    ContentType, EventStoreExt, Read, Snapped, Snapshot, Snapshots, StreamId, Version, limits,
};
use futures_util::TryStreamExt;

use super::scene::{Log, stream, to};
use crate::fake;

const EVENTS: usize = 6;

async fn keep(snapshots: &dyn Snapshots, stream: &StreamId, version: u64) {
    let state = format!("{{\"of\":\"{stream}\",\"at\":{version}}}");
    let snapshot = Snapshot::new(Version::new(version), 1, ContentType::JSON, state);
    snapshots.save(stream, snapshot).await.expect("a place for a snapshot");
}

/// What is asked for at once is what two questions find, one after the other.
async fn assert_same(log: &Log, snapshots: &Arc<dyn Snapshots>, stream: &StreamId) {
    let kept = snapshots.load(stream).await.expect("a look at the snapshots");
    let read = match &kept {
        Some(snapshot) => Read::stream(stream).from_snapshot(snapshot),
        None => Read::stream(stream),
    };
    let due = log.events(read).await.expect("the events");
    let Snapped { snapshot, pages } = log.read_from_snapshot(stream, &**snapshots).await;
    assert_eq!(snapshot.expect("a look at the snapshots"), kept, "{stream}");
    let pages: Vec<_> = pages.try_collect().await.expect("pages");
    let found: Vec<_> = pages.into_iter().flat_map(|page| page.events).collect();
    assert_eq!(found, due, "{stream} from {kept:?}");
}

/// At its first event, in the middle, at the last, ahead of it; without events, and without a
/// snapshot.
pub async fn a_snapshot_comes_with_the_events_from_its_version_on(log: &Log) {
    let Some(snapshots) = &log.snapshots else { return };
    for version in 1..=EVENTS as u64 + 2 {
        let it = stream(&version.to_string());
        log.must(to(&it, EVENTS)).await;
        keep(&**snapshots, &it, version).await;
        assert_same(log, snapshots, &it).await;
    }
    keep(&**snapshots, &stream("empty"), 3).await;
    assert_same(log, snapshots, &stream("empty")).await;
    log.must(to(&stream("plain"), EVENTS)).await;
    assert_same(log, snapshots, &stream("plain")).await;
    assert_same(log, snapshots, &stream("neither")).await;
}

/// Of names that look alike, and of one name of two tenants.
pub async fn a_snapshot_comes_with_the_events_of_its_own_stream(log: &Log) {
    let Some(snapshots) = &log.snapshots else { return };
    let theirs = |id| stream(id).of(fake::tenant("acme"));
    let all = [stream("a"), stream("A"), stream("a%"), theirs("a"), theirs("b")];
    for (it, version) in all.iter().zip(1..) {
        log.must(to(it, EVENTS)).await;
        keep(&**snapshots, it, version).await;
    }
    log.must(to(&stream("b"), EVENTS)).await;
    for it in all.iter().chain([&stream("b")]) {
        assert_same(log, snapshots, it).await;
    }
}

/// Though it is longer than a page, and whatever its snapshot is.
pub async fn all_events_come_after_a_snapshot(log: &Log) {
    let Some(snapshots) = &log.snapshots else { return };
    let it = stream("long");
    for _ in 0..3 {
        log.must(to(&it, limits::PAGE_EVENTS / 2 + 1)).await;
    }
    assert_same(log, snapshots, &it).await;
    for version in [1, 2, 3, limits::PAGE_EVENTS as u64, limits::PAGE_EVENTS as u64 + 7] {
        keep(&**snapshots, &it, version).await;
        assert_same(log, snapshots, &it).await;
    }
}

/// Behind the cut, at it and before it, where the event is gone that tells of it.
pub async fn a_snapshot_comes_with_what_a_cut_leaves(log: &Log) {
    let Some(snapshots) = &log.snapshots else { return };
    for version in 1..=EVENTS as u64 {
        let it = stream(&version.to_string());
        log.must(to(&it, EVENTS)).await;
        keep(&**snapshots, &it, version).await;
        log.cut(&it, 4).await;
        assert_same(log, snapshots, &it).await;
    }
}

/// It is handed over as it is, so that its damage is seen.
pub async fn a_damaged_snapshot_comes_with_its_events(log: &Log) {
    let Some(snapshots) = &log.snapshots else { return };
    let it = stream("1");
    log.must(to(&it, EVENTS)).await;
    let mut damaged = Snapshot::new(Version::new(3), u64::MAX, ContentType::JSON, "");
    damaged.checksum = !damaged.checksum;
    snapshots.save(&it, damaged).await.expect("a place for a snapshot");
    assert_same(log, snapshots, &it).await;
}
