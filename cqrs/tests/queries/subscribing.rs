//! An answer, and then each change.

use std::time::Duration;

use cqrs::{AskError, CacheTag, Queries, QuerySettings};
use es_core::Random;
use es_testkit::SeededRandom;
use futures_util::{FutureExt, StreamExt};

use crate::world::{Mood, NumberAt, Scene, at, cached, settle, short};

fn tagged() -> QuerySettings<NumberAt> {
    QuerySettings::new().tags(|query: &NumberAt| vec![CacheTag::row_of("shelf", &query.place)])
}

fn buses(scene: &Scene) -> [Queries; 2] {
    [scene.queries(tagged()), scene.queries(cached())]
}

#[tokio::test]
async fn a_subscription_brings_the_answer_and_then_each_change() {
    let scene = Scene::new();
    for queries in buses(&scene) {
        let first = scene.shelf.read(&es_core::Tenant::default(), "a");
        let mut numbers = queries.subscribe(at("a"));
        assert_eq!(short(numbers.next().await.unwrap()).0, first);
        assert!(numbers.next().now_or_never().is_none());
        scene.shelf.change("b", 1, first + 1);
        settle().await;
        assert!(numbers.next().now_or_never().is_none(), "another row");
        for number in first + 2..first + 5 {
            scene.shelf.change("a", number, number);
            assert_eq!(short(numbers.next().await.unwrap()).0, number);
        }
        assert!(numbers.next().now_or_never().is_none());
    }
}

#[tokio::test]
async fn changes_that_nobody_has_asked_for_come_as_one() {
    let scene = Scene::new();
    let queries = scene.queries(tagged());
    let mut numbers = queries.subscribe(at("a"));
    numbers.next().await.unwrap().unwrap();
    for number in 1..=1_000 {
        scene.shelf.change("a", number, number);
        settle().await;
    }
    assert_eq!(short(numbers.next().await.unwrap()), (1_000, 1_000, false));
    assert!(numbers.next().now_or_never().is_none());
    assert_eq!(scene.reader.loads(), 2);
}

#[tokio::test]
async fn a_change_during_the_first_load_is_not_lost() {
    let scene = Scene::new();
    for queries in buses(&scene) {
        let before = scene.shelf.read(&es_core::Tenant::default(), "a");
        let arrived = scene.reader.loads() + 1;
        scene.reader.shut(1);
        let mut numbers = queries.subscribe(at("a"));
        let changed = async {
            scene.reader.arrived(1, arrived).await;
            scene.shelf.change("a", before + 7, before + 7);
            settle().await;
            scene.reader.open(1);
        };
        let (first, ()) = tokio::join!(numbers.next(), changed);
        assert_eq!(short(first.unwrap()).0, before);
        assert_eq!(short(numbers.next().await.unwrap()).0, before + 7);
    }
}

#[tokio::test]
async fn a_change_between_the_subscription_and_its_first_answer_is_not_brought_twice() {
    let scene = Scene::new();
    let queries = scene.queries(tagged());
    let mut numbers = queries.subscribe(at("a"));
    scene.shelf.change("a", 7, 3);
    settle().await;
    assert_eq!(short(numbers.next().await.unwrap()), (7, 3, false));
    assert!(numbers.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_change_is_brought_once_the_position_has_come() {
    let scene = Scene::new();
    let queries = scene.queries(tagged());
    let mut numbers = queries.subscribe(at("a"));
    numbers.next().await.unwrap().unwrap();
    scene.shelf.commit("a", 7);
    scene.shelf.tell("a", 3);
    settle().await;
    let mut next = numbers.next();
    assert!((&mut next).now_or_never().is_none());
    scene.shelf.move_to(3);
    assert_eq!(short(next.await.unwrap()), (7, 3, false));
}

#[tokio::test]
async fn everything_that_changes_brings_an_answer() {
    let scene = Scene::new();
    for queries in buses(&scene) {
        let mut numbers = queries.subscribe(at("a"));
        numbers.next().await.unwrap().unwrap();
        scene.shelf.tell_everything();
        assert!(!short(numbers.next().await.unwrap()).2);
        assert!(numbers.next().now_or_never().is_none());
    }
}

#[tokio::test]
async fn after_an_error_the_change_is_brought_all_the_same() {
    let scene = Scene::new();
    let queries = scene.queries(tagged());
    let mut numbers = queries.subscribe(at("a"));
    numbers.next().await.unwrap().unwrap();
    scene.reader.mood(Mood::Fails);
    scene.shelf.change("a", 7, 3);
    assert!(matches!(numbers.next().await, Some(Err(AskError::Failed(_)))));
    scene.reader.mood(Mood::Fine);
    let later = async {
        settle().await;
        scene.clock.advance(Duration::from_secs(1));
    };
    let (answer, ()) = tokio::join!(numbers.next(), later);
    assert_eq!(short(answer.unwrap()), (7, 3, false));
}

#[tokio::test]
async fn a_query_without_tags_cannot_be_subscribed_to() {
    let scene = Scene::new();
    let queries = scene.queries(QuerySettings::new());
    let mut numbers = queries.subscribe(at("a"));
    assert!(matches!(numbers.next().await, Some(Err(AskError::NoTags { query: "number_at" }))));
    assert!(numbers.next().await.is_none());
}

/// Changes at random moments, told and moved late: the last one always arrives, and
/// no answer is older than the one before.
#[tokio::test]
async fn the_last_change_is_never_lost() {
    let random = SeededRandom::new(11);
    for round in 0..200_u64 {
        let scene = Scene::new();
        let [plain, cached] = buses(&scene);
        let queries = if round.is_multiple_of(2) { plain } else { cached };
        let mut numbers = queries.subscribe(at("a"));
        let last = 1 + random.below(5) as u64;
        let changes = async {
            for number in 1..=last {
                scene.shelf.commit("a", number);
                turn(&random).await;
                scene.shelf.tell("a", number);
                turn(&random).await;
                scene.shelf.move_to(number);
                turn(&random).await;
            }
        };
        let seen = async {
            let mut seen = 0;
            while seen < last {
                let (number, ..) = short(numbers.next().await.unwrap());
                assert!(number >= seen, "{number} after {seen}");
                seen = number;
            }
        };
        tokio::join!(changes, seen);
    }
}

async fn turn(random: &SeededRandom) {
    for _ in 0..random.next_u64() % 4 {
        tokio::task::yield_now().await;
    }
}
