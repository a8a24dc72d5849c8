use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;

use crate::{Address, Fault, Message, StoreError};

/// One message, handed to one consumer, that must say what became of it. A
/// delivery that is dropped without an answer is delivered again.
///
/// However long it is held, no other member gets the message while this one lives.
///
/// See [`Consumer`](crate::Consumer) for an example.
pub struct Delivery {
    /// Where it was published to.
    pub to: Address,
    /// The message.
    pub message: Message,
    /// Which try this is, from 1. A broker that was restarted may count anew.
    pub attempt: u32,
    settle: Box<dyn FnOnce(Settlement) -> BoxFuture<'static, Result<(), StoreError>> + Send>,
}

/// What became of a delivery.
///
/// ```
/// use std::time::Duration;
/// use es_core::Settlement;
///
/// assert_ne!(Settlement::Ack, Settlement::Retry(Duration::ZERO));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It was handled.
    Ack,
    /// Deliver it again after this long. What waits for it in its order goes on waiting.
    Retry(Duration),
    /// It cannot be handled: keep it apart.
    DeadLetter(Fault),
}

impl Delivery {
    /// A delivery that is settled by this function; for writers of brokers.
    pub fn new<F>(to: Address, message: Message, attempt: u32, settle: F) -> Self
    where
        F: FnOnce(Settlement) -> BoxFuture<'static, Result<(), StoreError>> + Send + 'static,
    {
        Self { to, message, attempt, settle: Box::new(settle) }
    }

    /// Says what became of it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker did not learn of it; it may come again.
    pub async fn settle(self, settlement: Settlement) -> Result<(), StoreError> {
        (self.settle)(settlement).await
    }

    /// It was handled.
    ///
    /// # Errors
    ///
    /// As of [`settle`](Self::settle).
    pub async fn ack(self) -> Result<(), StoreError> {
        self.settle(Settlement::Ack).await
    }

    /// Deliver it again after this long.
    ///
    /// # Errors
    ///
    /// As of [`settle`](Self::settle).
    pub async fn retry(self, after: Duration) -> Result<(), StoreError> {
        self.settle(Settlement::Retry(after)).await
    }

    /// It cannot be handled: keep it apart.
    ///
    /// # Errors
    ///
    /// As of [`settle`](Self::settle).
    pub async fn dead_letter(self, fault: Fault) -> Result<(), StoreError> {
        self.settle(Settlement::DeadLetter(fault)).await
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("to", &self.to)
            .field("message", &self.message)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
