//! What an idle program asks of its server.

use std::time::Duration;

use cqrs::{Evolve, Keys, Projector, View};
use es_core::{EventStore, EventStoreExt, Recorded, World};
use es_postgres::PostgresStore;
use serde::{Deserialize, Serialize};
use tests::models::Moved;

use super::server;

const LONG: Duration = Duration::from_secs(30);

/// How many events there are; one of twenty models that say the same.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Count<const MODEL: usize> {
    events: u64,
}

impl<const MODEL: usize> Evolve for Count<MODEL> {
    type Event = Moved;

    fn evolve(&mut self, _: &Moved) {
        self.events += 1;
    }
}

const NAMES: [&str; 20] = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

impl<const MODEL: usize> View for Count<MODEL> {
    const NAME: &'static str = NAMES[MODEL];
    type Key = u8;

    fn keys(_: Recorded<'_, Moved>) -> Keys<u8> {
        Keys::One(0)
    }
}

macro_rules! with_models {
    ($projector:expr, $($model:literal)*) => { $projector$(.view::<Count<$model>>())* };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_idle_models_ask_for_less_than_five_statements_a_second() {
    let Some(server) = server(&[("log_statement", "all")]) else { return };
    let store = PostgresStore::open(server.url()).await.unwrap();
    let head = store.append(tests::models::batch_of(1)).await.unwrap().position;
    let projector = Projector::new(store.clone(), store.clone());
    let projector = with_models!(projector, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    let projecting = projector.start_worker();
    projector.wait_for(head, &NAMES, LONG).await.unwrap();

    let statements = || server.log().unwrap().matches("LOG:  execute").count();
    let world = World::real();
    let (began, before) = (world.now(), statements());
    world.sleep(Duration::from_secs(4)).await;
    let done = statements() - before;
    // A busy machine wakes late.
    let seconds = (world.now() - began).as_seconds_f64();
    println!("{done} statements in {seconds:.1} seconds");
    assert!((done as f64) < 5.0 * seconds, "{done} statements in {seconds:.1} seconds");

    // What comes now is not late for that.
    let head = store.append(tests::models::batch_of(2)).await.unwrap().position;
    projector.wait_for(head, &NAMES, LONG).await.unwrap();
    assert_eq!(store.head().await.unwrap(), head);
    projecting.stop().await.unwrap();
    store.close().await;
}
