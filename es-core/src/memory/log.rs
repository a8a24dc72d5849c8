use std::collections::HashMap;

use chrono::{DateTime, Utc};
use foldhash::fast::RandomState;

use crate::{
    AppendError, AppendId, Appended, Batch, Claim, ClaimChange, Conflict, Direction, Expected,
    ImportError, Name, Page, Position, Read, RecordedEvent, Scope, StreamId, TOMBSTONED, Tenant,
    Version, Write, Written, limits,
};

/// The events of all streams in one vector, in the order of their positions.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) events: Vec<Place>,
    pub(super) streams: HashMap<StreamId, Places, RandomState>,
    appends: HashMap<(Tenant, AppendId), First, RandomState>,
    pub(super) claims: HashMap<(Tenant, Name, Name), StreamId>,
}

/// A position; its event is gone once it is removed.
#[derive(Debug)]
pub(super) struct Place {
    position: Position,
    pub(super) event: Option<RecordedEvent>,
}

/// Where the events of a stream stand.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// How many events before the first were removed.
    pub(super) removed: usize,
    pub(super) indices: Vec<usize>,
    pub(super) is_tombstoned: bool,
}

impl Places {
    pub(super) fn version(&self) -> Version {
        Version::NONE.plus(self.removed + self.indices.len())
    }
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

    fn last(&mut self) -> &mut Written {
        match self {
            Self::One(written) => written,
            Self::Several(writes) => writes.last_mut().expect("several writes"),
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
        self.events.last().map_or(Position::START, |place| place.position)
    }

    /// Whether nothing was ever appended.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.appends.is_empty() && self.claims.is_empty()
    }

    /// Takes an event that was recorded elsewhere, as it is.
    pub(super) fn import(&mut self, event: RecordedEvent) -> Result<(), ImportError> {
        let before = self.version(&event.stream);
        if before != Version::NONE && event.version != before.plus(1) {
            return Err(ImportError::hole(event.position));
        }
        if let Some(id) = event.append_id {
            self.import_append(id, &event);
        }
        let places = self.streams.entry(event.stream.clone()).or_default();
        if before == Version::NONE {
            places.removed = usize::try_from(event.version.get() - 1).unwrap_or(usize::MAX);
        }
        places.indices.push(self.events.len());
        places.is_tombstoned |= event.event_type == TOMBSTONED;
        self.events.push(Place { position: event.position, event: Some(event) });
        Ok(())
    }

    /// What follows in one stream is taken for one write.
    fn import_append(&mut self, id: AppendId, event: &RecordedEvent) {
        let written = Written { version: event.version, position: event.position };
        let Some(first) = self.appends.get_mut(&(event.stream.tenant().clone(), id)) else {
            self.appends.insert((event.stream.tenant().clone(), id), First::One(written));
            return;
        };
        let last = first.last();
        let at = self.events.partition_point(|place| place.position < last.position);
        let before = self.events.get(at).and_then(|place| place.event.as_ref());
        match before.is_some_and(|before| before.stream == event.stream) {
            true => *last = written,
            false => first.add(written),
        }
    }

    /// Decides everything first and writes afterwards, so that a refused batch
    /// leaves no trace. The last to decide is `check`.
    pub(super) fn append(
        &mut self,
        batch: Batch,
        now: DateTime<Utc>,
        check: impl FnOnce(&Self, &Batch) -> Result<(), AppendError>,
    ) -> Result<Appended, AppendError> {
        if let Some(first) = self.repeated(&batch)? {
            return Ok(first);
        }
        self.check_streams(&batch.writes)?;
        self.check_unless(&batch)?;
        let claims = batch.claims_in_order();
        for (at, claim) in claims.iter().enumerate() {
            self.check_claim(claim, &claims[..at])?;
        }
        check(self, &batch)?;
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

    pub(super) fn version(&self, stream: &StreamId) -> Version {
        self.streams.get(stream).map_or(Version::NONE, Places::version)
    }

    fn check_streams(&self, writes: &[Write]) -> Result<(), AppendError> {
        for (at, write) in writes.iter().enumerate() {
            let places = self.streams.get(&write.stream);
            if places.is_some_and(|places| places.is_tombstoned) {
                return Err(AppendError::Gone { stream: write.stream.clone() });
            }
            if write.expected == Expected::Any {
                continue;
            }
            let same = writes[..at].iter().filter(|earlier| earlier.stream == write.stream);
            let actual = places.map_or(Version::NONE, Places::version);
            if !write.expected.allows(actual.plus(same.map(|write| write.events.len()).sum())) {
                return Err(self.conflict(&write.stream, write.expected));
            }
        }
        Ok(())
    }

    pub(super) fn conflict(&self, stream: &StreamId, expected: Expected) -> AppendError {
        let seen = match expected {
            Expected::Exact(version) => version,
            _ => Version::NONE,
        };
        let unseen = self.after_version(stream, seen).unwrap_or_default();
        let actual = self.version(stream);
        AppendError::Conflict(Box::new(Conflict { stream: stream.clone(), actual, unseen }))
    }

    fn after_version(&self, stream: &StreamId, seen: Version) -> Option<Vec<RecordedEvent>> {
        let seen = usize::try_from(seen.get()).ok()?;
        let places = self.streams.get(stream)?;
        let unseen = places.indices.get(seen.saturating_sub(places.removed)..)?;
        let few = unseen.len() <= limits::CONFLICT_EVENTS;
        few.then(|| unseen.iter().filter_map(|at| self.events[*at].event.clone()).collect())
    }

    fn check_unless(&self, batch: &Batch) -> Result<(), AppendError> {
        let Some(tenant) = batch.tenant() else { return Ok(()) };
        for unless in &batch.unless {
            let later = self.between(unless.after, self.head()).iter().rev();
            let later = later.filter_map(|place| place.event.as_ref());
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

    pub(super) fn write_stream(&mut self, write: Write, now: DateTime<Utc>) -> Written {
        let Write { append_id, stream, events, .. } = write;
        if events.is_empty() {
            return Written { version: self.version(&stream), position: Position::START };
        }
        let places = self.streams.entry(stream.clone()).or_default();
        for event in events {
            let last = self.events.last().map_or(Position::START, |place| place.position);
            let position = Position::new(last.get() + 1);
            places.indices.push(self.events.len());
            let (stream, version) = (stream.clone(), places.version());
            let event = RecordedEvent::new(event, stream, version, position, append_id, now);
            self.events.push(Place { position, event: Some(event) });
        }
        Written { version: places.version(), position: self.head() }
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
                let places = self.streams.get(stream).map(|places| places.indices.as_slice());
                let places = places.unwrap_or_default().iter();
                let events = places.filter_map(|at| self.events[*at].event.as_ref());
                take(events, direction, ours, wanted)
            }
            (_, direction) => {
                let events = self.between(after, up_to).iter();
                take(events.filter_map(|place| place.event.as_ref()), direction, ours, wanted)
            }
        };
        let full = found.len() == wanted;
        let through = found.last().filter(|_| full).map_or(up_to, |event| event.position);
        Page { events: found, through }
    }

    fn between(&self, after: Position, up_to: Position) -> &[Place] {
        let index = |position| self.events.partition_point(|place| place.position <= position);
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
