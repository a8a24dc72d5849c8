//! A view of the worker's events, kept with each append.

use std::collections::BTreeMap;

use cqrs::{Event, Evolve, InlineViews, Keys, View};
use es_core::{BuildChange, Lookup, Name, Recorded, RecordedEvent, Rows, Views};
use serde::{Deserialize, Serialize};

/// One of the worker's events.
#[derive(Debug, Serialize, Deserialize, Event)]
#[event(name = "bell.rung")]
struct Rung {
    number: u64,
}

/// Every number of a stream, in its order.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Numbers(Vec<u64>);

impl Evolve for Numbers {
    type Event = Rung;

    fn evolve(&mut self, rung: &Rung) {
        self.0.push(rung.number);
    }
}

impl View for Numbers {
    const NAME: &'static str = "numbers";
    type Key = String;

    fn keys(rung: Recorded<'_, Rung>) -> Keys<String> {
        Keys::One(rung.stream.id().to_owned())
    }
}

/// What a store of the worker is opened with.
pub fn numbers() -> InlineViews {
    InlineViews::new().view::<Numbers>()
}

/// From now on each append has to bring its row.
///
/// # Panics
///
/// If that cannot be.
pub async fn keep_numbers(views: &impl Views) {
    let name = Name::from_static(Numbers::NAME);
    views.change(BuildChange::begin(name.clone(), 1)).await.expect("a build that begins");
    views.keep_inline(&name).await.expect("a view that is kept inline");
}

/// The rows show these events, each once and in order.
///
/// # Panics
///
/// If they do not.
pub async fn assert_shown(views: &impl Views, events: &[RecordedEvent]) {
    let mut logged: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for event in events {
        let rung: Rung = serde_json::from_slice(&event.payload).expect("a number");
        logged.entry(event.stream.id().to_owned()).or_default().push(rung.number);
    }
    let every = Rows::Every { after: None, limit: usize::MAX };
    let rows = views.rows(Lookup::new(Name::from_static(Numbers::NAME), every)).await;
    let shown = rows.expect("rows").into_iter().map(|row| {
        let value = row.value.unwrap_or_default();
        (row.id.key, serde_json::from_slice(&value).expect("numbers"))
    });
    assert_eq!(shown.collect::<BTreeMap<_, Vec<u64>>>(), logged);
}
