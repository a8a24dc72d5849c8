use std::{sync::Arc, time::Duration};

use es_core::{Address, Codec, Event, Group, Message, Name, Topic, World, memory::MemoryBroker};

use crate::{
    Broker, BusError, Letters, Ready, RequestError, RetryPolicy, Running, current,
    metrics::Published, request::Replies,
};

/// Publishes and handles messages over a broker; clones share it.
///
/// See [the crate](crate) for an example.
#[derive(Clone)]
pub struct EventBus {
    broker: Arc<dyn Broker>,
    world: World,
    codec: Codec,
    source: Option<Arc<str>>,
    retry: RetryPolicy,
    published: Arc<Published>,
    replies: Arc<Replies>,
}

impl EventBus {
    /// A bus over this broker, which writes JSON.
    pub fn new(broker: impl Broker) -> Self {
        Self::in_world(broker, World::real())
    }

    /// As [`new`](Self::new), with another clock, randomness, or tasks.
    pub fn in_world(broker: impl Broker, world: World) -> Self {
        let replies = Arc::new(Replies::new(&world));
        let broker = Arc::new(broker);
        let (codec, retry) = (Codec::default(), RetryPolicy::default());
        let published = Arc::new(Published::new());
        Self { broker, world, codec, source: None, retry, published, replies }
    }

    /// A bus over a broker in memory.
    pub fn for_testing() -> Self {
        Self::new(MemoryBroker::new())
    }

    /// Writes messages with this codec.
    #[must_use]
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Says in each message which program it comes from.
    #[must_use]
    pub fn source(mut self, program: impl AsRef<str>) -> Self {
        self.source = Some(program.as_ref().into());
        self
    }

    /// Sets how often endpoints try a message that do not say so [themselves](crate::Endpoint::retry).
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Tells all who listen: the topic is the wire name of the event's type.
    ///
    /// # Errors
    ///
    /// [`BusError`] if it cannot be written, or the broker did not confirm it.
    pub async fn publish<E: Event>(&self, event: &E) -> Result<(), BusError> {
        let topic = Topic::try_from(Name::from_static(event.event_type().name))?;
        self.send(topic, vec![self.message(event)?]).await
    }

    /// Sends to one group, which is made if it is not there yet: one of its members gets
    /// it.
    ///
    /// # Errors
    ///
    /// As of [`publish`](Self::publish).
    pub async fn enqueue<E: Event>(&self, queue: &Group, job: &E) -> Result<(), BusError> {
        self.send(queue.clone(), vec![self.message(job)?]).await
    }

    /// The message that tells of the event, with a new id. Within a handler it says that it
    /// follows from the message that is handled, and bears its correlation id.
    ///
    /// # Errors
    ///
    /// [`BusError::Encode`] if serde cannot write the event.
    pub fn message<E: Event>(&self, event: &E) -> Result<Message, BusError> {
        let id = self.world.event_id().to_string();
        let mut message = Message::encode(event, id, self.codec)?;
        message.time = Some(self.world.now());
        message.metadata = current::metadata();
        if let Some(source) = &self.source {
            message.metadata = message.metadata.source(&**source);
        }
        Ok(message)
    }

    /// Sends the messages in order to a topic or to one group.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the broker did not confirm; some may be there.
    pub async fn send(
        &self,
        to: impl Into<Address> + Send,
        messages: Vec<Message>,
    ) -> Result<(), BusError> {
        let count = messages.len();
        let confirmed = self.broker.publish(&to.into(), messages).await;
        self.published.ended(count, confirmed.is_ok());
        Ok(confirmed?)
    }

    /// Starts an endpoint. Once this returns, it gets what is published from then on.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the broker fails or cannot do what the endpoint asks for.
    pub async fn subscribe(&self, mut endpoint: Ready) -> Result<Running, BusError> {
        endpoint.endpoint.retry.get_or_insert(self.retry);
        let broker = Arc::clone(&self.broker);
        Ok(Running::start(broker, self.world.clone(), endpoint).await?)
    }

    /// Removes a group with all that waits for it, its dead letters too. Its endpoints have to
    /// be [drained](Running::drain) before: one that runs makes it anew.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the broker fails.
    pub async fn unsubscribe(&self, group: &Group) -> Result<(), BusError> {
        Ok(self.broker.forget(group).await?)
    }

    /// What the group could not handle.
    pub fn dead_letters(&self, group: &Group) -> Letters {
        Letters::new(Arc::clone(&self.broker), self.world.clone(), group.clone())
    }

    /// Asks, and waits for the first answer.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if there is none in time, or it is not an `A`.
    pub async fn request<A: Event>(
        &self,
        to: impl Into<Address> + Send,
        request: Message,
        within: Duration,
    ) -> Result<A, RequestError> {
        self.replies.ask(self, to.into(), request, within).await
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }
}

impl std::fmt::Debug for EventBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventBus").field("source", &self.source).finish_non_exhaustive()
    }
}
