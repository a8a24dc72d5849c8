use std::{fmt, sync::Arc};

use es_core::{
    Address, Event, Message, Name, OUTBOX_MESSAGE, Outgoing, Publisher, RecordedEvent, StoreError,
    StoreErrorKind, Topic, event_names,
};

use super::parking::Sequence;

/// Tells others of what the log holds, over a broker: the log is the outbox, so that there
/// is no second table and nothing that could be written to one and not to the other.
///
/// Each event is published **at least once**, as a message with the event's id, to the topic
/// that is the wire name of its type. The events of a stream are published in their order:
/// the stream is the key of their messages. A relay may have many
/// [parts](crate::ModelSettings::parts), kept by as many processes. While the broker is away it
/// waits; what the broker refuses is parked with all later events of its stream.
///
/// ```
/// use cqrs::{Event, Projector, Relay, StartAt};
/// use es_core::{
///     Batch, Codec, Consumer, EventStore, Group, NewEvent, StreamId, Subscription, TopicPattern,
///     World, memory::{MemoryBroker, MemoryStore, MemoryViews},
/// };
/// use futures_util::TryStreamExt;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "bell.rung")]
/// struct Rung;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (store, broker) = (MemoryStore::new(), MemoryBroker::new());
/// let ears = Subscription::of(Group::new("ears")?).to(TopicPattern::new("bell.*")?);
/// let mut heard = broker.consume(ears).await?;
///
/// let relay = Relay::new("bells-told", broker).of::<Rung>();
/// let projector = Projector::new(store.clone(), MemoryViews::new())
///     .relay(relay, StartAt::Beginning);
/// let running = projector.start();
///
/// let rung = NewEvent::encode(&Rung, World::real().event_id(), Codec::Json)?;
/// store.append(Batch::to(StreamId::new("bell", "big")?).event(rung)).await?;
/// let told = heard.try_next().await?.expect("a delivery");
/// assert_eq!(told.message.key.as_deref(), Some("bell-big"));
/// # running.stop().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Relay {
    pub(crate) name: &'static str,
    pub(crate) publisher: Arc<dyn Publisher>,
    pub(crate) types: Vec<Name>,
    pub(crate) route: Route,
}

/// Where an event goes, if it goes anywhere.
pub(crate) type Route = Arc<dyn Fn(&RecordedEvent) -> Option<Address> + Send + Sync>;

impl Relay {
    /// A relay of no events yet; its checkpoint is kept under this name.
    pub fn new(name: &'static str, publisher: impl Publisher) -> Self {
        let topic = |event: &RecordedEvent| Topic::try_from(event.event_type.clone());
        let route: Route = Arc::new(move |event| topic(event).ok().map(Address::from));
        Self { name, publisher: Arc::new(publisher), types: Vec::new(), route }
    }

    /// A relay of the outbox: what was appended as [`Outgoing`] is published as it is, to the
    /// address that it bears. Of several such relays each publishes everything.
    ///
    /// Messages with one key are published in the order of the log, and one that the broker
    /// never takes is parked with all later ones of its key; without a key it is parked alone.
    /// How a message stands is told by what there is for every model: until its position is
    /// [reached](crate::Projector::wait_for) it is pending, then it is published, unless it is
    /// [parked](crate::Projector::parked). How many are pending is the
    /// [lag](crate::Projector::lag).
    ///
    /// ```
    /// use cqrs::{Projector, Relay, StartAt};
    /// use es_core::{Batch, ContentType, EventStore, Group, Message, Name, Outgoing};
    /// use es_core::memory::{MemoryBroker, MemoryStore, MemoryViews};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let store = MemoryStore::new();
    /// let relay = Relay::outbox("outbox", MemoryBroker::new());
    /// let projector = Projector::new(store.clone(), MemoryViews::new());
    /// let projector = projector.relay(relay, StartAt::Beginning);
    ///
    /// let mail = Message::new("1", Name::new("mail.wanted")?, ContentType::JSON, "{}");
    /// store.append(Outgoing::new(Group::new("mails")?, mail).into()).await?;
    /// assert_eq!(projector.lag().await?[0].1.events, 1);
    /// projector.catch_up().await?;
    /// assert_eq!(projector.lag().await?[0].1.events, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn outbox(name: &'static str, publisher: impl Publisher) -> Self {
        let mut relay = Self::new(name, publisher);
        relay.types.push(OUTBOX_MESSAGE);
        relay
    }

    /// Tells of these events too. Types that are no topics are told to nobody, unless they
    /// have a [route](Self::route).
    pub fn of<E: Event>(mut self) -> Self {
        self.types.extend(event_names::<E>());
        self
    }

    /// Sets where each event goes, or that it goes nowhere. A message of the
    /// [outbox](Self::outbox) bears its address.
    pub fn route(
        mut self,
        route: impl Fn(&RecordedEvent) -> Option<Address> + Send + Sync + 'static,
    ) -> Self {
        self.route = Arc::new(route);
        self
    }

    /// What is told of the event, if anything is.
    pub(crate) fn told(
        &self,
        event: &RecordedEvent,
    ) -> Result<Option<(Address, Message)>, StoreError> {
        if event.event_type != OUTBOX_MESSAGE {
            return Ok((self.route)(event).map(|to| (to, Message::from(event))));
        }
        let outgoing = Outgoing::try_from(event).map_err(|error| {
            let message = format!("the event at {} is no message: {error}", event.position);
            StoreError::new(StoreErrorKind::Invalid, message).because(error)
        })?;
        Ok(Some((outgoing.to, outgoing.message)))
    }
}

/// What stands still with the event.
pub(crate) fn sequence(event: &RecordedEvent) -> Sequence {
    let is_keyless = |outgoing: Outgoing| outgoing.message.key.is_none();
    if Outgoing::try_from(event).is_ok_and(is_keyless) {
        return Sequence::alone(event);
    }
    Sequence::of_stream(&event.stream)
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("name", &self.name)
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}
