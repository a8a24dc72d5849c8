//! Two processes and a cache that both use.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cqrs::{Queries, QuerySettings};
use es_core::{
    CachePlace, CacheStamp, Invalidation, LookedUp, Position, SharedCache, StoreError,
    StoreErrorKind, World, memory::MemorySharedCache,
};
use futures_util::stream::BoxStream;
use tokio::sync::watch;

use crate::world::{NumberAt, Scene, at, cached, settle, short};

fn process(scene: &Scene, cache: impl SharedCache) -> Queries {
    scene.builder(shared()).shared_cache(cache).build()
}

fn shared() -> QuerySettings<NumberAt> {
    cached().shared()
}

fn cache(scene: &Scene) -> MemorySharedCache {
    MemorySharedCache::in_world(World::real().with_clock(scene.clock.clone()))
}

/// Both listen already, so that their beginning takes nothing away.
async fn two(scene: &Scene) -> [Queries; 2] {
    let cache = cache(scene);
    let both = [process(scene, cache.clone()), process(scene, cache)];
    for queries in &both {
        queries.ask(at("warm up")).await.unwrap();
        settle().await;
    }
    both
}

#[tokio::test]
async fn what_one_process_has_loaded_the_other_finds() {
    let scene = Scene::new();
    let [one, other] = two(&scene).await;
    let before = scene.reader.loads();
    scene.shelf.move_to(3);
    assert_eq!(short(one.ask(at("a")).await), (0, 3, false));
    settle().await;
    assert_eq!(short(other.ask(at("a")).await), (0, 3, true));
    assert_eq!(scene.reader.loads() - before, 1);
}

#[tokio::test]
async fn a_change_in_one_process_takes_the_answer_from_both() {
    let scene = Scene::new();
    let elsewhere = Scene::new();
    let cache = cache(&scene);
    let (one, other) = (process(&scene, cache.clone()), process(&elsewhere, cache));
    for _ in 0..2 {
        one.ask(at("a")).await.unwrap();
        other.ask(at("a")).await.unwrap();
        settle().await;
    }
    assert!(other.ask(at("a")).await.unwrap().cached);
    elsewhere.shelf.commit("a", 7);
    elsewhere.shelf.move_to(3);
    scene.shelf.change("a", 7, 3);
    settle().await;
    assert_eq!(short(other.ask(at("a")).await), (7, 3, false));
    settle().await;
    assert_eq!(short(one.ask(at("a")).await), (7, 3, true));
}

#[tokio::test]
async fn what_another_process_has_is_not_enough_for_a_newer_token() {
    let scene = Scene::new();
    let [one, other] = two(&scene).await;
    one.ask(at("a")).await.unwrap();
    scene.shelf.commit("a", 7);
    scene.shelf.move_to(3);
    settle().await;
    let asked = other.at_least(Position::new(3));
    assert_eq!(short(asked.ask(at("a")).await), (7, 3, false));
}

#[tokio::test]
async fn an_answer_from_another_process_lives_no_longer_than_it_would_have_there() {
    let scene = Scene::new();
    let [one, other] = two(&scene).await;
    one.ask(at("a")).await.unwrap();
    settle().await;
    scene.clock.advance(Duration::from_secs(200));
    assert!(other.ask(at("a")).await.unwrap().cached);
    scene.clock.advance(Duration::from_secs(100));
    assert!(!other.ask(at("a")).await.unwrap().cached);
}

/// How a cache is when it is not well.
#[derive(Debug, Clone, Default)]
struct Sick {
    inner: MemorySharedCache,
    dead: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    /// As long as it is, invalidations do not end.
    slow: watch::Sender<bool>,
    asked: Arc<AtomicUsize>,
}

impl Sick {
    async fn well(&self) -> Result<(), StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        match self.dead.load(Ordering::SeqCst) {
            true => Err(StoreError::new(StoreErrorKind::Unavailable, "it is dead")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl SharedCache for Sick {
    async fn get(&self, place: &CachePlace) -> Result<LookedUp, StoreError> {
        self.well().await?;
        self.inner.get(place).await
    }

    async fn put(
        &self,
        place: &CachePlace,
        stamp: &CacheStamp,
        as_of: Position,
        value: Bytes,
    ) -> Result<(), StoreError> {
        self.well().await?;
        self.inner.put(place, stamp, as_of, value).await
    }

    async fn invalidate(&self, invalidation: &Invalidation) -> Result<(), StoreError> {
        self.well().await?;
        let _ = self.slow.subscribe().wait_for(|slow| !slow).await;
        self.inner.invalidate(invalidation).await
    }

    fn listen(&self) -> BoxStream<'static, Invalidation> {
        self.inner.listen()
    }
}

#[tokio::test]
async fn a_dead_cache_fails_no_query_and_is_left_alone_for_a_second() {
    let scene = Scene::new();
    let sick = Sick::default();
    sick.dead.store(true, Ordering::SeqCst);
    let queries = process(&scene, sick.clone());
    for place in 0..100 {
        queries.ask(at(&place.to_string())).await.unwrap();
    }
    assert_eq!(sick.asked.load(Ordering::SeqCst), 1);
    scene.clock.advance(Duration::from_secs(1));
    queries.ask(at("a")).await.unwrap();
    assert_eq!(sick.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_silent_cache_delays_a_query_by_a_quarter_of_a_second_and_no_longer() {
    let scene = Scene::new();
    let sick = Sick::default();
    sick.silent.store(true, Ordering::SeqCst);
    let queries = process(&scene, sick);
    let late = async {
        settle().await;
        assert_eq!(scene.reader.loads(), 0);
        scene.clock.advance(Duration::from_millis(250));
    };
    let (answer, ()) = tokio::join!(queries.ask(at("a")), late);
    assert!(answer.is_ok());
}

/// An invalidation that could not be told is made up for before the cache is asked
/// again; the other process hears of it too.
#[tokio::test]
async fn an_invalidation_that_got_lost_is_made_up_for() {
    let (scene, elsewhere) = (Scene::new(), Scene::new());
    let sick = Sick::default();
    let queries = process(&scene, sick.clone());
    let other = process(&elsewhere, sick.inner.clone());
    for _ in 0..2 {
        queries.ask(at("a")).await.unwrap();
        other.ask(at("a")).await.unwrap();
        settle().await;
    }
    sick.dead.store(true, Ordering::SeqCst);
    elsewhere.shelf.commit("a", 7);
    scene.shelf.change("a", 7, 3);
    settle().await;
    // It is well again, and still holds what is not so any more.
    sick.dead.store(false, Ordering::SeqCst);
    assert_eq!(short(queries.ask(at("a")).await), (7, 3, false));
    assert_eq!(short(other.ask(at("a")).await), (0, 0, true), "it has not heard of it");
    scene.clock.advance(Duration::from_secs(1));
    settle().await;
    assert_eq!(short(other.ask(at("a")).await).0, 7);
}

/// The change is told here before it is told there: what is found there between is
/// not kept for good.
#[tokio::test]
async fn what_is_found_while_an_invalidation_is_on_its_way_goes_when_it_has_arrived() {
    let scene = Scene::new();
    let sick = Sick::default();
    let (maker, queries) = (process(&scene, sick.inner.clone()), process(&scene, sick.clone()));
    for _ in 0..2 {
        maker.ask(at("a")).await.unwrap();
        queries.ask(at("warm up")).await.unwrap();
        settle().await;
    }
    sick.slow.send_replace(true);
    // Nobody here holds the tag of this row, so the change is not noted here.
    drop(maker);
    settle().await;
    scene.shelf.change("a", 7, 3);
    settle().await;
    assert_eq!(short(queries.ask(at("a")).await), (0, 0, true));
    sick.slow.send_replace(false);
    settle().await;
    assert_eq!(short(queries.ask(at("a")).await), (7, 3, false));
}
