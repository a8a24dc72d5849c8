//! The two halves of a broker.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};

use crate::{ContentType, Metadata, Name, StoreError};

/// Something to be told to whoever listens.
///
/// ```
/// use es_core::{ContentType, Message, Name};
///
/// let message = Message::new("order-7", ContentType::JSON, "{}").with_key("customer-1");
/// assert_eq!(message.key.as_deref(), Some("customer-1"));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Message {
    /// Its identity, by which receivers notice a repetition.
    pub id: String,
    /// Messages with one key keep their order.
    pub key: Option<String>,
    /// The form of the payload.
    pub content_type: ContentType,
    /// What is known beside its data.
    pub metadata: Metadata,
    /// Its data.
    pub payload: Bytes,
}

impl Message {
    /// A message without key and metadata.
    pub fn new(
        id: impl Into<String>,
        content_type: ContentType,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self {
            id: id.into(),
            key: None,
            content_type,
            metadata: Metadata::new(),
            payload: payload.into(),
        }
    }

    /// Sets the key within which order is kept.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }
}

/// Publishes messages.
///
/// ```
/// use es_core::{ContentType, Message, Name, Publisher, memory::MemoryBroker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new();
/// let message = Message::new("1", ContentType::JSON, "{}");
/// broker.publish(&Name::new("orders")?, vec![message]).await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Publishes the messages in order; `Ok` means that the broker has all of
    /// them.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker did not confirm; some may be there.
    async fn publish(&self, topic: &Name, messages: Vec<Message>) -> Result<(), StoreError>;
}

/// Consumes messages.
///
/// ```
/// use es_core::{Consumer, ContentType, Message, Name, Publisher, Subscription, memory::MemoryBroker};
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new();
/// let topic = Name::new("orders")?;
/// let mut deliveries = broker.consume(Subscription::new(topic.clone(), Name::new("billing")?));
/// broker.publish(&topic, vec![Message::new("1", ContentType::JSON, "{}")]).await?;
///
/// let delivery = deliveries.next().await.expect("a delivery")?;
/// assert_eq!(delivery.message.id, "1");
/// delivery.ack().await?;
/// # Ok(())
/// # }
/// ```
pub trait Consumer: Send + Sync + 'static {
    /// Takes part in a group of consumers: each message goes to one of them.
    fn consume(
        &self,
        subscription: Subscription,
    ) -> BoxStream<'static, Result<Delivery, StoreError>>;
}

/// What to consume, and as a member of which group.
///
/// ```
/// use es_core::{Name, Subscription};
///
/// let subscription = Subscription::new(Name::new("orders")?, Name::new("billing")?);
/// assert_eq!(subscription.group, "billing");
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Subscription {
    /// The topic.
    pub topic: Name,
    /// The group; each group gets every message once.
    pub group: Name,
}

impl Subscription {
    /// Consumes `topic` as a member of `group`.
    pub fn new(topic: Name, group: Name) -> Self {
        Self { topic, group }
    }
}

/// One message, handed to one consumer, that must say what became of it. A
/// delivery that is dropped without an answer is delivered again.
///
/// See [`Consumer`] for an example.
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Which try this is, from 1.
    pub attempt: u32,
    settle: Box<dyn FnOnce(Settlement) -> BoxFuture<'static, Result<(), StoreError>> + Send>,
}

/// What became of a delivery.
///
/// ```
/// use es_core::Settlement;
///
/// assert_ne!(Settlement::Ack, Settlement::DeadLetter("no such order".into()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It was handled.
    Ack,
    /// Deliver it again after this long.
    Retry(Duration),
    /// It cannot be handled: keep it apart, with the reason.
    DeadLetter(String),
}

impl Delivery {
    /// A delivery that is settled by this function; for writers of brokers.
    pub fn new<F>(message: Message, attempt: u32, settle: F) -> Self
    where
        F: FnOnce(Settlement) -> BoxFuture<'static, Result<(), StoreError>> + Send + 'static,
    {
        Self { message, attempt, settle: Box::new(settle) }
    }

    /// It was handled.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker did not learn of it; it may come again.
    pub async fn ack(self) -> Result<(), StoreError> {
        (self.settle)(Settlement::Ack).await
    }

    /// Deliver it again after this long.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker did not learn of it; it may come earlier.
    pub async fn retry(self, after: Duration) -> Result<(), StoreError> {
        (self.settle)(Settlement::Retry(after)).await
    }

    /// It cannot be handled: keep it apart, with the reason.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker did not learn of it; it may come again.
    pub async fn dead_letter(self, reason: impl Into<String> + Send) -> Result<(), StoreError> {
        (self.settle)(Settlement::DeadLetter(reason.into())).await
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("message", &self.message)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
