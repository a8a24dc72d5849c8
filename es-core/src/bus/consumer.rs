use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::{Delivery, Group, StoreError, TopicPattern};

/// What a member of a group is given.
pub type Deliveries = BoxStream<'static, Result<Delivery, StoreError>>;

/// Consumes messages.
///
/// ```
/// use es_core::{
///     Consumer, ContentType, Group, Message, Name, Publisher, Subscription, Topic, TopicPattern,
///     memory::MemoryBroker,
/// };
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new();
/// let billing = Subscription::of(Group::new("billing")?).to(TopicPattern::new("order.*")?);
/// let mut deliveries = broker.consume(billing).await?;
/// let message = Message::new("1", Name::new("order.placed")?, ContentType::JSON, "{}");
/// broker.publish(&Topic::new("order.placed")?.into(), vec![message]).await?;
///
/// let delivery = deliveries.next().await.expect("a delivery")?;
/// assert_eq!(delivery.message.id, "1");
/// delivery.ack().await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Consumer: Send + Sync + 'static {
    /// Takes part in a group of consumers: each message goes to one of them.
    ///
    /// Once this returns the group is there, and gets what is published from then on. It
    /// stays, also without members, until it is [forgotten](Self::forget). A member leaves
    /// when its deliveries are dropped; what it held unsettled goes to the others.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker fails, or cannot do what the subscription asks for.
    async fn consume(&self, subscription: Subscription) -> Result<Deliveries, StoreError>;

    /// Removes a group with all that waits for it, its dead letters too.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker fails.
    async fn forget(&self, group: &Group) -> Result<(), StoreError>;
}

/// What to consume, as a member of which group, and in which order.
///
/// ```
/// use es_core::{Group, Order, Subscription, TopicPattern};
///
/// let billing = Subscription::of(Group::new("billing")?)
///     .to(TopicPattern::new("order.*")?)
///     .to(TopicPattern::new("payment.failed")?)
///     .in_order(Order::None);
/// assert_eq!(billing.patterns.len(), 2);
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// The group; each group gets every message once.
    pub group: Group,
    /// The topics, which are added to those of the group. Without any it gets what is
    /// addressed to its queue, as it always does.
    pub patterns: Vec<TopicPattern>,
    /// Which messages wait for each other.
    pub order: Order,
    /// What a pattern that is new to the group begins with.
    pub begin: Begin,
    /// Most messages that this member holds unsettled.
    pub window: usize,
    /// Whether what follows a dead letter in its order is kept apart behind it.
    pub parks: bool,
}

impl Subscription {
    /// The window unless another one is set.
    pub const WINDOW: usize = 1_000;

    /// A member of `group`, with order by key, from now on.
    pub fn of(group: Group) -> Self {
        Self {
            group,
            patterns: Vec::new(),
            order: Order::Key,
            begin: Begin::Now,
            window: Self::WINDOW,
            parks: false,
        }
    }

    /// Listens to these topics too.
    #[must_use]
    pub fn to(mut self, pattern: impl Into<TopicPattern>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// Sets which messages wait for each other.
    #[must_use]
    pub fn in_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Sets what a pattern that is new to the group begins with.
    #[must_use]
    pub fn begin(mut self, begin: Begin) -> Self {
        self.begin = begin;
        self
    }

    /// Sets how many messages this member holds unsettled at most; at least one.
    #[must_use]
    pub fn window(mut self, messages: usize) -> Self {
        self.window = messages.max(1);
        self
    }

    /// Keeps apart what follows a dead letter in its order, until that is given back or
    /// discarded.
    #[must_use]
    pub fn parking(mut self) -> Self {
        self.parks = true;
        self
    }
}

/// Which messages of a group wait for each other. All members of a group have to agree.
///
/// ```
/// assert_ne!(es_core::Order::Key, es_core::Order::None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// None do.
    None,
    /// Those of one tenant with one key: while one is unsettled, none of the others is
    /// handed out, in any member, and they come in the order of their publication.
    Key,
    /// All do.
    Whole,
}

/// What a pattern begins with that is new to its group.
///
/// ```
/// assert_ne!(es_core::Begin::Now, es_core::Begin::Earliest);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Begin {
    /// What is published from now on.
    Now,
    /// All that the broker still has.
    Earliest,
}
