use std::collections::HashMap;

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;

use crate::{
    AppendError, AppendId, Appended, Batch, Claim, ClaimChange, Conflict, Direction, Expected,
    Name, Page, Position, Read, RecordedEvent, Scope, StreamId, Tenant, Version, Write, Written,
    limits,
};

/// The events of all streams in one vector; position *p* stands at index *p* - 1.
#[derive(Debug, Default)]
pub(super) struct Log {
    events: Vec<RecordedEvent>,
    streams: HashMap<StreamId, Vec<usize>, RandomState>,
    appends: HashMap<(Tenant, AppendId), First, RandomState>,
    claims: HashMap<(Tenant, Name, Name), StreamId>,
}

/// What an append came to: most have one write.
#[derive(Debug)]
enum First {
    One(Written),
    Several(Vec<Written>),
}

impl First {
    fn add(&mut self, written: Written) {
        match self {
            Self::One(first) => *self = Self::Several(vec![*first, written]),
            Self::Several(writes) => writes.push(written),
        }
    }

    fn repeated(&self) -> Appended {
        let writes = match self {
            Self::One(written) => vec![*written],
            Self::Several(writes) => writes.clone(),
        };
        let position = writes.iter().map(|write| write.position).max().unwrap_or_default();
        Appended { writes, position, repeated: true }
    }
}

impl Log {
    pub(super) fn head(&self) -> Position {
        self.events.last().map_or(Position::START, |event| event.position)
    }

    /// Decides everything first and writes afterwards, so that a refused batch
    /// leaves no trace.
    pub(super) fn append(
        &mut self,
        batch: Batch,
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        if let Some(first) = self.repeated(&batch)? {
            return Ok(first);
        }
        self.check_expected(&batch.writes)?;
        self.check_unless(&batch)?;
        let claims = batch.claims_in_order();
        for (at, claim) in claims.iter().enumerate() {
            self.check_claim(claim, &claims[..at])?;
        }
        for claim in &claims {
            self.change_claim(claim);
        }
        Ok(self.write(batch.writes, now))
    }

    fn repeated(&self, batch: &Batch) -> Result<Option<Appended>, AppendError> {
        let ids = || batch.writes.iter().filter_map(|write| write.append_id);
        let tenant = batch.tenant().cloned().unwrap_or_default();
        let first = |id| self.appends.get(&(tenant.clone(), id));
        if ids().all(|id| first(id).is_none()) {
            return Ok(None);
        }
        let mut ids: Vec<_> = ids().collect();
        ids.dedup();
        let known = |id| Some((id, first(id)?.repeated()));
        let mut known: Vec<_> = ids.iter().filter_map(|id| known(*id)).collect();
        let whole = known.len() == ids.len() && batch.is_wholly_identified();
        match known.len() {
            0 => Ok(None),
            1 if whole => Ok(known.pop().map(|(_, first)| first)),
            _ if whole => Ok(Some(join(known))),
            _ => Err(AppendError::Repeated { known }),
        }
    }

    fn version(&self, stream: &StreamId) -> Version {
        Version::NONE.plus(self.streams.get(stream).map_or(0, Vec::len))
    }

    fn check_expected(&self, writes: &[Write]) -> Result<(), AppendError> {
        for (at, write) in writes.iter().enumerate() {
            if write.expected == Expected::Any {
                continue;
            }
            let same = writes[..at].iter().filter(|earlier| earlier.stream == write.stream);
            let actual = self.version(&write.stream);
            if !write.expected.allows(actual.plus(same.map(|write| write.events.len()).sum())) {
                return Err(self.conflict(write, actual));
            }
        }
        Ok(())
    }

    fn conflict(&self, write: &Write, actual: Version) -> AppendError {
        let seen = match write.expected {
            Expected::Exact(version) => version,
            _ => Version::NONE,
        };
        let unseen = self.after_version(&write.stream, seen).unwrap_or_default();
        AppendError::Conflict(Box::new(Conflict { stream: write.stream.clone(), actual, unseen }))
    }

    fn after_version(&self, stream: &StreamId, seen: Version) -> Option<Vec<RecordedEvent>> {
        let seen = usize::try_from(seen.get()).ok()?;
        let unseen = self.streams.get(stream)?.get(seen..)?;
        let few = unseen.len() <= limits::CONFLICT_EVENTS;
        few.then(|| unseen.iter().map(|at| self.events[*at].clone()).collect())
    }

    fn check_unless(&self, batch: &Batch) -> Result<(), AppendError> {
        let Some(tenant) = batch.tenant() else { return Ok(()) };
        for unless in &batch.unless {
            let later = self.events.iter().rev().take_while(|e| e.position > unless.after);
            let ours = later.filter(|event| event.stream.tenant() == tenant);
            if let Some(event) = ours.filter(|event| unless.criteria.matches(event)).last() {
                return Err(AppendError::Overtaken { position: event.position });
            }
        }
        Ok(())
    }

    fn check_claim(&self, claim: &Claim, earlier: &[Claim]) -> Result<(), AppendError> {
        let holder = claim.holder_after(earlier, self.claims.get(&key(claim)).cloned());
        match holder {
            Some(holder) if claim.is_refused_by(&holder) => Err(AppendError::Claimed {
                scope: claim.scope().clone(),
                key: claim.key().clone(),
                holder,
            }),
            _ => Ok(()),
        }
    }

    fn change_claim(&mut self, claim: &Claim) {
        match claim.change() {
            ClaimChange::Take => {
                self.claims.insert(key(claim), claim.holder().clone());
            }
            ClaimChange::Release if self.claims.get(&key(claim)) == Some(claim.holder()) => {
                self.claims.remove(&key(claim));
            }
            ClaimChange::Release => {}
        }
    }

    fn write(&mut self, writes: Vec<Write>, now: DateTime<Utc>) -> Appended {
        let mut appended =
            Appended { writes: Vec::with_capacity(writes.len()), ..Appended::default() };
        for write in writes {
            let key = write.append_id.map(|id| (write.stream.tenant().clone(), id));
            let written = self.write_stream(write, now);
            appended.position = appended.position.max(written.position);
            appended.writes.push(written);
            if let Some(key) = key {
                let first = self.appends.entry(key).and_modify(|first| first.add(written));
                first.or_insert(First::One(written));
            }
        }
        appended
    }

    fn write_stream(&mut self, write: Write, now: DateTime<Utc>) -> Written {
        let Write { append_id, stream, events, .. } = write;
        if events.is_empty() {
            return Written { version: self.version(&stream), position: Position::START };
        }
        let places = self.streams.entry(stream.clone()).or_default();
        for event in events {
            places.push(self.events.len());
            let position = Position::new(self.events.len() as u64 + 1);
            let version = Version::NONE.plus(places.len());
            let stream = stream.clone();
            self.events.push(RecordedEvent::new(event, stream, version, position, append_id, now));
        }
        Written { version: Version::NONE.plus(places.len()), position: self.head() }
    }

    /// Up to `wanted` events after `after` and up to `up_to`.
    pub(super) fn page(
        &self,
        read: &Read,
        after: Position,
        up_to: Position,
        wanted: usize,
    ) -> Page {
        let ours = |event: &&RecordedEvent| {
            event.position > after && event.position <= up_to && read.accepts(event)
        };
        let found = match (&read.scope, read.direction) {
            (Scope::Stream(stream), direction) => {
                let places = self.streams.get(stream).map(Vec::as_slice).unwrap_or_default();
                let events = places.iter().map(|at| &self.events[*at]);
                take(events, direction, ours, wanted)
            }
            (_, direction) => take(self.between(after, up_to).iter(), direction, ours, wanted),
        };
        let full = found.len() == wanted;
        let through = found.last().filter(|_| full).map_or(up_to, |event| event.position);
        Page { events: found, through }
    }

    fn between(&self, after: Position, up_to: Position) -> &[RecordedEvent] {
        let index = |position: Position| {
            usize::try_from(position.get()).unwrap_or(usize::MAX).min(self.events.len())
        };
        let (from, to) = (index(after), index(up_to));
        &self.events[from.min(to)..to]
    }
}

fn take<'a>(
    events: impl DoubleEndedIterator<Item = &'a RecordedEvent>,
    direction: Direction,
    ours: impl Fn(&&'a RecordedEvent) -> bool,
    wanted: usize,
) -> Vec<RecordedEvent> {
    match direction {
        Direction::Forwards => events.filter(ours).take(wanted).cloned().collect(),
        Direction::Backwards => events.rev().filter(ours).take(wanted).cloned().collect(),
    }
}

fn key(claim: &Claim) -> (Tenant, Name, Name) {
    (claim.holder().tenant().clone(), claim.scope().clone(), claim.key().clone())
}

/// The first results of several appends that were one batch.
fn join(known: Vec<(AppendId, Appended)>) -> Appended {
    let mut joined = Appended { repeated: true, ..Appended::default() };
    for (_, first) in known {
        joined.position = joined.position.max(first.position);
        joined.writes.extend(first.writes);
    }
    joined
}
