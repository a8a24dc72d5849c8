use es_core::{Consumer, DeadLetters, Publisher};

/// What a bus runs on: a broker with all of its ports.
///
/// ```
/// use es_bus::Broker;
/// use es_core::memory::MemoryBroker;
///
/// let broker: Box<dyn Broker> = Box::new(MemoryBroker::new());
/// ```
pub trait Broker: Publisher + Consumer + DeadLetters {}

impl<B: Publisher + Consumer + DeadLetters> Broker for B {}
