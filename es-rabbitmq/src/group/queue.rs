use std::collections::{BTreeMap, BTreeSet, HashMap};

use es_core::{Address, Fault, FaultKind, Lane, Lanes, Message, Order};
use lapin::Channel;
use tokio::sync::oneshot;

use crate::{
    envelope::Uid,
    letters::{Change, Entry, Keep, Letters},
};

/// What comes from a queue has higher numbers than what is given back, which was there
/// before.
const FIRST: u64 = 1 << 62;

/// What this process has to do for a group.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) order: Order,
    parks: bool,
    units: BTreeMap<u32, Unit>,
    /// Units that it has taken first and not begun yet: nothing is handed out before.
    opening: BTreeSet<u32>,
    /// Whether it has begun with those.
    has_opened: bool,
    epochs: u64,
    arrived: u64,
    lanes: Lanes<Lane, Unsettled>,
    pub(crate) letters: Letters,
    awaited: HashMap<Uid, oneshot::Sender<Change>>,
}

/// A partition that this process has.
#[derive(Debug)]
struct Unit {
    epoch: u64,
    channel: Channel,
    in_hand: usize,
    /// Whether it is handed over when nothing of it is in hand any more.
    is_leaving: bool,
}

/// A message that waits or is in the hands of a member.
#[derive(Debug)]
pub(crate) struct Unsettled {
    unit: u32,
    epoch: u64,
    pub(crate) origin: Origin,
    /// Its place in its order, and its number among the dead letters if it was one.
    pub(crate) number: u64,
    lane: Option<Lane>,
    pub(crate) attempt: u32,
    pub(crate) to: Address,
    pub(crate) message: Message,
    pub(crate) uid: Option<Uid>,
    /// Why nobody can read it.
    unreadable: Option<String>,
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From the queue of its partition, under this number of its channel.
    Queue(u64),
    /// It was a dead letter.
    Letter,
}

/// A message as it came from a queue.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) tag: u64,
    pub(crate) to: Address,
    pub(crate) message: Message,
    pub(crate) uid: Option<Uid>,
    pub(crate) unreadable: Option<String>,
}

/// What is to become of a message that was taken.
#[derive(Debug)]
pub(crate) enum Taken {
    Hand(Unsettled),
    Bury(Unsettled, Fault),
    /// It was kept apart before, and leaves the queue now.
    Known(Unsettled),
}

impl Queue {
    pub(crate) fn new(order: Order, parks: bool) -> Self {
        Self {
            order,
            parks,
            units: BTreeMap::new(),
            opening: BTreeSet::new(),
            has_opened: false,
            epochs: 0,
            arrived: FIRST,
            lanes: Lanes::default(),
            letters: Letters::new(Keep::GivenBack),
            awaited: HashMap::new(),
        }
    }

    pub(crate) fn unit_of(&self, partition: u32) -> u32 {
        if self.order == Order::Whole { 0 } else { partition }
    }

    /// Has nothing any more, and reads what became of letters from the beginning.
    pub(crate) fn begin_anew(&mut self) {
        self.units.clear();
        self.opening.clear();
        self.awaited.clear();
        self.letters = Letters::new(Keep::GivenBack);
    }

    /// Begins with all of these at once, so that what comes first is handed out first.
    pub(crate) fn open(&mut self, units: impl IntoIterator<Item = u32>) {
        self.opening = units.into_iter().collect();
        self.has_opened = self.opening.is_empty();
    }

    /// Whether it hands out what it has.
    pub(crate) fn has_opened(&self) -> bool {
        self.has_opened
    }

    /// All is there that waits in a unit which was taken.
    pub(crate) fn is_open(&mut self, unit: u32) {
        self.opening.remove(&unit);
        self.has_opened |= self.opening.is_empty();
    }

    /// Takes a unit, and what was given back to it: of each, where it belongs is told.
    pub(crate) fn begin(
        &mut self,
        unit: u32,
        channel: Channel,
        partition_of: impl Fn(&Message) -> u32,
    ) {
        self.epochs += 1;
        let epoch = self.epochs;
        self.units.insert(unit, Unit { epoch, channel, in_hand: 0, is_leaving: false });
        let given_back = self.letters.all_given_back();
        let ours = given_back.filter_map(|(number, letter)| {
            let message = letter.message.as_ref()?;
            (self.unit_of(partition_of(message)) == unit).then_some(number)
        });
        for number in ours.collect::<Vec<_>>() {
            self.push_letter(number, &partition_of);
        }
    }

    /// Loses a unit: what waits of it is left out when its turn comes.
    pub(crate) fn end(&mut self, unit: u32) {
        self.is_open(unit);
        self.units.remove(&unit);
    }

    /// The units that it has and does not hand over.
    pub(crate) fn staying(&self) -> Vec<u32> {
        let staying = self.units.iter().filter(|(_, state)| !state.is_leaving);
        staying.map(|(unit, _)| *unit).collect()
    }

    pub(crate) fn leave(&mut self, unit: u32) {
        if let Some(unit) = self.units.get_mut(&unit) {
            unit.is_leaving = true;
        }
    }

    /// Whether nothing of a unit is in hand that is handed over.
    pub(crate) fn is_left(&self, unit: u32) -> bool {
        self.units.get(&unit).is_none_or(|unit| unit.is_leaving && unit.in_hand == 0)
    }

    pub(crate) fn push(&mut self, unit: u32, arrived: Arrived) {
        let Some(epoch) = self.units.get(&unit).map(|unit| unit.epoch) else { return };
        self.arrived += 1;
        let Arrived { tag, to, message, uid, unreadable } = arrived;
        let lane = Lane::of(&message, self.order);
        let unsettled = Unsettled {
            unit,
            epoch,
            origin: Origin::Queue(tag),
            number: self.arrived,
            lane: lane.clone(),
            attempt: 1,
            to,
            message,
            uid,
            unreadable,
        };
        self.lanes.push(self.arrived, lane, unsettled);
    }

    /// What a record says, which was read, and whoever waits for it.
    pub(crate) fn read(&mut self, entry: Entry, partition_of: impl Fn(&Message) -> u32) {
        let uid = entry.uid;
        let change = self.letters.apply(entry);
        if let Change::GivenBack(number) = change {
            self.push_letter(number, partition_of);
        }
        if let Some(waits) = uid.and_then(|uid| self.awaited.remove(&uid)) {
            // It may wait no longer.
            let _ = waits.send(change);
        }
    }

    /// Tells of the record with this number when it is read.
    pub(crate) fn when_read(&mut self, uid: Uid) -> oneshot::Receiver<Change> {
        let (tell, told) = oneshot::channel();
        self.awaited.retain(|_, waits| !waits.is_closed());
        self.awaited.insert(uid, tell);
        told
    }

    fn push_letter(&mut self, number: u64, partition_of: impl Fn(&Message) -> u32) {
        let Some(letter) = self.letters.given_back(number) else { return };
        let Some(message) = letter.message.clone() else { return };
        let unit = self.unit_of(partition_of(&message));
        let Some(epoch) = self.units.get(&unit).map(|unit| unit.epoch) else { return };
        let lane = Lane::of(&message, self.order);
        let unsettled = Unsettled {
            unit,
            epoch,
            origin: Origin::Letter,
            number,
            lane: lane.clone(),
            attempt: 1,
            to: letter.known.to.clone(),
            message,
            uid: letter.known.uid,
            unreadable: None,
        };
        self.lanes.push(number, lane, unsettled);
    }

    pub(crate) fn take(&mut self) -> Option<Taken> {
        if !self.opening.is_empty() {
            return None;
        }
        loop {
            let (_, unsettled) = self.lanes.take()?;
            let is_gone = unsettled.origin == Origin::Letter
                && self.letters.given_back(unsettled.number).is_none();
            let Some(unit) = self.current(&unsettled).filter(|unit| !unit.is_leaving && !is_gone)
            else {
                self.release(&unsettled);
                continue;
            };
            unit.in_hand += 1;
            return Some(self.fate(unsettled));
        }
    }

    fn fate(&self, unsettled: Unsettled) -> Taken {
        if matches!(unsettled.origin, Origin::Queue(_)) && self.letters.knows(unsettled.uid) {
            return Taken::Known(unsettled);
        }
        if let Some(why) = &unsettled.unreadable {
            let fault = Fault::new(FaultKind::Undecodable, why);
            return Taken::Bury(unsettled, fault);
        }
        let lane = unsettled.lane.as_ref();
        if self.parks && self.letters.stands_behind(lane, unsettled.number) {
            let fault = Fault::new(FaultKind::Behind, "an earlier one is a dead letter");
            return Taken::Bury(unsettled, fault);
        }
        Taken::Hand(unsettled)
    }

    /// The channel over which a message came, unless its unit was lost since.
    pub(crate) fn channel(&mut self, unsettled: &Unsettled) -> Option<Channel> {
        self.current(unsettled).map(|unit| unit.channel.clone())
    }

    fn current(&mut self, unsettled: &Unsettled) -> Option<&mut Unit> {
        self.units.get_mut(&unsettled.unit).filter(|unit| unit.epoch == unsettled.epoch)
    }

    /// Puts back what is in hand no more, for another try.
    pub(crate) fn put_back(&mut self, mut unsettled: Unsettled) {
        let is_ours = self.current(&unsettled).is_some_and(|unit| !unit.is_leaving);
        if is_ours {
            unsettled.attempt = unsettled.attempt.saturating_add(1);
            self.lanes.put_back(unsettled.number, unsettled);
        } else {
            self.release(&unsettled);
        }
    }

    /// It is in no hand any more, whatever becomes of it.
    pub(crate) fn let_go(&mut self, unsettled: &Unsettled) {
        if let Some(unit) = self.current(unsettled) {
            unit.in_hand -= 1;
        }
    }

    /// Lets its lane go on.
    pub(crate) fn release(&mut self, unsettled: &Unsettled) {
        if let Some(lane) = &unsettled.lane {
            self.lanes.done(lane);
        }
    }
}
