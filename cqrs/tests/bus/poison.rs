//! One event among very many that cannot be read.

use std::collections::BTreeMap;

use cqrs::{Evolve, Fate, Keys, ModelSettings, Projector, View};
use es_core::{
    Batch, ContentType, EventStore, Name, NewEvent, Position, Recorded, World, Write,
    memory::{MemoryStore, MemoryViews},
};
use serde::{Deserialize, Serialize};

use crate::bank::{AccountEvent, stream};

const ACCOUNTS: usize = 20_000;
const ROUNDS: usize = 5;
/// The event that cannot be read: of whom, and which.
const BAD: (usize, usize) = (12_345, 2);

/// The amounts of an account in their order, and the sum of a hundred accounts.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Amounts {
    amounts: Vec<i64>,
    sum: i64,
}

impl Amounts {
    fn add(&mut self, key: &str, amount: i64) {
        self.sum += amount;
        if !key.starts_with("hundred") {
            self.amounts.push(amount);
        }
    }
}

impl Evolve for Amounts {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {}
}

fn keys(account: &str) -> [String; 2] {
    [account.to_owned(), format!("hundred {}", &account[..3])]
}

impl View for Amounts {
    const NAME: &'static str = "amounts";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::Many(keys(event.stream.id()).to_vec())
    }

    fn apply(&mut self, key: &String, event: Recorded<'_, AccountEvent>) -> Fate {
        if let AccountEvent::Deposited { amount } = *event.event {
            self.add(key, amount);
        }
        Fate::Keep
    }
}

fn account(number: usize) -> String {
    format!("{number:05}")
}

fn amount(number: usize, round: usize) -> i64 {
    i64::try_from(number % 97 + round * 1_000).unwrap()
}

/// 100,000 deposits, each account in turn.
async fn fill(store: &MemoryStore) {
    let world = World::real();
    for round in 0..ROUNDS {
        let write = |number: usize| {
            let payload = match (number, round) == BAD {
                true => r#"{"amount":"a lot"}"#.to_owned(),
                false => format!(r#"{{"amount":{}}}"#, amount(number, round)),
            };
            let name = Name::from_static("account.deposited");
            let event = NewEvent::raw(world.event_id(), name, ContentType::JSON, payload);
            Write::new(stream(&account(number))).events([event])
        };
        for first in (0..ACCOUNTS).step_by(1_000) {
            let writes = (first..first + 1_000).map(write);
            store.append(Batch::new(writes)).await.unwrap();
        }
    }
}

/// A fold from nothing, of the events that are wanted.
fn folded(is_wanted: impl Fn(usize, usize) -> bool) -> BTreeMap<String, Amounts> {
    let mut rows: BTreeMap<String, Amounts> = BTreeMap::new();
    for round in 0..ROUNDS {
        for number in (0..ACCOUNTS).filter(|number| is_wanted(*number, round)) {
            for key in keys(&account(number)) {
                rows.entry(key.clone()).or_default().add(&key, amount(number, round));
            }
        }
    }
    rows
}

async fn rows(projector: &Projector<MemoryViews>) -> BTreeMap<String, Amounts> {
    projector.all::<Amounts>().await.unwrap().into_iter().collect()
}

#[tokio::test]
async fn one_bad_event_among_a_hundred_thousand_parks_one_stream() {
    let store = MemoryStore::new();
    fill(&store).await;
    let settings = ModelSettings::new().parts(4);
    let projector = Projector::new(store, MemoryViews::new()).view_with::<Amounts>(settings);
    let progress = projector.catch_up().await.unwrap();
    assert_eq!(progress.position, Position::new(100_000));

    let parked = projector.parked("amounts").await.unwrap();
    let mut versions: Vec<_> = parked.iter().map(|one| one.version).collect();
    versions.dedup();
    assert_eq!(versions, [3, 4, 5]);
    let sequence = format!("stream {}", stream(&account(BAD.0)));
    assert!(parked.iter().all(|one| one.sequence == sequence), "{parked:?}");
    let without = folded(|number, round| number != BAD.0 || round < BAD.1);
    assert!(rows(&projector).await == without, "another stream is wrong");

    let payload = format!(r#"{{"amount":{}}}"#, amount(BAD.0, BAD.1));
    projector.edit("amounts", &sequence, &payload, "eve", "it is a number").await.unwrap();
    projector.retry("amounts", &sequence).await.unwrap();
    assert!(projector.parked("amounts").await.unwrap().is_empty());
    assert!(rows(&projector).await == folded(|_, _| true), "it is not as a fold from nothing");
}
