use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::{
    runs::{Runs, Start},
    upcasters::{BoxError, Key, Rule, Run},
};
use crate::{Codec, ContentType, DROPPED, Name, RecordedEvent, StoreError, StoreErrorKind, Upcast};

/// The rules of one type by schema version; `None` stands for every version.
pub(super) type OfType = BTreeMap<Option<u32>, Rule>;

/// Rules that were checked: they end, and none contradicts another.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) by_type: HashMap<Name, OfType>,
    pub(super) runs: Vec<Run>,
    /// For a type that rules lead to, all types that they lead from.
    pub(super) sources: HashMap<Name, Vec<Name>>,
}

impl Rules {
    /// Whether there is a rule for this event.
    pub(super) fn touch(&self, event: &RecordedEvent) -> bool {
        self.find(&event.event_type, event.schema_version).is_some()
    }

    /// Puts what becomes of `event` at the end of `into`, oldest first.
    pub(super) fn apply(
        &self,
        event: RecordedEvent,
        runs: &Runs,
        into: &mut Vec<RecordedEvent>,
    ) -> Result<(), StoreError> {
        let Some(upcasts) = self.upcasts(&event, runs)? else {
            into.push(event);
            return Ok(());
        };
        if upcasts.is_empty() {
            into.push(dropped(event));
            return Ok(());
        }
        for upcast in upcasts {
            into.push(written(upcast, &event)?);
        }
        Ok(())
    }

    /// What becomes of `event`; `None` if it passes unchanged.
    fn upcasts(
        &self,
        event: &RecordedEvent,
        runs: &Runs,
    ) -> Result<Option<Vec<Upcast>>, StoreError> {
        let rule = self.find(&event.event_type, event.schema_version);
        let Some(rule) = rule else { return Ok(None) };
        match (rule, runs.of(self, event)) {
            (Rule::Drop, _) => Ok(Some(Vec::new())),
            (Rule::Member { .. }, None) => Ok(None),
            (_, None) => self.follow(event).map(Some),
            (_, Some((_, [.., last]))) if last.version != event.version => Ok(Some(Vec::new())),
            (_, Some((run, members))) => self.join(&self.runs[run], members, event).map(Some),
        }
    }

    /// The rule for this type at this version.
    pub(super) fn find(&self, event_type: &str, version: u32) -> Option<&Rule> {
        let of_type = self.by_type.get(event_type)?;
        of_type.get(&Some(version)).or_else(|| of_type.get(&None))
    }

    /// The run, and the place in it, that this type has once it is lifted.
    pub(super) fn member(&self, event_type: &str, mut version: u32) -> Option<(usize, usize)> {
        loop {
            match self.find(event_type, version)? {
                Rule::Lift(_) => version = version.saturating_add(1),
                Rule::Member { run, index } => return Some((*run, *index)),
                Rule::Split { .. } | Rule::Drop => return None,
            }
        }
    }

    fn follow(&self, event: &RecordedEvent) -> Result<Vec<Upcast>, StoreError> {
        let mut upcasts = Vec::new();
        let first = decode(event).and_then(|first| self.step(first, &mut upcasts));
        first.map_err(|cause| failure(event, cause))?;
        Ok(upcasts)
    }

    fn join(
        &self,
        run: &Run,
        members: &[RecordedEvent],
        last: &RecordedEvent,
    ) -> Result<Vec<Upcast>, StoreError> {
        let mut values = Vec::with_capacity(members.len());
        for member in members {
            values.extend(self.follow(member)?.into_iter().map(|lifted| lifted.data));
        }
        let mut upcasts = Vec::new();
        let joined = (run.join)(values).and_then(|joined| {
            declared(std::slice::from_ref(&run.output), &joined)?;
            self.step(joined, &mut upcasts)
        });
        joined.map_err(|cause| failure(last, cause))?;
        Ok(upcasts)
    }

    /// Applies rules until none is left; that they end was checked before.
    fn step(&self, mut upcast: Upcast, into: &mut Vec<Upcast>) -> Result<(), BoxError> {
        match self.find(&upcast.event_type, upcast.schema_version) {
            None | Some(Rule::Member { .. }) => into.push(upcast),
            Some(Rule::Drop) => {}
            Some(Rule::Lift(lift)) => {
                upcast.data = lift(upcast.data)?;
                upcast.schema_version = upcast.schema_version.saturating_add(1);
                self.step(upcast, into)?;
            }
            Some(Rule::Split { outputs, split }) => {
                for part in split(upcast.data)? {
                    declared(outputs, &part)?;
                    self.step(part, into)?;
                }
            }
        }
        Ok(())
    }

    /// The types and versions that the rule for `key` leads to.
    pub(super) fn outputs(&self, key: &Key) -> Vec<Key> {
        match self.find(&key.0, key.1) {
            None | Some(Rule::Drop) => Vec::new(),
            Some(Rule::Lift(_)) => vec![(key.0.clone(), key.1.saturating_add(1))],
            Some(Rule::Split { outputs, .. }) => outputs.clone(),
            Some(Rule::Member { run, .. }) => vec![self.runs[*run].output.clone()],
        }
    }

    /// Where the run begins that `event` may be part of.
    pub(super) fn start(&self, event: &RecordedEvent) -> Option<Start> {
        let (run, index) = self.member(&event.event_type, event.schema_version)?;
        Start::new(run, index, event)
    }
}

/// A rule that makes what it did not declare would be missed by reads that ask
/// for that type.
fn declared(outputs: &[Key], made: &Upcast) -> Result<(), BoxError> {
    if outputs
        .iter()
        .any(|(name, version)| *name == made.event_type && *version == made.schema_version)
    {
        return Ok(());
    }
    let Upcast { event_type, schema_version, .. } = made;
    Err(format!("the rule made {event_type} version {schema_version} without declaring it").into())
}

fn decode(event: &RecordedEvent) -> Result<Upcast, BoxError> {
    let data = Codec::of(&event.content_type)?.decode_value(&event.payload)?;
    Ok(Upcast::new(event.event_type.clone(), event.schema_version, data))
}

fn written(upcast: Upcast, event: &RecordedEvent) -> Result<RecordedEvent, StoreError> {
    let payload = Codec::Json.encode_value(&upcast.data);
    Ok(RecordedEvent {
        event_type: upcast.event_type,
        schema_version: upcast.schema_version,
        content_type: ContentType::JSON,
        payload: payload.map_err(|cause| failure(event, cause.into()))?,
        ..event.clone()
    })
}

fn dropped(event: RecordedEvent) -> RecordedEvent {
    RecordedEvent {
        event_type: DROPPED,
        schema_version: 1,
        content_type: ContentType::BYTES,
        payload: Bytes::new(),
        ..event
    }
}

/// `Invalid`, not `Corrupt`: the log holds what was written, and a restored
/// copy would fail in the same way. What helps is another rule.
fn failure(event: &RecordedEvent, cause: BoxError) -> StoreError {
    let RecordedEvent { event_type, schema_version, version, stream, position, .. } = event;
    let message = format!(
        "{event_type} with schema version {schema_version} cannot be upcast, fix its rule: \
         event {version} of {stream}, at position {position}"
    );
    StoreError::new(StoreErrorKind::Invalid, message).because(cause)
}
