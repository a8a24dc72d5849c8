use std::{fmt, sync::Arc};

use es_core::{Address, Event, Name, Publisher, RecordedEvent, Topic, event_names};

/// Tells others of what the log holds, over a broker: the log is the outbox, so that there
/// is no second table and nothing that could be written to one and not to the other.
///
/// Each event is published **at least once**, as a message with the event's id, to the topic
/// that is the wire name of its type. The events of a stream are published in their order:
/// the stream is the key of their messages. A relay may have many
/// [parts](crate::ModelSettings::parts), kept by as many processes; what the broker does not
/// take, however often it is tried, is parked with all later events of its stream.
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

    /// Tells of these events too. Types that are no topics are told to nobody, unless they
    /// have a [route](Self::route).
    pub fn of<E: Event>(mut self) -> Self {
        self.types.extend(event_names::<E>());
        self
    }

    /// Sets where each event goes, or that it goes nowhere.
    pub fn route(
        mut self,
        route: impl Fn(&RecordedEvent) -> Option<Address> + Send + Sync + 'static,
    ) -> Self {
        self.route = Arc::new(route);
        self
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("name", &self.name)
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}
