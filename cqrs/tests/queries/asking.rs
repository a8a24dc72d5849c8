//! Asking without a cache.

use std::time::Duration;

use cqrs::{AskError, Query, QuerySettings, Stale};
use es_core::Position;

use crate::world::{Mood, Scene, at, settle, short};

#[derive(Debug, Query)]
#[query(output = u64)]
struct Unknown;

#[tokio::test]
async fn an_answer_says_what_it_shows() {
    let scene = Scene::new();
    let queries = scene.queries(QuerySettings::new());
    scene.shelf.change("a", 7, 3);
    assert_eq!(short(queries.ask(at("a")).await), (7, 3, false));
}

#[tokio::test]
async fn a_query_without_an_answerer_is_an_error() {
    let queries = Scene::new().queries(QuerySettings::new());
    let error = queries.ask(Unknown).await.unwrap_err();
    assert!(matches!(error, AskError::NotAnswered { query: "unknown" }));
    assert!(matches!(queries.ask_all(Unknown).await, Err(AskError::NotAnswered { .. })));
    assert!(matches!(queries.stream(Unknown).await, Err(AskError::NotAnswered { .. })));
}

#[tokio::test]
async fn a_token_waits_for_its_position_and_never_returns_early() {
    let scene = Scene::new();
    let queries = scene.queries(QuerySettings::new());
    let asked = queries.at_least(Position::new(5));
    let mut asked = Box::pin(asked.ask(at("a")));
    scene.shelf.change("a", 6, 4);
    tokio::select! {
        biased;
        answer = &mut asked => panic!("early: {answer:?}"),
        () = settle() => {}
    }
    assert_eq!(scene.reader.loads(), 0);
    scene.shelf.change("a", 7, 5);
    assert_eq!(short(asked.await), (7, 5, false));
}

#[tokio::test]
async fn a_token_that_does_not_come_is_an_error_or_a_stale_answer_that_says_how_stale() {
    let scene = Scene::new();
    scene.shelf.change("a", 7, 3);
    let queries = scene.queries(QuerySettings::new());
    let asked = queries.at_least(Position::new(5)).within(Duration::from_secs(2));
    let late = async {
        settle().await;
        scene.clock.advance(Duration::from_secs(2));
    };
    let (answer, ()) = tokio::join!(asked.ask(at("a")), late);
    let Err(AskError::Behind { wanted, as_of }) = answer else { panic!("{answer:?}") };
    assert_eq!((wanted.get(), as_of.get()), (5, 3));

    let late = async {
        settle().await;
        scene.clock.advance(Duration::from_secs(2));
    };
    let asked = asked.or_stale();
    let (answer, ()) = tokio::join!(asked.ask(at("a")), late);
    let answer = answer.unwrap();
    assert_eq!((*answer, answer.as_of.get()), (7, 3));
    assert_eq!(answer.stale, Some(Stale::Behind { positions: 2 }));
}

#[tokio::test]
async fn an_answerer_that_fails_panics_or_takes_too_long_is_an_error_of_its_own() {
    let scene = Scene::new();
    let within = Duration::from_secs(1);
    let queries = scene.queries(QuerySettings::new().within(within));
    scene.reader.mood(Mood::Fails);
    let failed = queries.ask(at("a")).await.unwrap_err();
    assert!(matches!(&failed, AskError::Failed(why) if why.to_string() == "the shelf fell down"));
    scene.reader.mood(Mood::Panics);
    assert!(matches!(queries.ask(at("a")).await, Err(AskError::Panicked)));
    scene.reader.shut(0);
    let late = async {
        scene.reader.arrived(0, 3).await;
        scene.clock.advance(within);
    };
    let (answer, ()) = tokio::join!(queries.ask(at("a")), late);
    assert!(matches!(answer, Err(AskError::TimedOut { .. })));
}
