use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{
    Address, Begin, Consumer, DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Deliveries,
    Group, Message, Publisher, StoreError, StoreErrorKind, Subscription, Topic, TopicPattern,
    World,
};

mod group;
mod queue;
#[cfg(test)]
mod tests;

use group::Members;

/// A broker that lives as long as the process; clones share it. See
/// [`Publisher`], [`Consumer`] and [`DeadLetters`] for examples.
///
/// # Promises
///
/// Those of the ports, and:
///
/// - A group gets its messages in the order in which they were published, and those that
///   come again before those that are new.
/// - A group holds at most [`QUEUE_MESSAGES`](Self::QUEUE_MESSAGES) unsettled messages;
///   while one group of a topic is full, [`publish`](Publisher::publish) to the topic waits.
/// - The last [`HISTORY`](Self::HISTORY) messages of all topics are kept for groups that
///   begin with the [earliest](Begin::Earliest).
///
/// ```
/// use es_core::{ContentType, Message, Name, Publisher, Topic, memory::MemoryBroker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new();
/// let placed = Topic::new("order.placed")?;
/// let message = Message::new("1", Name::new("order.placed")?, ContentType::JSON, "{}");
/// broker.publish(&placed.clone().into(), vec![message]).await?;
/// assert_eq!(broker.history(&placed)[0].id, "1");
/// broker.clear();
/// assert!(broker.history(&placed).is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MemoryBroker {
    world: World,
    kept: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<Group, Arc<Members>>,
    patterns: Vec<(TopicPattern, Group)>,
    /// Who gets what is published to a topic, as long as the patterns are the same.
    routes: HashMap<Topic, Arc<[Arc<Members>]>>,
    history: VecDeque<(Topic, Message)>,
}

impl MemoryBroker {
    /// Most messages that one group holds unsettled.
    pub const QUEUE_MESSAGES: usize = 10_000;
    /// Most messages that one group keeps apart; with more, a dead letter fails and the
    /// message comes again.
    pub const DEAD_LETTERS: usize = 10_000;
    /// How many messages are kept that were published to topics, unless another number is
    /// set.
    pub const HISTORY: usize = 1_000;

    /// A broker without topics, in the real world.
    pub fn new() -> Self {
        Self::in_world(World::real())
    }

    /// A broker without topics that waits on this world's clock.
    pub fn in_world(world: World) -> Self {
        Self { world, kept: Self::HISTORY, state: Arc::default() }
    }

    /// Keeps so many messages that were published to topics.
    #[must_use]
    pub fn keeping(mut self, messages: usize) -> Self {
        self.kept = messages;
        self
    }

    /// What was published to this topic, oldest first, as far as it is kept.
    pub fn history(&self, topic: &Topic) -> Vec<Message> {
        let state = self.state.lock();
        let of_topic = state.history.iter().filter(|(known, _)| known == topic);
        of_topic.map(|(_, message)| message.clone()).collect()
    }

    /// Removes all groups and all messages.
    pub fn clear(&self) {
        *self.state.lock() = State::default();
    }

    /// Who gets what is published to this address, which goes into the history.
    fn route(&self, to: &Address, messages: &[Message]) -> Arc<[Arc<Members>]> {
        let mut state = self.state.lock();
        match to {
            Address::Queue(group) => [state.group(group, &self.world)].into(),
            Address::Topic(topic) => {
                if self.kept > 0 {
                    let kept = messages.iter().map(|message| (topic.clone(), message.clone()));
                    state.history.extend(kept);
                    let surplus = state.history.len().saturating_sub(self.kept);
                    state.history.drain(..surplus);
                }
                state.route(topic)
            }
        }
    }

    fn known(&self, group: &Group) -> Option<Arc<Members>> {
        self.state.lock().groups.get(group).cloned()
    }
}

impl Default for MemoryBroker {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn group(&mut self, group: &Group, world: &World) -> Arc<Members> {
        let new = || Arc::new(Members::new(group.clone(), world.clone()));
        Arc::clone(self.groups.entry(group.clone()).or_insert_with(new))
    }

    fn route(&mut self, topic: &Topic) -> Arc<[Arc<Members>]> {
        if let Some(route) = self.routes.get(topic) {
            return Arc::clone(route);
        }
        let listens = |group: &Group| {
            let mut patterns = self.patterns.iter().filter(|(_, by)| by == group);
            patterns.any(|(pattern, _)| pattern.matches(topic))
        };
        let groups = self.groups.iter().filter(|(group, _)| listens(group));
        let route: Arc<[_]> = groups.map(|(_, members)| Arc::clone(members)).collect();
        self.routes.insert(topic.clone(), Arc::clone(&route));
        route
    }

    /// Lets the group listen to what it does not listen to yet, and returns what it then
    /// has to be given.
    fn listen(&mut self, subscription: &Subscription) -> Vec<(Topic, Message)> {
        let mine = |(_, by): &&(TopicPattern, Group)| *by == subscription.group;
        let old: Vec<_> = self.patterns.iter().filter(mine).map(|(known, _)| known).collect();
        let new = subscription.patterns.iter().filter(|pattern| !old.contains(pattern));
        let new: Vec<_> = new.cloned().collect();
        let is_new = |topic: &Topic| {
            new.iter().any(|pattern| pattern.matches(topic))
                && !old.iter().any(|pattern| pattern.matches(topic))
        };
        let earlier = match subscription.begin {
            Begin::Now => Vec::new(),
            Begin::Earliest => {
                self.history.iter().filter(|(topic, _)| is_new(topic)).cloned().collect()
            }
        };
        self.patterns.extend(new.into_iter().map(|new| (new, subscription.group.clone())));
        self.routes.clear();
        earlier
    }
}

#[async_trait]
impl Publisher for MemoryBroker {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        let route = self.route(to, &messages);
        let Some((last, others)) = route.split_last() else { return Ok(()) };
        for members in others {
            members.push(to, messages.clone()).await;
        }
        last.push(to, messages).await;
        Ok(())
    }
}

#[async_trait]
impl Consumer for MemoryBroker {
    async fn consume(&self, subscription: Subscription) -> Result<Deliveries, StoreError> {
        let mut state = self.state.lock();
        let members = state.group(&subscription.group, &self.world);
        members.agree(&subscription)?;
        let earlier = state.listen(&subscription);
        members.push_earlier(earlier);
        Ok(members.deliveries(subscription.window))
    }

    async fn forget(&self, group: &Group) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        state.groups.remove(group);
        state.patterns.retain(|(_, by)| by != group);
        state.routes.clear();
        Ok(())
    }
}

#[async_trait]
impl DeadLetters for MemoryBroker {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let members = self.known(&query.group);
        Ok(members.map(|members| members.dead_letters(&query)).unwrap_or_default())
    }

    async fn give_back(
        &self,
        group: &Group,
        id: DeadLetterId,
        edited: Option<Message>,
    ) -> Result<bool, StoreError> {
        Ok(self.known(group).is_some_and(|members| members.give_back(id, edited)))
    }

    async fn discard(&self, group: &Group, id: DeadLetterId) -> Result<bool, StoreError> {
        Ok(self.known(group).is_some_and(|members| members.discard(id)))
    }
}

fn no_room() -> StoreError {
    let message = "no room for another dead letter, the message comes again";
    StoreError::new(StoreErrorKind::Full, message)
}

fn disagree(group: &Group) -> StoreError {
    let message = format!(
        "the members of the group {group} ask for different orders, or not all of them park: \
         let all of them ask for the same"
    );
    StoreError::new(StoreErrorKind::Invalid, message)
}
