use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
};

use crate::{Message, Order, Tenant};

/// What has to wait for what: the messages of one lane are handed out one after the other.
///
/// ```
/// use es_core::{ContentType, Lane, Message, Name, Order};
///
/// let message = Message::new("1", Name::new("order.placed")?, ContentType::JSON, "{}");
/// assert_eq!(Lane::of(&message, Order::Key), None);
/// assert!(Lane::of(&message.with_key("ada"), Order::Key).is_some());
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// All messages of a group.
    Whole,
    /// Those of a tenant with this key.
    Key(Tenant, String),
}

impl Lane {
    /// The lane of this message, if it has one in this order.
    pub fn of(message: &Message, order: Order) -> Option<Self> {
        match (order, &message.key) {
            (Order::Whole, _) => Some(Self::Whole),
            (Order::Key, Some(key)) => Some(Self::Key(message.tenant.clone(), key.clone())),
            _ => None,
        }
    }
}

/// What waits to be handed out, by number, and lane by lane: while one item of a lane is
/// taken, none of the others is. For writers of brokers.
///
/// ```
/// use es_core::Lanes;
///
/// let mut lanes = Lanes::default();
/// lanes.push(1, Some("ada"), "one");
/// lanes.push(2, Some("ada"), "two");
/// lanes.push(3, None, "three");
/// assert_eq!(lanes.take(), Some((1, "one")));
/// assert_eq!(lanes.take(), Some((3, "three")));
/// assert_eq!(lanes.take(), None);
/// lanes.done(&"ada");
/// assert_eq!(lanes.take(), Some((2, "two")));
/// ```
#[derive(Debug, Clone)]
pub struct Lanes<L, T> {
    /// What may be taken now.
    ready: BTreeMap<u64, T>,
    /// The lanes of which an item is ready or taken.
    lanes: HashMap<L, Waiting<T>>,
    behind: usize,
}

/// What waits behind the item with this number, which is ready or taken.
#[derive(Debug, Clone)]
struct Waiting<T> {
    first: u64,
    others: VecDeque<(u64, T)>,
}

impl<L: Eq + Hash, T> Lanes<L, T> {
    /// Puts the item into its lane, by its number.
    pub fn push(&mut self, number: u64, lane: Option<L>, item: T) {
        let Some(lane) = lane else {
            self.ready.insert(number, item);
            return;
        };
        match self.lanes.entry(lane) {
            Entry::Vacant(free) => {
                free.insert(Waiting { first: number, others: VecDeque::new() });
                self.ready.insert(number, item);
            }
            Entry::Occupied(mut lane) => {
                let lane = lane.get_mut();
                self.behind += 1;
                // What is taken already was before it.
                if lane.first > number
                    && let Some(first) = self.ready.remove(&lane.first)
                {
                    lane.others.push_front((lane.first, first));
                    lane.first = number;
                    self.ready.insert(number, item);
                } else {
                    let before = lane.others.iter().rposition(|(other, _)| *other < number);
                    lane.others.insert(before.map_or(0, |at| at + 1), (number, item));
                }
            }
        }
    }

    /// Takes what has the lowest number of all that need not wait. Its lane stands still
    /// until it is [`done`](Self::done) or [put back](Self::put_back).
    pub fn take(&mut self) -> Option<(u64, T)> {
        self.ready.pop_first()
    }

    /// Puts back what was taken, in front of its lane.
    pub fn put_back(&mut self, number: u64, item: T) {
        self.ready.insert(number, item);
    }

    /// Lets the lane go on of which an item was taken.
    pub fn done<Q>(&mut self, lane: &Q)
    where
        L: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some(waiting) = self.lanes.get_mut(lane) else { return };
        match waiting.others.pop_front() {
            Some((number, item)) => {
                waiting.first = number;
                self.behind -= 1;
                self.ready.insert(number, item);
            }
            None => drop(self.lanes.remove(lane)),
        }
    }

    /// How many items wait, those that are taken not among them.
    pub fn len(&self) -> usize {
        self.ready.len() + self.behind
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<L, T> Default for Lanes<L, T> {
    fn default() -> Self {
        Self { ready: BTreeMap::new(), lanes: HashMap::new(), behind: 0 }
    }
}
