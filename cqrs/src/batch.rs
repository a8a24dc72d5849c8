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
    decoded: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// The decoded events of a batch, each with its place in it.
pub(crate) type Decoded<E> = Arc<Vec<(usize, E)>>;

impl PageBatch {
    pub(crate) fn add(&mut self, page: Page) {
        self.events.extend(page.events);
        self.through = page.through;
    }

    /// The events that `E` names.
    pub(crate) fn decoded<E: Event>(&self) -> Result<Decoded<E>, LoadError> {
        let mut decoded = self.decoded.lock();
        let known = decoded.get(&TypeId::of::<E>()).cloned();
        if let Some(Ok(known)) = known.map(Arc::downcast::<Vec<(usize, E)>>) {
            return Ok(known);
        }
        let mut events = Vec::with_capacity(self.events.len());
        for (at, envelope) in self.events.iter().enumerate() {
            let event = envelope.decode().map_err(|source| LoadError::Event {
                stream: envelope.stream.clone(),
                version: envelope.version,
                position: envelope.position,
                source,
            })?;
            events.extend(event.map(|event| (at, event)));
        }
        let events = Arc::new(events);
        decoded.insert(TypeId::of::<E>(), Arc::clone(&events) as Arc<dyn Any + Send + Sync>);
        Ok(events)
    }
}
