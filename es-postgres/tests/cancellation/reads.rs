use es_core::{Criteria, EventStore, EventStoreExt, Page, Read, StoreError};
use es_postgres::PostgresStore;
use es_testkit::{fake, sweep};
use futures_util::TryStreamExt;

use crate::scene::{SESSIONS, Scene, told};

/// Enough for a second page.
const EVENTS: usize = 300;

/// A read of each scope and filter; each finds all of [`EVENTS`].
async fn reads(store: &PostgresStore) -> Vec<(&'static str, Read)> {
    let (stream, id) = (fake::stream("thing-1"), fake::append_id());
    let event = |_| fake::event("thing.seen").tag("colour", "red").correlated("a visit").build();
    let batch = es_core::Batch::to(stream.clone()).events((0..EVENTS).map(event));
    store.append(batch.append_id(id)).await.expect("an append");
    let red = fake::tag("colour", "red");
    let seen = es_core::Name::new("thing.seen").expect("a name");
    vec![
        ("stream", Read::stream(&stream)),
        ("stream, backwards", Read::stream(&stream).backwards()),
        ("category", Read::category("thing").expect("a category")),
        ("append", Read::append(id)),
        ("criteria", Read::matching(Criteria::tag(red.clone()))),
        ("tag", Read::all().tag(red)),
        ("type", Read::all().types([seen])),
        ("correlation", Read::all().correlated("a visit")),
        ("all", Read::all().limit(EVENTS as u64)),
    ]
}

#[tokio::test]
async fn a_dropped_read_harms_nobody() {
    let Some(mut scene) = Scene::open().await else { return };
    let store = scene.store.clone();
    for (name, read) in reads(&store).await {
        let all = |_| store.events(read.clone());
        let found = scene.sweep(&format!("read of {name}"), all, async |_| {}).await;
        assert_eq!(found.expect("a read").len(), EVENTS, "{name}");
    }
    let holder = scene.sweep("holder", |_| store.holder(), async |_| {}).await;
    assert_eq!(holder.expect("an answer"), None);
    sweep_new_connections(&mut scene).await;
}

/// Nothing warms the connections up in between, so that each has to be opened.
async fn sweep_new_connections(scene: &mut Scene) {
    let store = PostgresStore::open(&scene.url).await.expect("a store");
    let all = |_| store.events(Read::all().limit(EVENTS as u64));
    let swept = sweep(all, async |_| scene.watch.settled(2 * SESSIONS).await).await;
    assert!(swept.awaits > 2, "it only waited {} times", swept.awaits);
    assert_eq!(told("read on a new connection", swept).expect("a read").len(), EVENTS);
}

#[tokio::test]
async fn a_dropped_follower_harms_nobody_and_a_dropped_wait_loses_no_page() {
    let Some(mut scene) = Scene::open().await else { return };
    let store = scene.store.clone();
    reads(&store).await;
    let two = |_| async {
        let mut pages = store.follow(Read::all());
        let one = pages.try_next().await?;
        Ok::<_, StoreError>([one, pages.try_next().await?])
    };
    let pages = scene.sweep("follow", two, async |_| {}).await.expect("two pages");
    let events = |page: Option<Page>| page.expect("a page").events.len();
    assert!(pages.map(events).iter().sum::<usize>() > 256);
    sweep_waits(&mut scene).await;
}

/// What is dropped is the wait for a page, not the follower.
async fn sweep_waits(scene: &mut Scene) {
    let store = scene.store.clone();
    let follower = tokio::sync::Mutex::new((store.follow(Read::all()), Vec::new()));
    let wait = |_| async {
        let (pages, seen) = &mut *follower.lock().await;
        while seen.len() < EVENTS {
            let page = pages.try_next().await?.expect("a page");
            seen.extend(page.events.into_iter().map(|event| event.position));
        }
        Ok::<_, StoreError>(())
    };
    scene.sweep("wait for a page", wait, async |_| {}).await.expect("pages");
    let (_, seen) = follower.into_inner();
    assert!(seen.is_sorted_by(|one, next| one < next), "twice, or out of order");
    let all = store.events(Read::all()).await.expect("a read");
    let all: Vec<_> = all.iter().map(|event| event.position).take(seen.len()).collect();
    assert_eq!(seen, all);
}
