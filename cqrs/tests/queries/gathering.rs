//! Several who answer, and answers bit by bit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cqrs::{Answer, AnswerStream, AskError, BoxError, Queries, Query};
use es_core::{Position, Tenant};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use crate::world::{Mood, NumberAt, Reader, Scene, Shelf, at, settle};

fn bus(scene: &Scene, readers: [&Reader; 3]) -> Queries {
    let world = es_core::World::real().with_clock(scene.clock.clone());
    let [one, two, three] = readers.map(Clone::clone);
    Queries::builder(scene.shelf.clone())
        .answer_too::<NumberAt>("one", one)
        .answer_too::<NumberAt>("two", two)
        .answer_too::<NumberAt>("three", three)
        .world(world)
        .build()
}

#[tokio::test]
async fn those_who_answer_in_time_are_heard_and_the_others_named() {
    let scene = Scene::new();
    scene.shelf.change("a", 7, 3);
    let [quick, slow, broken] = [(); 3].map(|()| Reader::new(&scene.shelf));
    slow.shut(0);
    broken.mood(Mood::Panics);
    let queries = bus(&scene, [&quick, &slow, &broken]).within(Duration::from_secs(2));
    let late = async {
        settle().await;
        scene.clock.advance(Duration::from_secs(2));
    };
    let (gathered, ()) = tokio::join!(queries.ask_all(at("a")), late);
    let gathered = gathered.unwrap();
    assert!(!gathered.is_complete());
    let [(name, answer)] = &gathered.answers[..] else { panic!("{gathered:?}") };
    assert_eq!((*name, **answer, answer.as_of.get()), ("one", 7, 3));
    let missing = gathered.missing.iter().map(|(name, error)| (*name, error.kind()));
    assert_eq!(missing.collect::<Vec<_>>(), [("two", "timed_out"), ("three", "panicked")]);
}

#[tokio::test]
async fn all_who_answer_are_a_complete_answer() {
    let scene = Scene::new();
    let readers = [(); 3].map(|()| Reader::new(&Shelf::new()));
    let queries = bus(&scene, [&readers[0], &readers[1], &readers[2]]);
    let gathered = queries.ask_all(at("a")).await.unwrap();
    assert!(gathered.is_complete());
    assert_eq!(gathered.answers.len(), 3);
}

#[derive(Debug, Query)]
#[query(output = u64)]
struct Numbers;

/// Endless, and counts what it has made.
struct Endless(Arc<AtomicU64>);

impl AnswerStream<Numbers> for Endless {
    fn answer_stream(&self, _: &Numbers, _: &Tenant) -> BoxStream<'static, Result<u64, BoxError>> {
        let made = Arc::clone(&self.0);
        stream::iter(0..)
            .map(move |number| {
                made.fetch_add(1, Ordering::SeqCst);
                if number == 5 { Err("it is the fifth".into()) } else { Ok(number) }
            })
            .boxed()
    }
}

#[tokio::test]
async fn a_slow_reader_holds_back_the_source() {
    let (scene, made) = (Scene::new(), Arc::new(AtomicU64::new(0)));
    scene.shelf.move_to(3);
    let queries =
        Queries::builder(scene.shelf.clone()).answer_stream(Endless(Arc::clone(&made))).build();
    let mut numbers = queries.stream(Numbers).await.unwrap();
    assert_eq!(numbers.as_of, Position::new(3));
    assert_eq!(made.load(Ordering::SeqCst), 0);
    for number in 0..5 {
        assert_eq!(numbers.next().await.unwrap().unwrap(), number);
    }
    settle().await;
    assert_eq!(made.load(Ordering::SeqCst), 5);
    assert!(matches!(numbers.next().await, Some(Err(AskError::Failed(_)))));
}

#[tokio::test]
async fn a_stream_waits_for_the_token_before_it_begins() {
    let (scene, made) = (Scene::new(), Arc::new(AtomicU64::new(0)));
    let queries = Queries::builder(scene.shelf.clone())
        .answer_stream(Endless(made))
        .world(es_core::World::real().with_clock(scene.clock.clone()))
        .build();
    let asked = queries.at_least(Position::new(3));
    let moved = async {
        settle().await;
        scene.shelf.move_to(3);
    };
    let (numbers, ()) = tokio::join!(asked.stream(Numbers), moved);
    assert_eq!(numbers.unwrap().as_of, Position::new(3));
}

/// An answerer need not be cached to be one.
#[tokio::test]
async fn an_answerer_of_several_answers_nobody_who_asks_for_one() {
    let scene = Scene::new();
    let reader = Reader::new(&scene.shelf);
    let queries = bus(&scene, [&reader, &reader, &reader]);
    assert!(matches!(queries.ask(at("a")).await, Err(AskError::NotAnswered { .. })));
    assert_eq!(reader.answer(&at("a"), &Tenant::default()).await.unwrap(), 0);
}
