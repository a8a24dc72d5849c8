use async_trait::async_trait;

use crate::{Address, Message, StoreError};

/// Publishes messages.
///
/// ```
/// use es_core::{ContentType, Message, Name, Publisher, Topic, memory::MemoryBroker};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new();
/// let message = Message::new("1", Name::new("order.placed")?, ContentType::JSON, "{}");
/// broker.publish(&Topic::new("order.placed")?.into(), vec![message]).await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Publishes the messages in order; `Ok` means that the broker has all of them. Given
    /// again with the same ids they may come twice.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker did not confirm; some may be there.
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError>;

    /// Publishes messages to several addresses, in their order: those that go to one address
    /// one after the other, unless a broker knows a faster way that keeps the order.
    ///
    /// # Errors
    ///
    /// As of [`publish`](Self::publish).
    async fn publish_all(&self, messages: Vec<(Address, Message)>) -> Result<(), StoreError> {
        let mut messages = messages.into_iter().peekable();
        while let Some((to, first)) = messages.next() {
            let mut together = vec![first];
            while let Some((_, next)) = messages.next_if(|(next, _)| *next == to) {
                together.push(next);
            }
            self.publish(&to, together).await?;
        }
        Ok(())
    }
}
