//! What the models must show, by a plain fold of the log, and what they do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use es_core::{EventStore, EventStoreExt, Name, Read, Views};
use tests::models::{ByRow, ByStream, Effect, Journal, MODELS, effects, moved, stream_of};

use crate::place::Place;

/// The numbers of the events that each row shows, in their order.
type Rows = BTreeMap<String, Vec<u64>>;

/// How what was found differs from what must be there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) events: usize,
    /// Events that are missing: model, row and number.
    pub(crate) lost: Vec<String>,
    /// Events that were counted more than once, or that are in the wrong row.
    pub(crate) doubled: Vec<String>,
    /// Rows with the right events in a wrong order.
    pub(crate) misplaced: Vec<String>,
    /// Events without their effect.
    pub(crate) undone: Vec<u64>,
    /// Events whose effects have more than one key.
    pub(crate) rekeyed: Vec<u64>,
    /// Effects that were done once more, which is what an at-least-once one may be.
    pub(crate) repeated: usize,
    /// How often parts of the reaction have changed their owner, at most.
    pub(crate) owners: u64,
}

impl Verdict {
    pub(crate) fn is_sound(&self) -> bool {
        let rows = self.lost.len() + self.doubled.len() + self.misplaced.len();
        rows + self.undone.len() + self.rekeyed.len() == 0
    }

    fn compare(&mut self, model: &str, expected: &Rows, found: &Rows) {
        let none = Vec::new();
        for row in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
            let one = |rows: &Rows| rows.get(row).unwrap_or(&none).clone();
            let (expected, found) = (one(expected), one(found));
            let (must, are) = (counted(&expected), counted(&found));
            for number in must.keys().chain(are.keys()).collect::<BTreeSet<_>>() {
                let of = |counts: &BTreeMap<u64, u64>| counts.get(number).copied().unwrap_or(0);
                let what = format!("{model} {row}: {number}");
                match of(&must).cmp(&of(&are)) {
                    std::cmp::Ordering::Greater => self.lost.push(what),
                    std::cmp::Ordering::Less => self.doubled.push(what),
                    std::cmp::Ordering::Equal => {}
                }
            }
            if must == are && expected != found {
                self.misplaced.push(format!("{model} {row}"));
            }
        }
    }

    fn compare_effects(&mut self, numbers: &[u64], effects: &[Effect]) {
        let mut keys: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        for effect in effects {
            keys.entry(effect.number).or_default().insert(&effect.id);
        }
        self.undone = numbers.iter().filter(|one| !keys.contains_key(one)).copied().collect();
        let rekeyed = keys.iter().filter(|(_, keys)| keys.len() > 1);
        self.rekeyed = rekeyed.map(|(number, _)| *number).collect();
        self.repeated = effects.len() - keys.len();
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, lost, doubled, misplaced, undone, rekeyed, repeated, owners } = self;
        let some = |what: &[String]| what.iter().take(5).cloned().collect::<Vec<_>>();
        write!(
            f,
            "{events} events; {} lost {:?}, {} doubled {:?}, {} rows out of order {:?}; effects: \
             {} lost, {} with a new key, {repeated} repeated under {owners} owners",
            lost.len(),
            some(lost),
            doubled.len(),
            some(doubled),
            misplaced.len(),
            some(misplaced),
            undone.len(),
            rekeyed.len(),
        )
    }
}

fn counted(numbers: &[u64]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for number in numbers {
        *counts.entry(*number).or_default() += 1;
    }
    counts
}

/// Compares everything with a fold from zero.
pub(crate) async fn check<S>(place: &Place<S>, appended: u64) -> Verdict
where
    S: EventStore + Views<Tx: Journal>,
{
    let log = place.store.events(Read::all()).await.unwrap();
    let numbers: Vec<u64> = log.iter().map(|event| tests::lives::number(event).unwrap()).collect();
    assert_eq!(numbers, (0..appended).collect::<Vec<_>>(), "the log itself");
    let (mut rows, mut streams) = (Rows::new(), Rows::new());
    for number in &numbers {
        for row in moved(*number).rows() {
            rows.entry(row).or_default().push(*number);
        }
        streams.entry(stream_of(*number).to_string()).or_default().push(*number);
    }
    let mut verdict = Verdict { events: numbers.len(), ..Verdict::default() };
    let projector = place.projector();
    let found = projector.all::<ByRow>().await.unwrap().into_iter();
    verdict.compare("by-row", &rows, &found.map(|(key, row)| (key, row.0)).collect());
    let found = projector.all::<ByStream>().await.unwrap().into_iter();
    verdict.compare("by-stream", &streams, &found.map(|(key, row)| (key, row.0)).collect());
    for table in ["ledger", "lines"] {
        let mut found = Rows::new();
        for (stream, number) in place.lines(table) {
            found.entry(stream).or_default().push(number);
        }
        verdict.compare(table, &streams, &found);
    }
    verdict.compare_effects(&numbers, &effects(&place.mailbox()).unwrap());
    let builds = place.store.builds(&[Name::from_static(MODELS[4])]).await.unwrap();
    let parts = builds.iter().flat_map(|build| &build.parts);
    verdict.owners = parts.map(|part| part.checkpoint.epoch).sum();
    verdict
}
