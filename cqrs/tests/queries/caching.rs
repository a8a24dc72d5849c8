//! Answers that are remembered, and for how long.

use std::time::Duration;

use cqrs::{AskError, Stale};
use es_core::{Position, Tenant};
use futures_util::{FutureExt, future::join_all};

use crate::world::{Mood, Scene, at, cached, settle, short};

const TTL: Duration = Duration::from_secs(300);

#[tokio::test]
async fn the_second_asker_gets_what_the_first_has_loaded() {
    let scene = Scene::new();
    scene.shelf.change("a", 7, 3);
    let queries = scene.queries(cached());
    assert_eq!(short(queries.ask(at("a")).await), (7, 3, false));
    assert_eq!(short(queries.ask(at("a")).await), (7, 3, true));
    assert_eq!(short(queries.ask(at("b")).await), (0, 3, false));
    assert_eq!(scene.reader.loads(), 2);
}

#[tokio::test]
async fn an_answer_is_forgotten_after_its_time() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    queries.ask(at("a")).await.unwrap();
    scene.clock.advance(TTL - Duration::from_millis(1));
    assert!(queries.ask(at("a")).await.unwrap().cached);
    scene.clock.advance(Duration::from_millis(1));
    assert!(!queries.ask(at("a")).await.unwrap().cached);
}

#[tokio::test]
async fn an_expired_answer_is_handed_out_while_the_next_one_is_made_if_that_is_wanted() {
    let scene = Scene::new();
    let grace = Duration::from_secs(60);
    let queries = scene.queries(cached().stale_while_revalidate(grace));
    queries.ask(at("a")).await.unwrap();
    scene.shelf.commit("a", 8);
    scene.clock.advance(TTL);
    let stale = queries.ask(at("a")).await.unwrap();
    assert_eq!((*stale, stale.stale), (0, Some(Stale::Expired)));
    settle().await;
    assert_eq!(short(queries.ask(at("a")).await), (8, 0, true));
    assert_eq!(scene.reader.loads(), 2);
    scene.clock.advance(TTL + grace);
    assert!(!queries.ask(at("a")).await.unwrap().is_stale());
}

#[tokio::test]
async fn an_expired_answer_is_not_handed_out_to_whoever_wants_a_later_one() {
    let scene = Scene::new();
    let queries = scene.queries(cached().stale_while_revalidate(TTL));
    queries.ask(at("a")).await.unwrap();
    scene.clock.advance(TTL);
    scene.shelf.move_to(4);
    let asked = queries.at_least(Position::new(4));
    assert_eq!(short(asked.ask(at("a")).await), (0, 4, false));
}

#[tokio::test]
async fn a_change_of_a_row_takes_its_answer_away_and_no_other() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    queries.ask(at("a")).await.unwrap();
    queries.ask(at("b")).await.unwrap();
    scene.shelf.change("a", 7, 3);
    settle().await;
    assert_eq!(short(queries.ask(at("a")).await), (7, 3, false));
    assert!(queries.ask(at("b")).await.unwrap().cached);
    scene.shelf.tell_everything();
    settle().await;
    assert!(!queries.ask(at("b")).await.unwrap().cached);
}

#[tokio::test]
async fn a_change_that_an_answer_shows_already_does_not_take_it_away() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    scene.shelf.commit("a", 7);
    scene.shelf.move_to(3);
    queries.ask(at("a")).await.unwrap();
    scene.shelf.tell("a", 3);
    settle().await;
    assert!(queries.ask(at("a")).await.unwrap().cached);
}

#[tokio::test]
async fn an_answer_that_was_remembered_before_the_token_is_made_anew() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    queries.ask(at("a")).await.unwrap();
    scene.shelf.commit("a", 7);
    scene.shelf.move_to(3);
    let asked = queries.at_least(Position::new(3));
    assert_eq!(short(asked.ask(at("a")).await), (7, 3, false));
    assert_eq!(short(asked.ask(at("a")).await), (7, 3, true));
}

#[tokio::test]
async fn tenants_do_not_share_answers() {
    let scene = Scene::new();
    scene.shelf.change("a", 7, 3);
    let queries = scene.queries(cached());
    assert_eq!(short(queries.ask(at("a")).await), (7, 3, false));
    let theirs = queries.of(Tenant::new("them").unwrap());
    assert_eq!(short(theirs.ask(at("a")).await), (0, 3, false));
    assert_eq!(scene.reader.loads(), 2);
}

#[tokio::test]
async fn ten_thousand_askers_of_one_expired_key_cause_one_load() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    queries.ask(at("a")).await.unwrap();
    scene.clock.advance(TTL);
    scene.reader.shut(0);
    let askers = (0..10_000).map(|_| queries.ask(at("a")));
    let opened = async {
        settle().await;
        scene.reader.open(0);
    };
    let (answers, ()) = tokio::join!(join_all(askers), opened);
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(scene.reader.loads(), 2);
    println!("10,000 askers of an expired key: {} load", scene.reader.loads() - 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tasks_on_several_threads_cause_one_load() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    let ask = || {
        let queries = queries.clone();
        async move { drop(queries.ask(at("a")).await.unwrap()) }
    };
    let real = es_core::World::real();
    let all: Vec<_> = (0..10_000).map(|_| real.spawn(ask())).collect();
    assert!(join_all(all).await.into_iter().all(|ended| ended));
    assert_eq!(scene.reader.loads(), 1);
}

#[tokio::test]
async fn who_has_waited_for_a_position_finds_what_another_has_loaded_meanwhile() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    let asked = queries.at_least(Position::new(4));
    let mut waiting = Box::pin(asked.ask(at("a")));
    assert!((&mut waiting).now_or_never().is_none());
    scene.shelf.change("a", 7, 4);
    assert_eq!(short(queries.ask(at("a")).await), (7, 4, false));
    assert_eq!(short(waiting.await), (7, 4, true));
    assert_eq!(scene.reader.loads(), 1);
}

#[tokio::test]
async fn many_who_wait_get_one_error_and_the_next_one_loads() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    for (mood, kind) in [(Mood::Fails, "failed"), (Mood::Panics, "panicked")] {
        scene.reader.mood(mood);
        let before = scene.reader.loads();
        let answers = join_all((0..100).map(|_| queries.ask(at("a")))).await;
        assert!(answers.into_iter().all(|answer| answer.is_err_and(|error| error.kind() == kind)));
        assert_eq!(scene.reader.loads() - before, 1);
    }
    scene.reader.mood(Mood::Fine);
    assert!(queries.ask(at("a")).await.is_ok());
}

#[tokio::test]
async fn an_asker_that_goes_away_stops_no_load() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    scene.reader.shut(0);
    tokio::select! {
        biased;
        _ = queries.ask(at("a")) => panic!("the gate is shut"),
        () = settle() => {}
    }
    scene.reader.open(0);
    settle().await;
    assert!(queries.ask(at("a")).await.unwrap().cached);
    assert_eq!(scene.reader.loads(), 1);
}

#[tokio::test]
async fn an_old_answer_is_better_than_an_error_if_that_is_wanted() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    scene.shelf.change("a", 7, 3);
    queries.ask(at("a")).await.unwrap();
    scene.shelf.change("a", 8, 4);
    settle().await;
    scene.reader.mood(Mood::Fails);
    assert!(matches!(queries.ask(at("a")).await, Err(AskError::Failed(_))));
    let old = queries.or_stale().ask(at("a")).await.unwrap();
    assert_eq!((*old, old.as_of.get(), old.stale), (7, 3, Some(Stale::Expired)));
}

#[tokio::test]
async fn no_more_is_remembered_than_may_be() {
    let scene = Scene::new();
    let queries = scene.queries(cached().max_weight(100).weigh(|_| 10));
    for place in 0..1_000 {
        queries.ask(at(&place.to_string())).await.unwrap();
    }
    let mut remembered = 0;
    for place in 0..1_000 {
        let before = scene.reader.loads();
        queries.or_stale().ask(at(&place.to_string())).await.unwrap();
        remembered += usize::from(scene.reader.loads() == before);
    }
    assert!(remembered <= 10, "{remembered} answers of weight 10 weigh more than 100");
}

#[tokio::test]
async fn who_listens_goes_with_the_last_clone() {
    let scene = Scene::new();
    let queries = scene.queries(cached());
    queries.ask(at("a")).await.unwrap();
    assert_eq!(scene.shelf.listeners(), 1);
    let clone = queries.clone();
    drop(queries);
    settle().await;
    assert_eq!(scene.shelf.listeners(), 1);
    drop(clone);
    settle().await;
    assert_eq!(scene.shelf.listeners(), 0);
}
