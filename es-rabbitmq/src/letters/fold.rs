use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use es_core::{DeadLetter, DeadLetterId, FaultKind, Group, Lane, Message, Order};

use super::{Entry, Known, Record};
use crate::envelope::Uid;

/// What the log says, up to where it was read.
#[derive(Debug)]
pub(crate) struct Letters {
    keep: Keep,
    letters: BTreeMap<u64, Letter>,
    /// The numbers of the dead letters of each lane.
    parked: HashMap<Lane, BTreeSet<u64>>,
    /// The messages of queues that were ever kept apart. They may come from the queue again.
    known: HashSet<Uid>,
}

/// Which messages are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Those of all letters.
    All,
    /// Those that were given back.
    GivenBack,
}

#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) known: Known,
    pub(crate) message: Option<Message>,
    lane: Option<Lane>,
    is_given_back: bool,
}

/// What a record has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// There is one dead letter more.
    Buried,
    /// The letter of this number goes back to its group.
    GivenBack(u64),
    /// There is a letter less.
    Gone,
}

impl Letters {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, letters: BTreeMap::new(), parked: HashMap::new(), known: HashSet::new() }
    }

    pub(crate) fn apply(&mut self, entry: Entry) -> Change {
        match entry.record {
            Record::Buried { number, known } => self.bury(entry.at, number, known, entry.message),
            Record::GivenBack { number } => self.give_back(number, entry.message),
            Record::Discarded { number } => self.discard(number),
            Record::Done { number } => self.done(number),
            Record::Looked => Change::None,
        }
    }

    fn bury(
        &mut self,
        at: u64,
        number: Option<u64>,
        known: Known,
        message: Option<Message>,
    ) -> Change {
        let is_right = match number {
            // What was given back is a dead letter again.
            Some(number) => self.given_back(number).is_some(),
            // Whoever was not told that it is written writes it again.
            None => known.uid.is_none_or(|uid| self.known.insert(uid)),
        };
        let Some(message) = message.filter(|_| is_right) else { return Change::None };
        let number = number.unwrap_or(at);
        let order = if known.is_whole { Order::Whole } else { Order::Key };
        let lane = known.has_lane.then(|| Lane::of(&message, order)).flatten();
        let is_free = !self.stands_behind(lane.as_ref(), number);
        // What it stood behind is gone: it goes back at once.
        let is_given_back = known.fault.kind == FaultKind::Behind && is_free;
        let is_kept = is_given_back || self.keep == Keep::All;
        let letter = Letter { known, lane, is_given_back, message: is_kept.then_some(message) };
        if let (Some(lane), false) = (letter.lane.clone(), is_given_back) {
            self.parked.entry(lane).or_default().insert(number);
        }
        self.letters.insert(number, letter);
        if is_given_back { Change::GivenBack(number) } else { Change::Buried }
    }

    fn give_back(&mut self, number: u64, message: Option<Message>) -> Change {
        let Some(letter) = self.letters.get_mut(&number).filter(|letter| !letter.is_given_back)
        else {
            return Change::None;
        };
        letter.is_given_back = true;
        letter.message = message.or(letter.message.take());
        self.unpark(number);
        Change::GivenBack(number)
    }

    fn discard(&mut self, number: u64) -> Change {
        if self.get(number).is_none() {
            return Change::None;
        }
        self.unpark(number);
        self.letters.remove(&number);
        Change::Gone
    }

    fn done(&mut self, number: u64) -> Change {
        if self.given_back(number).is_none() {
            return Change::None;
        }
        self.letters.remove(&number);
        Change::Gone
    }

    fn unpark(&mut self, number: u64) {
        let Some(lane) = self.letters.get(&number).and_then(|letter| letter.lane.as_ref()) else {
            return;
        };
        if let Some(parked) = self.parked.get_mut(lane) {
            parked.remove(&number);
            if parked.is_empty() {
                self.parked.remove(lane);
            }
        }
    }

    /// The dead letter of this number, unless it was given back.
    pub(crate) fn get(&self, number: u64) -> Option<&Letter> {
        self.letters.get(&number).filter(|letter| !letter.is_given_back)
    }

    /// The letter of this number, if it was given back and is not handled yet.
    pub(crate) fn given_back(&self, number: u64) -> Option<&Letter> {
        self.letters.get(&number).filter(|letter| letter.is_given_back)
    }

    /// All that are given back and not handled yet.
    pub(crate) fn all_given_back(&self) -> impl Iterator<Item = (u64, &Letter)> {
        let all = self.letters.iter().map(|(number, letter)| (*number, letter));
        all.filter(|(_, letter)| letter.is_given_back)
    }

    /// The dead letters with a higher number.
    pub(crate) fn dead(&self, after: u64) -> impl Iterator<Item = (u64, &Letter)> {
        let later =
            self.letters.range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded));
        let later = later.map(|(number, letter)| (*number, letter));
        later.filter(|(_, letter)| !letter.is_given_back)
    }

    /// Whether a dead letter of this lane has a lower number.
    pub(crate) fn stands_behind(&self, lane: Option<&Lane>, number: u64) -> bool {
        let parked = lane.and_then(|lane| self.parked.get(lane)).and_then(BTreeSet::first);
        parked.is_some_and(|first| *first < number)
    }

    /// Whether this message of a queue was kept apart before.
    pub(crate) fn knows(&self, uid: Option<Uid>) -> bool {
        uid.is_some_and(|uid| self.known.contains(&uid))
    }
}

impl Letter {
    pub(crate) fn dead(&self, id: DeadLetterId, group: &Group) -> Option<DeadLetter> {
        let Known { to, fault, attempts, at, .. } = self.known.clone();
        let message = self.message.clone()?;
        Some(DeadLetter::new(id, group.clone(), (to, message), fault, attempts, at))
    }
}
