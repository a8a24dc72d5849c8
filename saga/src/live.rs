//! A saga as it is read from its stream, and what is appended to it.

use std::{collections::BTreeMap, sync::Arc};

use es_core::{
    AppendError, Batch, Codec, DecodeError, EventStore, EventStoreExt, Expected, LoadError,
    Metadata, NewEvent, Read, RecordedEvent, Version, World, failpoint,
};
use serde_json::Value;

use crate::{
    Operation, SagaError, SagaEvent, SagaId, SagaState,
    decide::Sight,
    definition::{AnyDefinition, Held},
};

/// How often a store that cannot be reached is asked again with the same append.
const TRIES: u32 = 3;

/// The definitions that a program knows.
#[derive(Default, Clone)]
pub(crate) struct Registry {
    known: BTreeMap<String, BTreeMap<u32, Arc<dyn AnyDefinition>>>,
}

impl Registry {
    /// Whether it was not there yet.
    pub(crate) fn add(&mut self, definition: Arc<dyn AnyDefinition>) -> bool {
        let versions = self.known.entry(definition.name().to_owned()).or_default();
        versions.insert(definition.version(), definition).is_none()
    }

    pub(crate) fn newest(&self, name: &str) -> Result<Arc<dyn AnyDefinition>, SagaError> {
        let newest = self.known.get(name).and_then(|versions| versions.values().next_back());
        newest.cloned().ok_or_else(|| unknown(name, 0))
    }

    pub(crate) fn find(
        &self,
        name: &str,
        version: u32,
    ) -> Result<Arc<dyn AnyDefinition>, SagaError> {
        let known = self.known.get(name).and_then(|versions| versions.get(&version));
        known.cloned().ok_or_else(|| unknown(name, version))
    }
}

fn unknown(name: &str, version: u32) -> SagaError {
    SagaError::UnknownDefinition { definition: name.to_owned(), version }
}

/// A saga and its data, at a version of its stream.
pub(crate) struct Live {
    pub(crate) id: SagaId,
    pub(crate) definition: Arc<dyn AnyDefinition>,
    pub(crate) state: SagaState,
    pub(crate) data: Box<dyn Held>,
    pub(crate) version: Version,
    pub(crate) metadata: Metadata,
}

impl Live {
    /// A saga that has not begun.
    pub(crate) fn new(
        id: SagaId,
        definition: Arc<dyn AnyDefinition>,
        input: &Value,
        metadata: Metadata,
    ) -> Result<Self, SagaError> {
        let data =
            Arc::clone(&definition).open(input).map_err(|source| data(&id, "its input", source))?;
        let (state, version) = (SagaState::default(), Version::NONE);
        Ok(Self { id, definition, state, data, version, metadata })
    }

    /// The saga as its stream tells.
    pub(crate) async fn load(
        store: &dyn EventStore,
        registry: &Registry,
        id: &SagaId,
    ) -> Result<Self, SagaError> {
        let (recorded, events) = read(store, id).await?;
        let (Some(first), Some(last)) = (recorded.first(), recorded.last()) else {
            return Err(SagaError::Missing { saga: id.clone() });
        };
        let (metadata, version) = (first.metadata.clone(), last.version);
        let version_of = |event: &SagaEvent| match event {
            SagaEvent::Started { version, .. } => Some(*version),
            SagaEvent::Migrated { to, .. } => Some(*to),
            _ => None,
        };
        let pinned = events.iter().rev().find_map(version_of).unwrap_or_default();
        let definition = registry.find(id.definition(), pinned)?;
        // What older versions have made of the data is in the event that has moved it.
        let begins = |event: &SagaEvent| match event {
            SagaEvent::Started { input: data, .. } | SagaEvent::Migrated { data, .. } => {
                Some(data.clone())
            }
            _ => None,
        };
        let anchor = events.iter().rposition(|event| begins(event).is_some()).unwrap_or_default();
        let input = events.get(anchor).and_then(begins).unwrap_or_default();
        let mut live = Self::new(id.clone(), definition, &input, metadata)?;
        for (at, event) in events.iter().enumerate() {
            live.state.apply(event);
            if at > anchor {
                live.extend(event)?;
            }
        }
        live.version = version;
        Ok(live)
    }

    /// Changes it by an event that is not in its stream yet.
    pub(crate) fn apply(&mut self, event: &SagaEvent) -> Result<(), SagaError> {
        self.state.apply(event);
        self.extend(event)
    }

    fn extend(&mut self, event: &SagaEvent) -> Result<(), SagaError> {
        let (step, output) = match event {
            SagaEvent::StepSucceeded { step, output } => (step, output),
            SagaEvent::Operated { operation: Operation::Skip { step, output }, .. } => {
                (step, output)
            }
            SagaEvent::Operated { operation: Operation::Edit { data: edited }, .. } => {
                let opened = Arc::clone(&self.definition).open(edited);
                self.data = opened.map_err(|source| data(&self.id, "what was edited", source))?;
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Some(at) = self.definition.graph().find(step) else { return Ok(()) };
        self.data.extend(at, output).map_err(|source| data(&self.id, step, source))
    }

    pub(crate) fn sight<'s>(&'s self, world: &'s World, node: &'s str) -> Sight<'s> {
        let Self { definition, state, data, .. } = self;
        Sight { definition: &**definition, state, data: &**data, world, node }
    }

    /// What follows from these events, and from what follows from them; it is applied.
    pub(crate) fn follow(
        &mut self,
        events: &mut Vec<SagaEvent>,
        world: &World,
        node: &str,
    ) -> Result<(), SagaError> {
        loop {
            let next = self.sight(world, node).next();
            if next.is_empty() {
                return Ok(());
            }
            for event in &next {
                self.apply(event)?;
            }
            events.extend(next);
        }
    }

    /// Appends what was applied. An append whose answer was lost is made again, and is there
    /// once.
    pub(crate) async fn append(
        &mut self,
        store: &dyn EventStore,
        world: &World,
        events: &[SagaEvent],
    ) -> Result<(), SagaError> {
        let expected = match self.version {
            Version::NONE => Expected::NoStream,
            version => Expected::Exact(version),
        };
        let mut new = NewEvent::encode_all(events, world, Codec::Json)?;
        for event in &mut new {
            event.metadata = self.metadata.clone();
        }
        let batch = Batch::to(self.id.stream().clone()).expect(expected).events(new);
        let batch = batch.append_id(world.append_id());
        failpoint!("saga.before_append");
        let mut tries = 1;
        let appended = loop {
            match store.append(batch.clone()).await {
                Err(AppendError::Store(error)) if error.is_transient() && tries < TRIES => {
                    tries += 1;
                    world.sleep(std::time::Duration::from_millis(50)).await;
                }
                Err(AppendError::Repeated { known }) if known.len() == 1 => {
                    break known
                        .into_iter()
                        .next()
                        .map(|(_, appended)| appended)
                        .unwrap_or_default();
                }
                appended => break appended?,
            }
        };
        self.version = appended.version();
        failpoint!("saga.after_append");
        Ok(())
    }
}

/// All events of a saga.
pub(crate) async fn read(
    store: &dyn EventStore,
    id: &SagaId,
) -> Result<(Vec<RecordedEvent>, Vec<SagaEvent>), SagaError> {
    let recorded = store.events(Read::stream(id.stream())).await?;
    let events = recorded.iter().map(decode).collect::<Result<_, _>>()?;
    Ok((recorded, events))
}

pub(crate) fn decode(event: &RecordedEvent) -> Result<SagaEvent, SagaError> {
    let unknown = || DecodeError::UnknownType { event_type: event.event_type.to_string() };
    let decoded = event.decode::<SagaEvent>().and_then(|event| event.ok_or_else(unknown));
    decoded.map_err(|source| {
        let (stream, version) = (event.stream.clone(), event.version);
        LoadError::Event { stream, version, position: event.position, source }.into()
    })
}

fn data(id: &SagaId, what: &str, source: serde_json::Error) -> SagaError {
    SagaError::Data { saga: id.clone(), what: what.to_owned(), source }
}
