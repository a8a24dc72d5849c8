use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
};

use es_core::{Address, EventType, Fault, FaultKind, Group, Message, TopicPattern};

use crate::{
    HandleError, Ready,
    work::{Done, Given, said},
};

impl Ready {
    /// Its group.
    pub fn group(&self) -> &Group {
        &self.endpoint.subscription.group
    }

    /// The patterns of topics that it listens to.
    pub fn patterns(&self) -> &[TopicPattern] {
        &self.endpoint.subscription.patterns
    }

    /// The types of events that its handler names; `None` if it takes every message.
    pub fn types(&self) -> Option<&'static [EventType]> {
        self.types
    }

    /// Whether it gets what is published there.
    pub fn listens_to(&self, to: &Address) -> bool {
        match to {
            Address::Topic(topic) => self.patterns().iter().any(|pattern| pattern.matches(topic)),
            Address::Queue(group) => group == self.group(),
        }
    }

    /// Has its handler handle this message here and now, marked as a
    /// [replay](Message::is_replay), and says whether it did: what the handler does not name
    /// and what the [filter](crate::Endpoint::filter) does not want is passed over.
    ///
    /// No broker takes part. The message waits for no other, is tried once, and becomes no dead
    /// letter; it is handled whether or not it was [before](crate::Endpoint::dedupe). A
    /// handler of batches gets it alone.
    ///
    /// ```
    /// use es_bus::{Endpoint, Received};
    /// use es_core::{ContentType, Group, Message, Name};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let audit = Endpoint::new("audit")?.handle_message(|received: Received<()>| async move {
    ///     assert!(received.is_replay());
    ///     Ok(())
    /// });
    /// let message = Message::new("7", Name::new("order.placed")?, ContentType::JSON, "{}");
    /// assert_eq!(audit.replay(Group::new("audit")?.into(), message).await, Ok(true));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Fault`] if it cannot be read, or the handler fails or panics.
    pub fn replay(
        &self,
        to: Address,
        message: Message,
    ) -> impl Future<Output = Result<bool, Fault>> + Send + use<> {
        let Self { endpoint, work, .. } = self.clone();
        async move {
            let given = Given { to, message: message.replayed(), attempt: 1 };
            let wants = catch_unwind(AssertUnwindSafe(|| endpoint.wants(&given.message)));
            if !wants.map_err(|panic| Fault::new(FaultKind::Panic, said(&*panic)))? {
                return Ok(false);
            }
            let mut done = work.work(slice::from_ref(&given)).await;
            was_handled(done.pop().expect("an answer for each message"))
        }
    }
}

fn was_handled(done: Done) -> Result<bool, Fault> {
    let (kind, reason) = match done {
        Done::Handled => return Ok(true),
        Done::Passed => return Ok(false),
        Done::Undecodable(reason) => (FaultKind::Undecodable, reason),
        Done::Panicked(reason) => (FaultKind::Panic, reason),
        Done::Failed(error @ HandleError::Permanent(_)) => {
            (FaultKind::Permanent, error.to_string())
        }
        Done::Failed(error) => (FaultKind::Transient, error.to_string()),
    };
    Err(Fault::new(kind, reason))
}
