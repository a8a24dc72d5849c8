use es_core::{Address, Event, Group, Message};

use crate::{BusError, EventBus, request::REPLY_TO};

/// A message as its handler gets it.
///
/// ```
/// use es_bus::Received;
///
/// fn line<E>(received: &Received<E>) -> String {
///     format!("{} from {}, try {}", received.message.id, received.to, received.attempt)
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Received<E> {
    /// What it tells.
    pub event: E,
    /// All that came with it.
    pub message: Message,
    /// Where it was published to.
    pub to: Address,
    /// Which try this is, from 1.
    pub attempt: u32,
}

impl<E> Received<E> {
    pub(crate) fn new(event: E, message: Message, to: Address, attempt: u32) -> Self {
        Self { event, message, to, attempt }
    }

    /// Whether it is told once more because somebody wants it so: the message
    /// [says it](Message::is_replay), and has the id that it had the first time.
    pub fn is_replay(&self) -> bool {
        self.message.is_replay()
    }

    /// Answers whoever [asked](EventBus::request), and says whether somebody did who still
    /// waits.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the answer was not sent.
    pub async fn reply<A: Event>(&self, bus: &EventBus, answer: &A) -> Result<bool, BusError> {
        let Some(asker) = self.message.metadata.get(REPLY_TO) else { return Ok(false) };
        if self.message.expires.is_some_and(|expires| expires <= bus.world().now()) {
            // Its queue may be gone, and would be there anew.
            return Ok(false);
        }
        let mut message = bus.message(answer)?;
        message.metadata = message.metadata.causation_id(&self.message.id);
        bus.send(Group::new(asker)?, vec![message]).await?;
        Ok(true)
    }
}
