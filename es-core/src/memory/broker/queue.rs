use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;

use super::{MemoryBroker, disagree, no_room};
use crate::{
    Address, DeadLetter, DeadLetterId, DeadLetterQuery, Fault, FaultKind, Group, Lane, Lanes,
    Message, Order, StoreError, Subscription,
};

/// What one group has to do, and what it could not do.
#[derive(Debug, Default)]
pub(super) struct Queue {
    published: u64,
    asked: Option<Asked>,
    lanes: Lanes<Lane, Unsettled>,
    dead: BTreeMap<DeadLetterId, DeadLetter>,
    /// The dead letters of each lane that stands still.
    parked: HashMap<Lane, BTreeSet<DeadLetterId>>,
    /// What should be parked and finds no room.
    crowded: Vec<(u64, Unsettled)>,
}

/// What the members of a group agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    order: Order,
    parks: bool,
}

/// A message that waits or is in the hands of a member.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) number: u64,
    pub(super) attempt: u32,
    pub(super) to: Address,
    pub(super) message: Message,
    /// Whether it was a dead letter.
    is_given_back: bool,
    _room: Option<OwnedSemaphorePermit>,
}

impl Queue {
    /// The first to ask decides. What waits already is brought into this order.
    pub(super) fn agree(&mut self, with: &Subscription) -> Result<(), StoreError> {
        let asks = Asked { order: with.order, parks: with.parks };
        match self.asked {
            Some(known) if known == asks => return Ok(()),
            Some(_) => return Err(disagree(&with.group)),
            None => self.asked = Some(asks),
        }
        // Nobody has taken anything yet, and without an order there were no lanes.
        let mut waiting = std::mem::take(&mut self.lanes);
        while let Some((number, unsettled)) = waiting.take() {
            self.lanes.push(number, self.lane(&unsettled.message), unsettled);
        }
        Ok(())
    }

    fn lane(&self, message: &Message) -> Option<Lane> {
        self.asked.and_then(|asked| Lane::of(message, asked.order))
    }

    pub(super) fn push(
        &mut self,
        to: Address,
        message: Message,
        room: Option<OwnedSemaphorePermit>,
    ) {
        self.published += 1;
        let (number, lane) = (self.published, self.lane(&message));
        let is_given_back = false;
        let new = Unsettled { number, attempt: 1, to, message, is_given_back, _room: room };
        self.lanes.push(number, lane, new);
    }

    pub(super) fn take(&mut self, group: &Group, now: DateTime<Utc>) -> Option<Unsettled> {
        loop {
            let (number, unsettled) = self.lanes.take()?;
            if !self.stands_behind(&unsettled) {
                return Some(unsettled);
            }
            if self.dead.len() >= MemoryBroker::DEAD_LETTERS {
                self.crowded.push((number, unsettled));
                continue;
            }
            let fault = Fault::new(FaultKind::Behind, "an earlier one is a dead letter");
            self.bury(group, &Unsettled { attempt: 0, ..unsettled }, fault, now);
        }
    }

    /// Whether a dead letter of its lane comes before it.
    fn stands_behind(&self, unsettled: &Unsettled) -> bool {
        if self.parked.is_empty() {
            return false;
        }
        let lane = self.lane(&unsettled.message);
        let parked = lane.as_ref().and_then(|lane| self.parked.get(lane));
        let first = parked.and_then(BTreeSet::first);
        first.is_some_and(|first| !unsettled.is_given_back || first.0 < unsettled.number)
    }

    pub(super) fn put_back(&mut self, mut unsettled: Unsettled) {
        unsettled.attempt = unsettled.attempt.saturating_add(1);
        self.lanes.put_back(unsettled.number, unsettled);
    }

    pub(super) fn settled(&mut self, unsettled: &Unsettled) {
        if let Some(lane) = self.lane(&unsettled.message) {
            self.lanes.done(&lane);
        }
    }

    /// Keeps it apart, and lets its lane go on.
    pub(super) fn bury_settled(
        &mut self,
        group: &Group,
        unsettled: &Unsettled,
        fault: Fault,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if self.dead.len() >= MemoryBroker::DEAD_LETTERS {
            return Err(no_room());
        }
        self.bury(group, unsettled, fault, now);
        Ok(())
    }

    fn bury(&mut self, group: &Group, unsettled: &Unsettled, fault: Fault, now: DateTime<Utc>) {
        let id = DeadLetterId(unsettled.number);
        let what = (unsettled.to.clone(), unsettled.message.clone());
        let letter = DeadLetter::new(id, group.clone(), what, fault, unsettled.attempt, now);
        self.dead.insert(id, letter);
        if let Some(lane) = self.lane(&unsettled.message) {
            self.lanes.done(&lane);
            if self.asked.is_some_and(|asked| asked.parks) {
                self.parked.entry(lane).or_default().insert(id);
            }
        }
    }

    pub(super) fn dead_letters(&self, query: &DeadLetterQuery) -> Vec<DeadLetter> {
        let after = (std::ops::Bound::Excluded(query.after), std::ops::Bound::Unbounded);
        self.dead.range(after).take(query.limit).map(|(_, letter)| letter.clone()).collect()
    }

    pub(super) fn give_back(&mut self, id: DeadLetterId, edited: Option<Message>) -> bool {
        let Some(letter) = self.exhume(id) else { return false };
        let message = edited.unwrap_or(letter.message);
        let lane = self.lane(&message);
        let again = Unsettled {
            number: id.0,
            attempt: 1,
            to: letter.to,
            message,
            is_given_back: true,
            _room: None,
        };
        self.lanes.push(id.0, lane, again);
        true
    }

    pub(super) fn discard(&mut self, id: DeadLetterId) -> bool {
        self.exhume(id).is_some()
    }

    fn exhume(&mut self, id: DeadLetterId) -> Option<DeadLetter> {
        let letter = self.dead.remove(&id)?;
        if let Some(lane) = self.lane(&letter.message)
            && let Some(parked) = self.parked.get_mut(&lane)
        {
            parked.remove(&id);
            if parked.is_empty() {
                self.parked.remove(&lane);
            }
        }
        for (number, unsettled) in self.crowded.drain(..) {
            self.lanes.put_back(number, unsettled);
        }
        Some(letter)
    }
}
