use std::collections::{BTreeSet, HashMap, HashSet};

use es_core::Lane;
use serde::{Deserialize, Serialize};

/// After how many messages of others it is written that there was none of ours.
const FAR: u64 = 10_000;

/// How far a group has come with a unit: all up to a number is settled, but for some. It
/// stands on the server, and whoever takes the unit writes it anew, so that the one before
/// can write it no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) by: String,
    pub(crate) to: u64,
    /// What is not settled, of what comes no later.
    pub(crate) open: BTreeSet<u64>,
}

impl Progress {
    pub(crate) fn has_settled(&self, number: u64) -> bool {
        number <= self.to && !self.open.contains(&number)
    }
}

/// A part of the messages that this process hands out alone.
#[derive(Debug)]
pub(crate) struct Unit {
    /// What tells it from the same unit taken another time.
    pub(crate) epoch: u64,
    /// The number under which the progress was written last.
    pub(crate) revision: u64,
    /// What was settled when the unit was taken.
    before: Progress,
    /// What was read since.
    pub(crate) read: u64,
    /// What was read and is not settled.
    unsettled: BTreeSet<u64>,
    settled_to: u64,
    pub(crate) in_hand: usize,
    pub(crate) is_leaving: bool,
    changes: u64,
    saved: u64,
    saved_to: u64,
    /// The dead letters of each lane that stands still.
    parked: HashMap<Lane, BTreeSet<u64>>,
    /// The numbers of the dead letters that were given back.
    given_back: HashSet<u64>,
}

impl Unit {
    pub(crate) fn new(
        epoch: u64,
        revision: u64,
        before: Progress,
        letters: Vec<(Lane, u64)>,
    ) -> Self {
        let mut unit = Self {
            epoch,
            revision,
            read: 0,
            unsettled: BTreeSet::new(),
            settled_to: 0,
            in_hand: 0,
            is_leaving: false,
            changes: 0,
            saved: 0,
            saved_to: before.to,
            parked: HashMap::new(),
            given_back: HashSet::new(),
            before,
        };
        for (lane, number) in letters {
            unit.park(lane, number);
        }
        unit
    }

    /// The first number that is of interest.
    pub(crate) fn next(&self) -> u64 {
        let after = self.read + 1;
        let open = self.before.open.range(after..).next().copied();
        open.unwrap_or(u64::MAX).min(after.max(self.before.to + 1))
    }

    /// Whether it has to know of this: not if it is about to go, as nobody reads for it then.
    pub(crate) fn wants(&self, number: u64) -> bool {
        let is_new = number > self.read && !self.is_leaving;
        is_new && (number > self.before.to || self.before.open.contains(&number))
    }

    /// How much was read and is not settled.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// There is nothing more of it up to there. Says whether that is worth to be written,
    /// so that whoever takes over need not read all of it again.
    pub(crate) fn read_to(&mut self, number: u64) -> bool {
        self.read = self.read.max(number);
        let is_far = self.read > self.saved_to + FAR && self.unsettled.is_empty();
        self.changes += u64::from(is_far);
        is_far
    }

    pub(crate) fn push(&mut self, number: u64) {
        self.read = self.read.max(number);
        self.unsettled.insert(number);
    }

    /// Whether this number was not given back before and is not there yet.
    pub(crate) fn give_back(&mut self, number: u64) -> bool {
        self.exhume(number);
        self.given_back.insert(number)
    }

    pub(crate) fn settle(&mut self, number: u64, given_back: Option<u64>) {
        if let Some(letter) = given_back {
            self.given_back.remove(&letter);
        }
        self.unsettled.remove(&number);
        self.settled_to = self.settled_to.max(number);
        self.changes += 1;
    }

    pub(crate) fn park(&mut self, lane: Lane, number: u64) {
        self.parked.entry(lane).or_default().insert(number);
    }

    pub(crate) fn exhume(&mut self, number: u64) {
        self.parked.retain(|_, parked| {
            parked.remove(&number);
            !parked.is_empty()
        });
    }

    /// Whether a dead letter of its lane comes before it.
    pub(crate) fn stands_behind(&self, lane: Option<&Lane>, number: u64) -> bool {
        let parked = lane.and_then(|lane| self.parked.get(lane)).and_then(BTreeSet::first);
        parked.is_some_and(|first| *first < number)
    }

    /// Whether it is a dead letter already: it comes again because nobody learned of it.
    pub(crate) fn is_parked(&self, lane: Option<&Lane>, number: u64) -> bool {
        let parked = lane.and_then(|lane| self.parked.get(lane));
        parked.is_some_and(|parked| parked.contains(&number))
    }

    pub(crate) fn progress(&self, by: &str) -> Progress {
        let settled = self.before.to.max(self.settled_to);
        let to = if self.unsettled.is_empty() { settled.max(self.read) } else { settled };
        let not_read = self.before.open.range(self.read + 1..);
        let open = self.unsettled.iter().chain(not_read).copied().filter(|number| *number < to);
        Progress { by: by.to_owned(), to, open: open.collect() }
    }

    /// The changes that are not saved yet, if there are any.
    pub(crate) fn unsaved(&self) -> Option<u64> {
        (self.changes > self.saved).then_some(self.changes)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    pub(crate) fn is_saved(&self, changes: u64) -> bool {
        self.saved >= changes
    }

    /// So much stands on the server, under this revision.
    pub(crate) fn save(&mut self, revision: u64, changes: u64, to: u64) {
        (self.revision, self.saved) = (revision, self.saved.max(changes));
        self.saved_to = self.saved_to.max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(to: u64, open: &[u64]) -> Unit {
        let open = open.iter().copied().collect();
        Unit::new(1, 1, Progress { by: "a".into(), to, open }, Vec::new())
    }

    #[test]
    fn what_was_open_is_read_again_and_nothing_else() {
        let mut unit = unit(10, &[3, 7]);
        assert_eq!(unit.next(), 3);
        let wanted: Vec<_> = (1..13).filter(|number| unit.wants(*number)).collect();
        assert_eq!(wanted, [3, 7, 11, 12]);
        unit.push(3);
        assert_eq!((unit.next(), unit.wants(3)), (7, false));
    }

    #[test]
    fn what_is_saved_tells_what_is_open() {
        let mut unit = unit(10, &[3, 7]);
        for number in [3, 7, 11, 15] {
            unit.push(number);
        }
        unit.settle(3, None);
        unit.settle(11, None);
        let saved = unit.progress("b");
        assert_eq!((saved.to, saved.open), (11, [7].into()));
        unit.settle(7, None);
        unit.settle(15, None);
        assert_eq!(unit.progress("b").to, 15);
    }

    #[test]
    fn what_was_open_and_is_not_read_yet_stays_open() {
        let mut unit = unit(10, &[3, 7]);
        unit.push(3);
        unit.settle(3, None);
        let saved = unit.progress("b");
        assert_eq!((saved.to, saved.open), (10, [7].into()));
    }
}
