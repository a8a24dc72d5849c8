use std::{fmt, sync::Arc, time::Duration};

use es_core::{
    Begin, Event, EventType, Group, Message, NameError, Order, Subscription, TopicPattern,
};

use crate::{
    Handle, HandleBatch, RetryPolicy,
    work::{OfBatches, OfEvents, OfMessages, Work},
};

/// A subscription and what is done with its messages.
///
/// Unless it says otherwise it keeps the order of each key, handles sixteen messages at
/// once, tries each [five times](RetryPolicy), and keeps apart what cannot be handled.
///
/// ```
/// use std::time::Duration;
/// use es_bus::{Endpoint, Received, RetryPolicy};
/// use es_core::Order;
///
/// let audit = Endpoint::new("audit")?
///     .to("security.**")?
///     .to("order.*")?
///     .in_order(Order::None)
///     .concurrency(4)
///     .retry(RetryPolicy::new(3))
///     .dedupe(Duration::from_secs(3600))
///     .handle_message(|received: Received<()>| async move {
///         println!("{}", received.message.kind);
///         Ok(())
///     });
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Endpoint {
    pub(crate) subscription: Subscription,
    pub(crate) concurrency: usize,
    /// As the bus says, if it is not set.
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) outage_after: u32,
    pub(crate) dedupe: Option<(Duration, Key)>,
    pub(crate) filter: Option<Filter>,
    pub(crate) batch: Batch,
    pub(crate) drain_within: Duration,
    pub(crate) stuck_after: Duration,
}

/// Which key of a message tells that it was handled before.
pub(crate) type Key = Arc<dyn Fn(&Message) -> String + Send + Sync>;

/// Which messages are handled.
type Filter = Arc<dyn Fn(&Message) -> bool + Send + Sync>;

/// How many messages go to a handler at once, and how long the first of them may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) size: usize,
    pub(crate) age: Duration,
}

/// An endpoint that can be [started](crate::EventBus::subscribe), or given a
/// [replay](Self::replay). Clones share the handler.
#[derive(Clone)]
#[must_use]
pub struct Ready {
    pub(crate) endpoint: Endpoint,
    pub(crate) work: Arc<dyn Work>,
    /// The types that the handler names; none: it takes every one.
    pub(crate) types: Option<&'static [EventType]>,
}

impl Endpoint {
    /// Failures one after the other that count as an outage, unless another number is set.
    pub const OUTAGE_AFTER: u32 = 20;
    /// How long [draining](crate::Running::drain) may take, unless another time is set.
    pub const DRAIN_WITHIN: Duration = Duration::from_secs(30);

    /// How long a handler may take until it counts as stuck, unless another time is set.
    pub const STUCK_AFTER: Duration = Duration::from_secs(5 * 60);

    /// An endpoint of this group, which gets what is sent to its queue.
    ///
    /// # Errors
    ///
    /// [`NameError`] if that is no name of a [`Group`].
    pub fn new(group: impl AsRef<str>) -> Result<Self, NameError> {
        Ok(Self {
            subscription: Subscription::of(Group::new(group)?),
            concurrency: 16,
            retry: None,
            outage_after: Self::OUTAGE_AFTER,
            dedupe: None,
            filter: None,
            batch: Batch { size: 1, age: Duration::ZERO },
            drain_within: Self::DRAIN_WITHIN,
            stuck_after: Self::STUCK_AFTER,
        })
    }

    /// Listens to the topics of this [pattern](TopicPattern) too.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is none.
    pub fn to(mut self, pattern: impl AsRef<str>) -> Result<Self, NameError> {
        self.subscription = self.subscription.to(TopicPattern::new(pattern)?);
        Ok(self)
    }

    /// Sets which messages wait for each other.
    pub fn in_order(mut self, order: Order) -> Self {
        self.subscription = self.subscription.in_order(order);
        self
    }

    /// Sets what a pattern that is new to the group begins with.
    pub fn begin(mut self, begin: Begin) -> Self {
        self.subscription = self.subscription.begin(begin);
        self
    }

    /// Keeps apart what follows a dead letter in its order, until that is given back or
    /// discarded.
    pub fn parking(mut self) -> Self {
        self.subscription = self.subscription.parking();
        self
    }

    /// Sets how many messages are handled at once; at least one.
    pub fn concurrency(mut self, messages: usize) -> Self {
        self.concurrency = messages.max(1);
        self
    }

    /// Sets how many messages this process holds, those that wait for a handler among them.
    pub fn window(mut self, messages: usize) -> Self {
        self.subscription = self.subscription.window(messages);
        self
    }

    /// Sets how often a message is tried; as the [bus](crate::EventBus::retry) says otherwise.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// After so many failures one after the other, whatever the messages, one is tried at a
    /// time, and none becomes a dead letter until one has been handled. Never with 0.
    pub fn outage_after(mut self, failures: u32) -> Self {
        self.outage_after = failures;
        self
    }

    /// Passes over a message whose id was handled by this process within this time, unless it
    /// is a [replay](Message::is_replay), which somebody wants. What must hold for all
    /// processes and after a crash belongs into the handler's transaction.
    pub fn dedupe(self, within: Duration) -> Self {
        self.dedupe_by(within, |message| message.id.clone())
    }

    /// As [`dedupe`](Self::dedupe), by another key.
    pub fn dedupe_by(
        mut self,
        within: Duration,
        key: impl Fn(&Message) -> String + Send + Sync + 'static,
    ) -> Self {
        self.dedupe = Some((within, Arc::new(key)));
        self
    }

    /// Handles only such messages; the others count as handled.
    pub fn filter(mut self, wants: impl Fn(&Message) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Arc::new(wants));
        self
    }

    /// Sets how long a handler may take until the endpoint is
    /// [unhealthy](crate::Running::health).
    pub fn stuck_after(mut self, time: Duration) -> Self {
        self.stuck_after = time;
        self
    }

    pub(crate) fn policy(&self) -> RetryPolicy {
        self.retry.unwrap_or_default()
    }

    pub(crate) fn wants(&self, message: &Message) -> bool {
        self.filter.as_ref().is_none_or(|wants| wants(message))
    }

    /// Sets how long [draining](crate::Running::drain) may take.
    pub fn drain_within(mut self, time: Duration) -> Self {
        self.drain_within = time;
        self
    }

    /// Handles the events that `E` names; messages of other types count as handled.
    pub fn handle<E: Event>(self, handler: impl Handle<E>) -> Ready {
        Ready { endpoint: self, work: Arc::new(OfEvents::new(handler)), types: Some(E::TYPES) }
    }

    /// Handles every message, without decoding it.
    pub fn handle_message(self, handler: impl Handle<()>) -> Ready {
        Ready { endpoint: self, work: Arc::new(OfMessages::new(handler)), types: None }
    }

    /// Handles up to `size` events at once; the first of them waits no longer than `age`.
    pub fn handle_batch<E: Event + Sync>(
        mut self,
        size: usize,
        age: Duration,
        handler: impl HandleBatch<E>,
    ) -> Ready {
        self.batch = Batch { size: size.max(1), age };
        Ready { endpoint: self, work: Arc::new(OfBatches::new(handler)), types: Some(E::TYPES) }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("subscription", &self.subscription)
            .field("concurrency", &self.concurrency)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
