use std::collections::BTreeMap;

use es_core::{
    AppendError, AppendId, Appended, Batch, Direction, EventId, Expected, Position, Read,
    RecordedEvent, StreamId, Version, Write, Written,
};

use crate::TestClock;

/// The log as it should be: a dense list of events, and the streams beside it.
///
/// ```
/// use es_core::{Batch, Version};
/// use es_testkit::{fake, model::{Answer, Reference}};
///
/// let mut log = Reference::default();
/// let answer = log.append(&Batch::to(fake::stream("a-1")).events(fake::events(2)));
/// assert_eq!(answer, Answer::Appended { versions: vec![Version::new(2)], repeated: false });
/// ```
#[derive(Debug, Default)]
pub struct Reference {
    log: Vec<RecordedEvent>,
    streams: BTreeMap<StreamId, Version>,
    appends: BTreeMap<AppendId, Vec<Version>>,
}

/// What a store says to an append, as far as it does not depend on positions.
///
/// ```
/// use es_testkit::model::Answer;
///
/// assert_eq!(Answer::of(&Ok(Default::default())), Answer::Appended { versions: vec![], repeated: false });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Each stream is at this version now, or was when it was first appended.
    Appended {
        /// One for each write.
        versions: Vec<Version>,
        /// Whether nothing was written.
        repeated: bool,
    },
    /// A stream was in the way.
    Conflict {
        /// Which.
        stream: StreamId,
        /// Where it is.
        actual: Version,
        /// What the writer has not seen.
        unseen: Vec<EventId>,
    },
    /// Only these ids are known.
    PartlyKnown(Vec<AppendId>),
    /// Something that no model says.
    Other(String),
}

impl Answer {
    /// What a store said.
    pub fn of(result: &Result<Appended, AppendError>) -> Self {
        match result {
            Ok(appended) => Self::Appended {
                versions: appended.writes.iter().map(|write| write.version).collect(),
                repeated: appended.repeated,
            },
            Err(AppendError::Conflict(conflict)) => Self::Conflict {
                stream: conflict.stream.clone(),
                actual: conflict.actual,
                unseen: conflict.unseen.iter().map(|event| event.id).collect(),
            },
            Err(AppendError::Repeated { known }) => {
                Self::PartlyKnown(known.iter().map(|(id, _)| *id).collect())
            }
            Err(other) => Self::Other(format!("{other:?}")),
        }
    }
}

impl Reference {
    /// Appends, and says what a store should say.
    pub fn append(&mut self, batch: &Batch) -> Answer {
        if let Some(answer) = self.repeated(batch) {
            return answer;
        }
        if let Some(answer) = self.conflict(batch) {
            return answer;
        }
        let written: Vec<_> = batch.writes.iter().map(|write| self.write(write).version).collect();
        for (write, version) in batch.writes.iter().zip(&written) {
            if let Some(id) = write.append_id {
                self.appends.entry(id).or_default().push(*version);
            }
        }
        Answer::Appended { versions: written, repeated: false }
    }

    fn repeated(&self, batch: &Batch) -> Option<Answer> {
        let mut ids: Vec<_> = batch.writes.iter().filter_map(|write| write.append_id).collect();
        ids.dedup();
        let known: Vec<_> =
            ids.iter().copied().filter(|id| self.appends.contains_key(id)).collect();
        if known.is_empty() {
            return None;
        }
        let nameless = |write: &Write| write.append_id.is_none() && !write.events.is_empty();
        if known.len() < ids.len() || batch.writes.iter().any(nameless) {
            return Some(Answer::PartlyKnown(known));
        }
        let versions = known.iter().flat_map(|id| self.appends[id].clone()).collect();
        Some(Answer::Appended { versions, repeated: true })
    }

    fn conflict(&self, batch: &Batch) -> Option<Answer> {
        let mut added: BTreeMap<&StreamId, usize> = BTreeMap::new();
        for write in &batch.writes {
            let added = added.entry(&write.stream).or_default();
            let actual = self.streams.get(&write.stream).copied().unwrap_or_default();
            if !write.expected.allows(actual.plus(*added)) {
                return Some(self.conflict_of(write, actual));
            }
            *added += write.events.len();
        }
        None
    }

    fn conflict_of(&self, write: &Write, actual: Version) -> Answer {
        let seen = match write.expected {
            Expected::Exact(version) => version,
            _ => Version::NONE,
        };
        let ours = self.log.iter().filter(|event| event.stream == write.stream);
        let unseen = ours.filter(|event| event.version > seen).map(|event| event.id).collect();
        Answer::Conflict { stream: write.stream.clone(), actual, unseen }
    }

    fn write(&mut self, write: &Write) -> Written {
        let version = self.streams.entry(write.stream.clone()).or_default();
        for event in &write.events {
            *version = version.plus(1);
            let position = Position::new(self.log.len() as u64 + 1);
            let (stream, id) = (write.stream.clone(), write.append_id);
            let event =
                RecordedEvent::new(event.clone(), stream, *version, position, id, TestClock::START);
            self.log.push(event);
        }
        Written { version: *version, position: Position::new(self.log.len() as u64) }
    }

    /// Reads, and says what a store should find. Only the order of positions
    /// counts, so windows of positions are not for it.
    pub fn read(&self, read: &Read) -> Vec<RecordedEvent> {
        let mut found: Vec<_> = self.log.iter().filter(|one| read.accepts(one)).cloned().collect();
        if read.direction == Direction::Backwards {
            found.reverse();
        }
        let limit =
            read.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        found.truncate(limit);
        found
    }
}
