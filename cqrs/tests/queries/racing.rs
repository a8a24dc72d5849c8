//! Loads, commits and tokens in the orders that hurt.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use cqrs::{AskError, Queries};
use es_core::{Position, Spawn, World};
use futures_util::{FutureExt, future::BoxFuture};

use crate::world::{NumberAt, Scene, at, cached, settle, short};

async fn ask(queries: Queries, query: NumberAt) -> (u64, u64, bool) {
    short(queries.ask(query).await)
}

/// The load has read the old number when the projection commits and invalidates;
/// then the old number is remembered.
#[tokio::test]
async fn what_was_read_before_a_commit_and_remembered_after_it_is_not_found() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    scene.shelf.change("a", 7, 3);
    scene.reader.shut(1);
    let old = async {
        scene.reader.arrived(1, 1).await;
        scene.shelf.change("a", 8, 4);
        settle().await;
        scene.reader.open(1);
    };
    let (answer, ()) = tokio::join!(ask(queries.clone(), at("a")), old);
    assert_eq!(answer, (7, 3, false), "whoever asked before the commit may see it so");
    assert_eq!(ask(queries.clone(), at("a")).await, (8, 4, false));
    assert_eq!(ask(queries, at("a")).await, (8, 4, true));
}

/// The same, and the commit is only told when all is remembered.
#[tokio::test]
async fn what_was_read_before_a_commit_goes_when_the_commit_is_told() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    scene.reader.shut(1);
    let old = async {
        scene.reader.arrived(1, 1).await;
        scene.shelf.commit("a", 8);
        scene.shelf.move_to(4);
        scene.reader.open(1);
    };
    let (answer, ()) = tokio::join!(ask(queries.clone(), at("a")), old);
    assert_eq!(answer, (0, 0, false), "as of before the commit, although it had moved at the end");
    scene.shelf.tell("a", 4);
    settle().await;
    assert_eq!(ask(queries, at("a")).await, (8, 4, false));
}

#[tokio::test]
async fn everything_that_changes_during_a_load_takes_its_answer_away() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    scene.reader.shut(1);
    let old = async {
        scene.reader.arrived(1, 1).await;
        scene.shelf.commit("a", 8);
        scene.shelf.tell_everything();
        settle().await;
        scene.reader.open(1);
    };
    let (answer, ()) = tokio::join!(ask(queries.clone(), at("a")), old);
    assert_eq!(answer, (0, 0, false));
    assert_eq!(ask(queries, at("a")).await, (8, 0, false));
}

#[tokio::test]
async fn a_token_that_is_newer_than_the_load_under_way_does_not_get_its_answer() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    scene.shelf.change("a", 7, 3);
    scene.reader.shut(1);
    let early = ask(queries.clone(), at("a"));
    let newer = async {
        scene.reader.arrived(1, 1).await;
        scene.shelf.change("a", 8, 4);
        let late = ask(queries.at_least(Position::new(4)), at("a"));
        let open = async {
            settle().await;
            assert_eq!(scene.reader.loads(), 1, "one load at a time");
            scene.reader.open(1);
        };
        tokio::join!(late, open).0
    };
    let (early, newer) = tokio::join!(early, newer);
    assert_eq!(early, (7, 3, false));
    assert_eq!(newer, (8, 4, false));
    assert_eq!(scene.reader.loads(), 2);
}

/// Throws the first tasks away that are loads.
#[derive(Debug)]
struct Forgets(Arc<AtomicUsize>);

impl Spawn for Forgets {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let forget =
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let mut task = task;
        match forget {
            // It has begun, and is dropped where it waits.
            Ok(_) => assert!((&mut task).now_or_never().is_none()),
            Err(_) => World::real().detach(task),
        }
    }
}

#[tokio::test]
async fn a_load_that_is_dropped_leaves_nobody_waiting() {
    let scene = Scene::new();
    let left = Arc::new(AtomicUsize::new(0));
    let world = World::real().with_spawner(Forgets(Arc::clone(&left)));
    let queries = scene.builder(cached()).world(world).build();
    queries.ask(at("b")).await.unwrap();
    left.store(1, Ordering::SeqCst);
    scene.reader.shut(0);
    assert!(matches!(queries.ask(at("a")).await, Err(AskError::Panicked)));
    scene.reader.open(0);
    assert!(queries.ask(at("a")).await.is_ok());
}
