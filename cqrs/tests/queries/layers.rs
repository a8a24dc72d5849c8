//! Layers around the query bus.

use std::time::Duration;

use cqrs::{AskError, Guard, Trace};
use es_core::{Metadata, Position};
use tower::{limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};

use crate::world::{NumberAt, Scene, at, cached, short};

fn ada() -> Metadata {
    Metadata::default().user_id("ada")
}

#[tokio::test]
async fn a_guard_sees_who_asks_what_and_refuses() {
    let scene = Scene::new();
    let only_ada = Guard::queries(|asking| {
        assert_eq!(asking.query_name(), "number_at");
        assert_eq!(asking.at_least(), Position::START);
        let place = asking.query::<NumberAt>().map(|query| query.place.as_str());
        match (&asking.metadata().fields().user_id, place) {
            (Some(_), Some("a")) => Ok(()),
            _ => Err("who are you?".into()),
        }
    });
    let queries = scene.builder(cached()).layer(only_ada).build();
    let Err(AskError::Refused(why)) = queries.ask(at("a")).await else { panic!("let in") };
    assert_eq!(why.to_string(), "who are you?");
    let hers = queries.with(ada());
    assert_eq!(short(hers.ask(at("a")).await), (0, 0, false));
    assert!(matches!(hers.ask(at("b")).await, Err(AskError::Refused(_))));
    assert!(matches!(queries.ask(at("a")).await, Err(AskError::Refused(_))), "cached or not");
}

#[tokio::test(start_paused = true)]
async fn layers_of_tower_stand_around_queries() {
    let scene = Scene::new();
    let queries = scene
        .builder(cached())
        .layer(Trace)
        .layer(ConcurrencyLimitLayer::new(4))
        .layer(TimeoutLayer::new(Duration::from_millis(20)))
        .build();
    assert_eq!(short(queries.ask(at("a")).await), (0, 0, false));
    let late = queries.at_least(Position::new(9)).ask(at("a")).await;
    assert!(matches!(late, Err(AskError::Refused(_))), "{late:?}");
}
