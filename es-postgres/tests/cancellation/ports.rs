use std::time::Duration;

use chrono::{DateTime, Utc};
use es_core::{
    Batch, CachePlace, Checkpoint, Checkpoints, ContentType, EventStore, EventStoreExt, Expected,
    Invalidation, Name, Position, Read, Retention, SharedCache, Snapshot, Snapshots, Tenant, Timer,
    TimerId, Timers, Version,
};
use es_testkit::{TestClock, fake};

use crate::scene::Scene;

#[tokio::test]
async fn a_dropped_call_of_a_port_is_carried_out_wholly_or_not_at_all() {
    let Some(mut scene) = Scene::open().await else { return };
    sweep_checkpoints(&mut scene).await;
    sweep_snapshots(&mut scene).await;
    sweep_timers(&mut scene).await;
    sweep_cache(&mut scene).await;
    sweep_retention(&mut scene).await;
}

/// Each run has a name of its own: the server may carry out what was dropped
/// when it is looked for already.
async fn sweep_checkpoints(scene: &mut Scene) {
    let (store, names) = (scene.store.clone(), names());
    let next = Checkpoint { epoch: 1, position: Position::new(7) };
    let save = |run: usize| Checkpoints::save(&store, &names[run], Checkpoint::default(), next);
    let check = async |run: usize| {
        let found = Checkpoints::load(&store, &names[run]).await.expect("a checkpoint");
        assert!([Checkpoint::default(), next].contains(&found), "{found:?}");
    };
    scene.sweep("save of a checkpoint", save, check).await.expect("a save");
    let load = |_| Checkpoints::load(&store, &names[0]);
    scene.sweep("load of a checkpoint", load, async |_| {}).await.expect("a checkpoint");
}

async fn sweep_snapshots(scene: &mut Scene) {
    let (store, stream) = (scene.store.clone(), fake::stream("thing-1"));
    let snapshot = |run: usize| {
        Snapshot::new(Version::new(run as u64 + 1), 7, ContentType::JSON, vec![1; 20_000])
    };
    let save = |run: usize| Snapshots::save(&store, &stream, snapshot(run));
    let check = async |run: usize| {
        let found = Snapshots::load(&store, &stream).await.expect("an answer");
        let Some(found) = found else { return };
        assert!((0..=run).any(|run| found == snapshot(run)), "half a snapshot");
    };
    scene.sweep("save of a snapshot", save, check).await.expect("a save");
    let load = |_| Snapshots::load(&store, &stream);
    let found = scene.sweep("load of a snapshot", load, async |_| {}).await;
    assert!(found.expect("an answer").is_some());
}

async fn sweep_timers(scene: &mut Scene) {
    let (store, names) = (scene.store.clone(), names());
    let timer = |run: usize| timer(&names[run], TestClock::START);
    let check = async |_| {
        let (now, owner) = (TestClock::START, Name::from_static("owner"));
        let all = store.take_due(&owner, now, now, 1_000).await.expect("timers");
        let is_whole = |one: &Timer| names.iter().any(|name| *one == self::timer(name, one.due));
        assert!(all.iter().all(|taken| is_whole(&taken.timer)), "half a timer");
    };
    let set = |run: usize| store.set(timer(run));
    scene.sweep("set of a timer", set, check).await.expect("a timer");
    // What a dropped call has taken is due again at once.
    let (owner, now) = (Name::from_static("owner"), TestClock::START);
    let take = |_| store.take_due(&owner, now, now, 1);
    let taken = scene.sweep("take of a timer", take, check).await.expect("timers");
    scene.sweep("next timer", |_| store.next_due(&owner), async |_| {}).await.expect("a time");
    let done = |_| store.done(&taken[0]);
    scene.sweep("end of a timer", done, check).await.expect("a timer");
    let ids: Vec<_> = (0..names.len()).map(|run| timer(run).id).collect();
    let cancel = |run: usize| store.cancel(&ids[run]);
    scene.sweep("cancel of a timer", cancel, check).await.expect("a timer");
}

/// An invalidation that was dropped may have been carried out or not; one that has ended has.
async fn sweep_cache(scene: &mut Scene) {
    let cache = scene.store.cache().expect("a store of every tenant");
    let place = CachePlace::new("a", Duration::from_secs(300)).tag("t");
    let stamp = scene.sweep("look into the cache", |_| cache.get(&place), async |_| {}).await;
    let stamp = stamp.expect("a look").stamp;
    let value = bytes::Bytes::from(vec![1; 20_000]);
    let put = |_| cache.put(&place, &stamp, Position::new(1), value.clone());
    let check = async |_| {
        let found = cache.get(&place).await.expect("a look").found;
        assert!(found.is_none_or(|found| found.value == value), "half an answer");
    };
    scene.sweep("put of an answer", put, check).await.expect("room");
    assert!(cache.get(&place).await.expect("a look").found.is_some());
    let everything = |_| cache.invalidate(&Invalidation::Everything);
    scene.sweep("invalidation", everything, check).await.expect("an invalidation");
    assert!(cache.get(&place).await.expect("a look").found.is_none());
}

async fn sweep_retention(scene: &mut Scene) {
    let store = scene.store.clone();
    let streams: Vec<_> = (0..400).map(|run| fake::stream(&format!("ended-{run}"))).collect();
    for stream in &streams {
        let batch = Batch::to(stream.clone()).events(fake::events(5));
        store.append(batch).await.expect("an append");
    }
    let versions = async |run: usize| {
        let events = store.events(Read::stream(&streams[run])).await.expect("a read");
        events.iter().map(|event| event.version.get()).collect::<Vec<_>>()
    };
    let truncate = |run: usize| store.truncate(&streams[run], Version::new(4));
    let is_whole = async |run: usize| {
        let left = versions(run).await;
        assert!([vec![1, 2, 3, 4, 5], vec![3, 4, 5]].contains(&left), "{left:?}");
    };
    let removed = scene.sweep("truncation", truncate, is_whole).await;
    assert_eq!(removed.expect("a truncation"), 3);
    let delete = |run: usize| store.delete(&streams[run + 200], Expected::Any);
    let is_ended = async |run: usize| {
        let left = versions(run + 200).await;
        assert!([vec![1, 2, 3, 4, 5], vec![6]].contains(&left), "{left:?}");
    };
    let deleted = scene.sweep("deletion", delete, is_ended).await;
    assert!(!deleted.expect("a deletion").repeated);
}

fn names() -> Vec<Name> {
    (0..400).map(|run| Name::new(format!("run-{run}")).expect("a name")).collect()
}

fn timer(name: &Name, due: DateTime<Utc>) -> Timer {
    let (tenant, owner) = (Tenant::default(), Name::from_static("owner"));
    let id = TimerId { tenant, owner, name: name.clone() };
    Timer { id, due, payload: vec![1; 20_000].into() }
}
