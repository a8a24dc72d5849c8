use std::collections::{HashMap, hash_map::Entry};

use super::rules::Rules;
use crate::{EventStore, EventStoreExt, Read, RecordedEvent, StoreError, StreamId, Version};

/// The places of a page where a run may begin, each with the events of the run
/// if it is complete.
///
/// A type and version belong to one run and one place in it, so an event says
/// by itself where its run begins, and runs never overlap.
#[derive(Debug, Default)]
pub(super) struct Runs(HashMap<Start, Option<Vec<RecordedEvent>>>);

/// Where a run begins, if it is one.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Start {
    run: usize,
    stream: StreamId,
    before: Version,
}

type Places<'a> = HashMap<(&'a StreamId, Version), &'a RecordedEvent>;

impl Runs {
    /// Finds the runs that have a part in `events`; what the events do not
    /// decide is read from the store.
    pub(super) async fn find<S: EventStore>(
        rules: &Rules,
        store: &S,
        events: &[RecordedEvent],
    ) -> Result<Self, StoreError> {
        let mut runs = HashMap::new();
        if rules.runs.is_empty() {
            return Ok(Self(runs));
        }
        let places = events.iter().map(|event| ((&event.stream, event.version), event)).collect();
        for start in events.iter().filter_map(|event| rules.start(event)) {
            if let Entry::Vacant(vacant) = runs.entry(start) {
                let members = vacant.key().members(rules, store, &places).await?;
                vacant.insert(members);
            }
        }
        Ok(Self(runs))
    }

    /// The complete run that `event` is part of, and its members.
    pub(super) fn of(
        &self,
        rules: &Rules,
        event: &RecordedEvent,
    ) -> Option<(usize, &[RecordedEvent])> {
        if self.0.is_empty() {
            return None;
        }
        let start = rules.start(event)?;
        self.0.get(&start)?.as_deref().map(|members| (start.run, members))
    }
}

impl Start {
    /// `None` if the stream has too few events before this one.
    pub(super) fn new(run: usize, index: usize, event: &RecordedEvent) -> Option<Self> {
        let before = event.version.get().checked_sub(index as u64 + 1)?;
        Some(Self { run, stream: event.stream.clone(), before: Version::new(before) })
    }

    /// The events of the run; `None` if it is not complete.
    async fn members<S: EventStore>(
        &self,
        rules: &Rules,
        store: &S,
        places: &Places<'_>,
    ) -> Result<Option<Vec<RecordedEvent>>, StoreError> {
        let length = rules.runs[self.run].members.len();
        let place = |index: usize| places.get(&(&self.stream, self.before.plus(index)));
        let mut members: Vec<_> = (1..=length).filter_map(place).copied().cloned().collect();
        if members.iter().all(|event| self.has(rules, event)) && members.len() < length {
            let window = Read::stream(&self.stream).after_version(self.before).limit(length as u64);
            members = store.events(window).await?;
        }
        let complete =
            members.len() == length && members.iter().all(|event| self.has(rules, event));
        Ok(complete.then_some(members))
    }

    fn has(&self, rules: &Rules, event: &RecordedEvent) -> bool {
        rules.start(event).as_ref() == Some(self)
    }
}
