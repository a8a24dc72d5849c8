//! What one part keeps beside its model: events that it could not take, until somebody
//! decides.

use std::collections::HashSet;

use es_core::{
    DecodeError, LoadError, Part, RecordedEvent, Row, Slices, StreamId, Tenant, Views, World,
};

use super::{
    parked::{self, FailureClass, Parked, ParkedState},
    settings::Poison,
};
use crate::ProjectionError;

/// Most sequences of one part that stand still; with more something is wrong with
/// the model, and it pauses.
pub(crate) const SEQUENCES: usize = 10_000;

/// Why an event could not be taken.
#[derive(Debug, Clone)]
pub(crate) struct Reason {
    pub(crate) class: FailureClass,
    pub(crate) error: String,
    pub(crate) tries: u32,
}

impl Reason {
    pub(crate) fn new(class: FailureClass, error: impl ToString) -> Self {
        Self { class, error: error.to_string(), tries: 1 }
    }

    /// Of what kind the error is, and what it says with all that caused it.
    pub(crate) fn of(error: &ProjectionError) -> Self {
        let class = match error {
            ProjectionError::Event(_) => FailureClass::Decode,
            ProjectionError::Store(_) => FailureClass::Store,
            ProjectionError::Broker(_) => FailureClass::Broker,
            _ => FailureClass::Handler,
        };
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        Self::new(class, text)
    }

    fn behind() -> Self {
        Self { tries: 0, ..Self::new(FailureClass::OutOfOrder, "an earlier event is parked") }
    }
}

/// All that one event cannot be told apart from: they wait together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sequence {
    pub(crate) tenant: Tenant,
    pub(crate) name: String,
}

impl Sequence {
    pub(crate) fn of_stream(stream: &StreamId) -> Self {
        Self { tenant: stream.tenant().clone(), name: format!("stream {stream}") }
    }

    /// Of an event that nothing else waits for.
    pub(crate) fn alone(event: &RecordedEvent) -> Self {
        Self { tenant: event.stream.tenant().clone(), name: format!("event {}", event.id) }
    }

    pub(crate) fn of_row(tenant: &Tenant, key: &str) -> Self {
        Self { tenant: tenant.clone(), name: format!("row {key}") }
    }
}

/// What one part has parked, and parks in the batch that it is at. It remembers the names
/// of the sequences that stand still, and none of their events.
#[derive(Debug)]
pub(crate) struct Parking {
    poison: Poison,
    part: Part,
    world: World,
    blocked: HashSet<Sequence>,
    new: Vec<Parked>,
}

impl Parking {
    pub(crate) async fn load<V: Views>(
        views: &V,
        part: &Part,
        poison: Poison,
        world: World,
    ) -> Result<Self, ProjectionError> {
        let blocked = parked::blocked(views, part).await?;
        Ok(Self { poison, part: part.clone(), world, blocked, new: Vec::new() })
    }

    /// Forgets what was not committed, and finds out what was.
    pub(crate) async fn reload<V: Views>(&mut self, views: &V) -> Result<(), ProjectionError> {
        self.blocked = parked::blocked(views, &self.part).await?;
        self.new.clear();
        Ok(())
    }

    /// Whether nothing is parked, so that nothing has to be asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocked.is_empty()
    }

    /// Whether the sequence stands still.
    pub(crate) fn blocks(&self, sequence: &Sequence) -> bool {
        self.blocked.contains(sequence)
    }

    /// Whether the stream of the event stands still; then it is parked too.
    pub(crate) fn holds_back(&mut self, event: &RecordedEvent) -> bool {
        self.holds_back_of(|| Sequence::of_stream(&event.stream), event)
    }

    /// Whether this sequence, which the event belongs to, stands still; then it is parked too.
    pub(crate) fn holds_back_of(
        &mut self,
        sequence: impl FnOnce() -> Sequence,
        event: &RecordedEvent,
    ) -> bool {
        if self.is_empty() {
            return false;
        }
        let sequence = sequence();
        let is_blocked = self.blocks(&sequence);
        if is_blocked {
            self.follow(&sequence, event);
        }
        is_blocked
    }

    /// Parks an event that comes after a parked one.
    pub(crate) fn follow(&mut self, sequence: &Sequence, event: &RecordedEvent) {
        let parked = self.parked(sequence, event, Reason::behind(), ParkedState::Waiting);
        self.new.push(parked);
    }

    /// Leaves to another sequence what was parked in one, as it was edited.
    pub(crate) fn pass_on(&mut self, sequence: &Sequence, event: &RecordedEvent, from: &Parked) {
        let parked = self.parked(sequence, event, Reason::behind(), ParkedState::Waiting);
        let (payload, notes) = (from.payload.clone(), from.notes.clone());
        self.new.push(Parked { payload, notes, ..parked });
    }

    /// What becomes of an event that could not be taken: it is parked or skipped,
    /// or comes back as an error that pauses the model.
    pub(crate) fn poisoned(
        &mut self,
        sequence: Sequence,
        event: &RecordedEvent,
        reason: Reason,
        error: ProjectionError,
    ) -> Result<(), ProjectionError> {
        let state = match self.poison {
            Poison::Pause => return Err(error),
            Poison::Park if self.is_full(&sequence) => return Err(error),
            Poison::Park => ParkedState::Waiting,
            Poison::Skip => ParkedState::Skipped,
        };
        let Part { model, .. } = &self.part;
        let (position, sequence_name) = (event.position, &sequence.name);
        tracing::warn!(%model, %position, sequence = %sequence_name, %error, ?state, "an event is parked");
        let parked = self.parked(&sequence, event, reason, state);
        self.new.push(parked);
        if state == ParkedState::Waiting {
            self.blocked.insert(sequence);
        }
        Ok(())
    }

    fn is_full(&self, sequence: &Sequence) -> bool {
        self.blocked.len() >= SEQUENCES && !self.blocks(sequence)
    }

    /// Forgets what comes after parked events, as the transaction has failed.
    pub(crate) fn forget(&mut self) {
        self.new.clear();
    }

    /// What the batch has parked, as rows.
    pub(crate) fn rows(&mut self) -> Result<Vec<Row>, ProjectionError> {
        self.new.drain(..).map(|parked| parked.row()).collect()
    }

    fn parked(
        &self,
        sequence: &Sequence,
        event: &RecordedEvent,
        reason: Reason,
        state: ParkedState,
    ) -> Parked {
        let Slices { first, last } = self.part.slices;
        Parked {
            sequence: sequence.name.clone(),
            tenant: sequence.tenant.to_string(),
            stream: event.stream.to_string(),
            version: event.version.get(),
            position: event.position,
            event_type: event.event_type.to_string(),
            class: reason.class,
            error: reason.error,
            tries: reason.tries,
            at: self.world.now(),
            state,
            notes: Vec::new(),
            payload: None,
            slices: (first, last),
        }
    }
}

/// Whether no program will ever read it as it is. What was written by a newer
/// program, or in a codec that this one lacks, is another matter.
pub(crate) fn is_damaged(error: &LoadError) -> bool {
    let LoadError::Event { source, .. } = error else { return false };
    !matches!(source, DecodeError::Newer { .. } | DecodeError::ContentType(_))
}

/// What a panic has said.
pub(crate) fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked: {}", text.as_deref().unwrap_or("it did not say why"))
}
