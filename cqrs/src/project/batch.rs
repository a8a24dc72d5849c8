use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::Arc,
};

use es_core::{Event, LoadError, Page, Position, RecordedEvent};
use parking_lot::Mutex;

/// Some pages that are handled together. Each type of event is decoded once,
/// however many projections ask for it.
#[derive(Debug, Default)]
pub(crate) struct PageBatch {
    pub(crate) events: Vec<RecordedEvent>,
    pub(crate) through: Position,
    /// The sum of the payloads.
    pub(crate) bytes: usize,
    decoded: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// The events of a batch that are of one type, each with its place in it; an event
/// that cannot be read is among them.
pub(crate) type Decoded<E> = Arc<Vec<(usize, Result<E, LoadError>)>>;

impl PageBatch {
    pub(crate) fn add(&mut self, page: Page) {
        self.bytes += page.events.iter().map(|event| event.payload.len()).sum::<usize>();
        self.events.extend(page.events);
        self.through = page.through;
    }

    /// The events that `E` names.
    pub(crate) fn decoded<E: Event>(&self) -> Decoded<E> {
        let mut decoded = self.decoded.lock();
        let known = decoded.get(&TypeId::of::<E>()).cloned();
        if let Some(Ok(known)) = known.map(Arc::downcast) {
            return known;
        }
        let mut events = Vec::with_capacity(self.events.len());
        for (at, envelope) in self.events.iter().enumerate() {
            let event = decode(envelope).transpose();
            events.extend(event.map(|event| (at, event)));
        }
        let events = Arc::new(events);
        decoded.insert(TypeId::of::<E>(), Arc::clone(&events) as Arc<dyn Any + Send + Sync>);
        events
    }
}

/// The event, if `E` names its type.
pub(crate) fn decode<E: Event>(envelope: &RecordedEvent) -> Result<Option<E>, LoadError> {
    envelope.decode().map_err(|source| LoadError::Event {
        stream: envelope.stream.clone(),
        version: envelope.version,
        position: envelope.position,
        source,
    })
}
