use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use es_core::{Address, Fault, FaultKind, Lane, Lanes, Message, Order, Topic};

use super::{
    charter::{Charter, Listened},
    unit::{Progress, Unit},
};
use crate::names::{Spot, To};

/// Most messages that wait in this process to be handed out.
const WAITING: usize = 10_000;
/// Most messages of which it is not known yet what becomes of them, those among them that
/// wait for their next try: their numbers are written at once.
const UNSETTLED: usize = 50_000;
/// Most bytes of them.
const WAITING_BYTES: usize = 64 * 1_024 * 1_024;

/// What this process has to do for a group.
#[derive(Debug)]
pub(crate) struct Queue {
    order: Order,
    parks: bool,
    patterns: Vec<Listened>,
    pub(crate) units: HashMap<u32, Unit>,
    epochs: u64,
    lanes: Lanes<Lane, Unsettled>,
    bytes: Arc<AtomicUsize>,
    /// Grows when what is read, or from where on, has to change.
    pub(crate) version: u64,
    /// Whether all is read that was there when a unit was taken.
    is_caught_up: bool,
}

/// A message that waits or is in the hands of a member.
#[derive(Debug)]
pub(crate) struct Unsettled {
    pub(crate) unit: u32,
    epoch: u64,
    /// Where it stands in the stream.
    pub(crate) at: u64,
    /// Its place in its order, and its number among the dead letters.
    pub(crate) number: u64,
    lane: Option<Lane>,
    pub(crate) attempt: u32,
    /// Whether it may stand among the dead letters, as it was tried to write it there.
    pub(crate) may_be_dead: bool,
    pub(crate) to: Address,
    pub(crate) message: Message,
    /// Why nobody can read it.
    unreadable: Option<String>,
    _weight: Weight,
}

/// Bytes that are counted as long as they are here.
#[derive(Debug)]
struct Weight(Arc<AtomicUsize>, usize);

/// A message as it was read.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) at: u64,
    pub(crate) partition: u32,
    pub(crate) to: Address,
    pub(crate) message: Message,
    pub(crate) given_back: Option<u64>,
    pub(crate) unreadable: Option<String>,
}

/// What is to become of a message that was taken.
#[derive(Debug)]
pub(crate) enum Taken {
    Hand(Unsettled),
    Bury(Unsettled, Fault),
}

impl Queue {
    pub(crate) fn new(charter: &Charter) -> Self {
        Self {
            order: charter.order(),
            parks: charter.parks,
            patterns: charter.patterns.clone(),
            units: HashMap::new(),
            epochs: 0,
            lanes: Lanes::default(),
            bytes: Arc::default(),
            version: 0,
            is_caught_up: true,
        }
    }

    pub(crate) fn unit_of(&self, partition: u32) -> u32 {
        if self.order == Order::Whole { 0 } else { partition }
    }

    /// Whether what follows a dead letter is kept apart behind it.
    pub(crate) fn parks(&self) -> bool {
        self.parks
    }

    pub(crate) fn lane(&self, message: &Message) -> Option<Lane> {
        Lane::of(message, self.order)
    }

    pub(crate) fn patterns(&self) -> &[Listened] {
        &self.patterns
    }

    /// Whether the patterns are others than before.
    pub(crate) fn listen(&mut self, patterns: &[Listened]) -> bool {
        let is_new = self.patterns != patterns;
        if is_new {
            self.patterns = patterns.to_vec();
        }
        is_new
    }

    /// Takes a unit, with the dead letters of its lanes if their followers are parked.
    pub(crate) fn begin(
        &mut self,
        unit: u32,
        revision: u64,
        progress: Progress,
        letters: Vec<(Lane, u64)>,
    ) {
        self.epochs += 1;
        self.units.insert(unit, Unit::new(self.epochs, revision, progress, letters));
        self.version += 1;
        // What was given back has to be known before what follows it is handed out.
        self.is_caught_up &= !self.parks;
    }

    /// Loses a unit: what waits of it is left out when its turn comes.
    pub(crate) fn end(&mut self, unit: u32) {
        self.units.remove(&unit);
    }

    /// Loses all of them.
    pub(crate) fn end_all(&mut self) {
        self.units.clear();
    }

    /// Whether a unit waits to be given up.
    pub(crate) fn is_leaving(&self) -> bool {
        self.units.values().any(|unit| unit.is_leaving)
    }

    /// The first number that is of interest, if any is.
    pub(crate) fn next(&self) -> Option<u64> {
        self.units.values().filter(|unit| !unit.is_leaving).map(Unit::next).min()
    }

    pub(crate) fn has_room(&self) -> bool {
        let unsettled = self.units.values().map(Unit::unsettled).sum::<usize>();
        let has_place = self.lanes.len() < WAITING && unsettled < UNSETTLED;
        has_place && self.bytes.load(Ordering::Relaxed) < WAITING_BYTES
    }

    /// All was read that was there, by this version.
    pub(crate) fn caught_up(&mut self, version: u64) {
        self.is_caught_up |= version == self.version;
    }

    /// Whether this process has to know of what stands there.
    pub(crate) fn wants(&self, at: u64, spot: &Spot<'_>) -> bool {
        let listens =
            |topic: &Topic| self.patterns.iter().any(|listened| listened.matches(at, topic));
        self.units.get(&self.unit_of(spot.partition)).is_some_and(|unit| unit.wants(at))
            && match spot.to {
                To::Group(_) => true,
                To::Topic(topic) => Topic::new(topic).is_ok_and(|topic| listens(&topic)),
            }
    }

    /// All was read up to there, by this version. Says whether it is worth to be written.
    pub(crate) fn read_to(&mut self, at: u64, version: u64) -> bool {
        let units = self.units.values_mut().filter(|unit| !unit.is_leaving);
        version == self.version && units.fold(false, |is_far, unit| unit.read_to(at) | is_far)
    }

    /// Takes what this version has read, unless there is another one, which reads it again:
    /// it may begin earlier.
    #[must_use]
    pub(crate) fn push(&mut self, arrived: Arrived, version: u64) -> bool {
        let is_of_now = version == self.version;
        if is_of_now {
            self.take_in(arrived);
        }
        is_of_now
    }

    fn take_in(&mut self, arrived: Arrived) {
        let (number, lane) = (self.number(&arrived), self.lane(&arrived.message));
        let unit_of = self.unit_of(arrived.partition);
        let Some(unit) = self.units.get_mut(&unit_of) else { return };
        unit.push(arrived.at);
        if let Some(letter) = arrived.given_back
            && !unit.give_back(letter)
        {
            // A crash had doubled it.
            unit.settle(arrived.at, None);
            return;
        }
        let bytes = arrived.message.payload.len();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let Arrived { at, to, message, unreadable, .. } = arrived;
        let unsettled = Unsettled {
            unit: unit_of,
            epoch: unit.epoch,
            at,
            number,
            lane: lane.clone(),
            attempt: 1,
            may_be_dead: false,
            to,
            message,
            unreadable,
            _weight: Weight(Arc::clone(&self.bytes), bytes),
        };
        self.lanes.push(number, lane, unsettled);
    }

    fn number(&self, arrived: &Arrived) -> u64 {
        arrived.given_back.unwrap_or(arrived.at)
    }

    /// A dead letter of this partition was discarded, as this version has read.
    #[must_use]
    pub(crate) fn exhume(&mut self, at: u64, partition: u32, letter: u64, version: u64) -> bool {
        let is_of_now = version == self.version;
        let unit = self.unit_of(partition);
        if is_of_now && let Some(unit) = self.units.get_mut(&unit).filter(|unit| !unit.is_leaving) {
            unit.exhume(letter);
            unit.push(at);
            unit.settle(at, None);
        }
        is_of_now
    }

    pub(crate) fn take(&mut self) -> Option<Taken> {
        if !self.is_caught_up && self.has_room() {
            return None;
        }
        loop {
            let (_, unsettled) = self.lanes.take()?;
            let Some(unit) = self.current(&unsettled).filter(|unit| !unit.is_leaving) else {
                self.release(&unsettled);
                continue;
            };
            let (lane, number) = (unsettled.lane.as_ref(), unsettled.number);
            if unit.is_parked(lane, number) {
                unit.settle(unsettled.at, None);
                self.release(&unsettled);
                continue;
            }
            unit.in_hand += 1;
            let fault = match &unsettled.unreadable {
                Some(why) => Some(Fault::new(FaultKind::Undecodable, why)),
                None => unit.stands_behind(lane, number).then(behind),
            };
            return Some(match fault {
                Some(fault) => Taken::Bury(unsettled, fault),
                None => Taken::Hand(unsettled),
            });
        }
    }

    /// The unit of a message, unless it was lost since.
    pub(crate) fn current(&mut self, unsettled: &Unsettled) -> Option<&mut Unit> {
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

    /// It is settled; returns how many changes there are with this, unless the unit is lost.
    pub(crate) fn settle(&mut self, unsettled: &Unsettled) -> Option<u64> {
        self.release(unsettled);
        let unit = self.current(unsettled)?;
        let given_back = (unsettled.number != unsettled.at).then_some(unsettled.number);
        unit.settle(unsettled.at, given_back);
        Some(unit.changes())
    }

    /// The same of what is a dead letter now.
    pub(crate) fn bury(&mut self, unsettled: &Unsettled) -> Option<u64> {
        if self.parks
            && let Some(lane) = unsettled.lane.clone()
        {
            let number = unsettled.number;
            // Whoever has the unit since parks what it finds.
            if let Some(unit) = self.current(unsettled) {
                unit.park(lane, number);
            }
        }
        self.settle(unsettled)
    }

    /// Whether all that has to be known of this change is on the server; `None` if the unit
    /// is lost.
    pub(crate) fn is_saved(&mut self, unsettled: &Unsettled, changes: u64) -> Option<bool> {
        self.current(unsettled).map(|unit| unit.is_saved(changes))
    }

    fn release(&mut self, unsettled: &Unsettled) {
        if let Some(lane) = &unsettled.lane {
            self.lanes.done(lane);
        }
    }
}

fn behind() -> Fault {
    Fault::new(FaultKind::Behind, "an earlier one is a dead letter")
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use es_core::{ContentType, Group, Name, Subscription};

    use super::*;

    fn group() -> Group {
        Group::new("billing").expect("a group")
    }

    fn asks() -> Subscription {
        Subscription::of(group())
    }

    /// A queue of four partitions.
    fn queue(asked: &Subscription) -> Queue {
        Queue::new(&Charter::new("1".into(), asked, 4, 0))
    }

    /// Begins with a unit of which all is settled up to there.
    fn begin(queue: &mut Queue, unit: u32, to: u64) {
        queue.begin(unit, 1, Progress { to, ..Progress::default() }, Vec::new());
    }

    fn arrived(at: u64, partition: u32) -> Arrived {
        let kind = Name::from_static("order.placed");
        let message = Message::new(at.to_string(), kind, ContentType::JSON, "{}");
        let message = message.with_key(format!("customer-{partition}"));
        Arrived { at, partition, to: group().into(), message, given_back: None, unreadable: None }
    }

    #[test]
    fn what_is_read_for_other_units_says_nothing_about_a_new_one() {
        let mut queue = queue(&asks());
        begin(&mut queue, 0, 1_000);
        let before = queue.version;
        begin(&mut queue, 1, 1_000);
        assert!(!queue.push(arrived(1_101, 1), before), "1,001 of it was passed by");
        assert!(!queue.exhume(1_102, 1, 7, before));
        queue.read_to(1_102, before);
        assert_eq!(queue.next(), Some(1_001));
    }

    fn handed(taken: Option<Taken>) -> Unsettled {
        let Some(Taken::Hand(unsettled)) = taken else { panic!("{taken:?} is not handed out") };
        unsettled
    }

    #[test]
    fn a_key_goes_on_after_a_dead_letter_of_a_unit_that_was_lost() {
        let mut queue = queue(&asks().parking());
        begin(&mut queue, 0, 0);
        queue.caught_up(queue.version);
        assert!(queue.push(arrived(1, 0), queue.version));
        let lost = handed(queue.take());
        queue.end(0);
        begin(&mut queue, 0, 0);
        queue.caught_up(queue.version);
        assert!(queue.push(arrived(1, 0), queue.version));
        assert!(queue.bury(&lost).is_none(), "it is lost");
        assert_eq!(handed(queue.take()).at, 1);
    }

    #[test]
    fn what_waits_for_its_next_try_takes_its_place() {
        let mut queue = queue(&asks());
        begin(&mut queue, 0, 0);
        let mut waiting = Vec::new();
        for at in (1..).take(UNSETTLED) {
            assert!(queue.has_room());
            let mut arrived = arrived(at, 0);
            arrived.message.key = None;
            assert!(queue.push(arrived, queue.version));
            waiting.push(handed(queue.take()));
            queue.let_go(&waiting[waiting.len() - 1]);
        }
        assert!(!queue.has_room());
        queue.settle(&waiting[0]).expect("it is ours");
        assert!(queue.has_room());
    }

    /// Nobody reads for it any more: what comes for others says nothing about it.
    #[test]
    fn a_unit_that_is_leaving_stays_where_it_is() {
        let mut queue = queue(&asks());
        begin(&mut queue, 0, 200);
        begin(&mut queue, 1, 5_000);
        queue.units.get_mut(&0).expect("it was begun").is_leaving = true;
        let spot = |partition| Spot { partition, to: To::Group("billing") };
        assert!(queue.wants(5_001, &spot(1)) && !queue.wants(5_001, &spot(0)));
        assert!(queue.exhume(5_002, 0, 7, queue.version));
        queue.read_to(5_003, queue.version);
        assert_eq!([0, 1].map(|unit| queue.units[&unit].progress("a").to), [200, 5_003]);
    }

    #[test]
    fn what_is_read_for_other_units_does_not_catch_up_with_a_new_one() {
        let mut queue = queue(&asks().parking());
        begin(&mut queue, 0, 0);
        let before = queue.version;
        queue.caught_up(before);
        begin(&mut queue, 1, 0);
        assert!(queue.push(arrived(1, 1), queue.version));
        queue.caught_up(before);
        assert!(queue.take().is_none(), "what was given back may come before it");
        queue.caught_up(queue.version);
        assert!(queue.take().is_some());
    }
}
