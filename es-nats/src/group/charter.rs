use std::collections::BTreeMap;

use async_nats::HeaderMap;
use es_core::{Group, Order, StoreError, Subscription, Topic, TopicPattern};
use serde::{Deserialize, Serialize};

use crate::server::{Put, Server, json, parse};

/// What all processes of a group agree on: it stands on the server, and is changed by
/// whoever has seen its last revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Charter {
    /// What tells it from an earlier group of the same name.
    pub(crate) id: String,
    order: Asked,
    pub(crate) parks: bool,
    pub(crate) patterns: Vec<Listened>,
    /// The number after which the group begins to read.
    pub(crate) start: u64,
    /// The processes that have members, or still have something of the group in hand.
    members: BTreeMap<String, Heart>,
    /// The process that has a unit, if one has.
    owners: Vec<Option<String>>,
}

/// What a process says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Heart {
    /// It grows as long as the process lives.
    beats: u64,
    /// It takes no more, and gives up what it has.
    is_leaving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    None,
    Key,
    Whole,
}

/// Topics that a group listens to, and after which number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listened {
    pub(crate) pattern: TopicPattern,
    pub(crate) after: u64,
    /// Whether something after it is still to be copied, which may have been passed by.
    #[serde(default)]
    pub(crate) is_partial: bool,
}

/// What a process does with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It has it, and keeps it.
    Keep,
    /// It has it, and another one waits for it.
    Yield,
    /// Another one has it, or will take it.
    Leave,
}

impl Charter {
    /// The one that stands on the server, and its revision.
    pub(crate) async fn read(
        server: &Server,
        group: &Group,
    ) -> Result<Option<(u64, Self)>, StoreError> {
        let subject = server.names.charter(group);
        let Some(found) = server.last(&subject).await? else { return Ok(None) };
        Ok(Some((found.sequence, parse(&subject, &found.payload)?)))
    }

    /// Writes it, unless another one than of this revision stands there.
    pub(crate) async fn write(
        &self,
        server: &Server,
        group: &Group,
        revision: u64,
    ) -> Result<bool, StoreError> {
        let subject = server.names.charter(group);
        let put = server.put(&subject, HeaderMap::new(), json(self), Some(revision)).await?;
        Ok(matches!(put, Put::Done(_)))
    }

    /// The charter of a new group, which listens to nothing yet.
    pub(crate) fn new(id: String, asked: &Subscription, partitions: u32, start: u64) -> Self {
        // In the order of the whole all partitions have to have one owner.
        let units = if asked.order == Order::Whole { 1 } else { partitions };
        Self {
            id,
            order: asked.order.into(),
            parks: asked.parks,
            patterns: Vec::new(),
            start,
            members: BTreeMap::new(),
            owners: (0..units).map(|_| None).collect(),
        }
    }

    pub(crate) fn order(&self) -> Order {
        match self.order {
            Asked::None => Order::None,
            Asked::Key => Order::Key,
            Asked::Whole => Order::Whole,
        }
    }

    pub(crate) fn agrees_with(&self, asked: &Subscription) -> bool {
        self.order == asked.order.into() && self.parks == asked.parks
    }

    /// The patterns that the group does not listen to yet.
    pub(crate) fn unknown(&self, asked: &Subscription) -> Vec<TopicPattern> {
        let is_known = |pattern: &TopicPattern| {
            self.patterns.iter().any(|listened| listened.pattern == *pattern)
        };
        asked.patterns.iter().filter(|pattern| !is_known(pattern)).cloned().collect()
    }

    pub(crate) fn listen(&mut self, listened: impl IntoIterator<Item = Listened>) {
        self.patterns.extend(listened);
    }

    /// The patterns of which something is still to be copied.
    pub(crate) fn partial(&self, asked: &Subscription) -> Vec<Listened> {
        let is_asked = |listened: &&Listened| asked.patterns.contains(&listened.pattern);
        let asked = self.patterns.iter().filter(is_asked);
        asked.filter(|listened| listened.is_partial).cloned().collect()
    }

    /// The patterns of which nothing can have been passed by.
    pub(crate) fn whole(&self) -> impl Iterator<Item = &Listened> {
        self.patterns.iter().filter(|listened| !listened.is_partial)
    }

    /// Nothing is to be copied any more for these.
    pub(crate) fn complete(&mut self, partial: &[Listened]) {
        for listened in self.patterns.iter_mut().filter(|listened| partial.contains(listened)) {
            listened.is_partial = false;
        }
    }

    pub(crate) fn units(&self) -> u32 {
        u32::try_from(self.owners.len()).expect("there are as many as partitions")
    }

    pub(crate) fn is_member(&self, process: &str) -> bool {
        self.members.contains_key(process)
    }

    /// How often each process has said that it lives.
    pub(crate) fn beats(&self) -> impl Iterator<Item = (&str, u64)> {
        self.members.iter().map(|(process, heart)| (process.as_str(), heart.beats))
    }

    /// Takes out who has gone, and what it had.
    pub(crate) fn remove(&mut self, process: &str) {
        self.members.remove(process);
        for owner in &mut self.owners {
            owner.take_if(|owner| owner == process);
        }
    }

    /// Says that this process lives, and whether it is about to leave.
    pub(crate) fn beat(&mut self, process: &str, is_leaving: bool) {
        let heart = self.members.entry(process.to_owned()).or_default();
        (heart.beats, heart.is_leaving) = (heart.beats + 1, is_leaving);
    }

    /// Takes out a process that is about to leave and has nothing any more.
    pub(crate) fn leave(&mut self, process: &str) {
        let is_leaving = self.members.get(process).is_some_and(|heart| heart.is_leaving);
        if is_leaving && !(0..self.units()).any(|unit| self.is_owner(unit, process)) {
            self.members.remove(process);
        }
    }

    /// Takes what is free and falls to this process, and says what it is to do with the
    /// unit.
    pub(crate) fn claim(&mut self, unit: u32, process: &str) -> Claim {
        let heir = self.heir(unit).map(str::to_owned);
        let Some(owner) = self.owners.get_mut(unit as usize) else { return Claim::Leave };
        let is_heir = heir.as_deref() == Some(process);
        match owner.as_deref() {
            Some(known) if known == process && is_heir => Claim::Keep,
            Some(known) if known == process => Claim::Yield,
            None if is_heir => {
                *owner = heir;
                Claim::Keep
            }
            _ => Claim::Leave,
        }
    }

    pub(crate) fn free(&mut self, unit: u32) {
        if let Some(owner) = self.owners.get_mut(unit as usize) {
            *owner = None;
        }
    }

    pub(crate) fn is_owner(&self, unit: u32, process: &str) -> bool {
        self.owners.get(unit as usize).is_some_and(|owner| owner.as_deref() == Some(process))
    }

    /// Whether others may have something to do since it was like that before.
    pub(crate) fn concerns_others(&self, before: &Self, process: &str) -> bool {
        let is_free = |unit: u32| before.is_owner(unit, process) && !self.is_owner(unit, process);
        let stays = |charter: &Self| charter.members.get(process).map(|heart| heart.is_leaving);
        stays(before) != stays(self) || (0..self.units()).any(is_free)
    }

    /// The number after which it listens to all that it listens to.
    pub(crate) fn listens_after(&self) -> u64 {
        self.patterns.iter().map(|listened| listened.after).max().unwrap_or(self.start)
    }

    /// The process to which the unit falls: they take turns.
    fn heir(&self, unit: u32) -> Option<&str> {
        let stay = || self.members.iter().filter(|(_, heart)| !heart.is_leaving);
        let turn = (unit as usize).checked_rem(stay().count())?;
        stay().nth(turn).map(|(process, _)| process.as_str())
    }
}

impl Listened {
    /// Listens from there on.
    pub(crate) fn new(pattern: TopicPattern, after: u64) -> Self {
        Self { pattern, after, is_partial: false }
    }

    pub(crate) fn matches(&self, number: u64, topic: &Topic) -> bool {
        number > self.after && self.pattern.matches(topic)
    }
}

impl From<Order> for Asked {
    fn from(order: Order) -> Self {
        match order {
            Order::None => Self::None,
            Order::Key => Self::Key,
            Order::Whole => Self::Whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charter(partitions: u32) -> Charter {
        let asked = Subscription::of(Group::new("billing").expect("a group"));
        Charter::new("1".into(), &asked, partitions, 0)
    }

    fn owned(charter: &Charter, process: &str) -> usize {
        (0..charter.units()).filter(|unit| charter.is_owner(*unit, process)).count()
    }

    #[test]
    fn whoever_comes_later_gets_a_share_once_it_is_freed() {
        let mut charter = charter(4);
        charter.beat("a", false);
        assert!((0..4).all(|unit| charter.claim(unit, "a") == Claim::Keep));
        charter.beat("b", false);
        assert!((0..4).all(|unit| charter.claim(unit, "b") == Claim::Leave));
        for unit in 0..4 {
            if charter.claim(unit, "a") == Claim::Yield {
                charter.free(unit);
            }
        }
        let claims = (0..4).map(|unit| charter.claim(unit, "b"));
        assert_eq!(claims.filter(|claim| *claim == Claim::Keep).count(), 2);
        assert_eq!((owned(&charter, "a"), owned(&charter, "b")), (2, 2));
    }

    #[test]
    fn what_a_dead_process_had_is_free() {
        let mut charter = charter(2);
        charter.beat("a", false);
        charter.claim(0, "a");
        charter.remove("a");
        charter.beat("b", false);
        assert_eq!(charter.claim(0, "b"), Claim::Keep);
    }

    #[test]
    fn whoever_leaves_stays_as_long_as_it_has_something() {
        let mut charter = charter(1);
        charter.beat("a", false);
        charter.claim(0, "a");
        charter.beat("a", true);
        charter.beat("b", false);
        charter.leave("a");
        assert_eq!((charter.claim(0, "a"), charter.claim(0, "b")), (Claim::Yield, Claim::Leave));
        assert!(charter.is_member("a"), "if it dies somebody has to notice");
        charter.free(0);
        charter.leave("a");
        assert!(!charter.is_member("a"));
        assert_eq!(charter.claim(0, "b"), Claim::Keep);
    }
}
