use std::collections::HashMap;

use chrono::{DateTime, Utc};

use crate::{
    AppendId, Claim, ClaimChange, Criteria, InvalidBatch, NewEvent, Position, RecordedEvent,
    StoreError, StreamId, Tenant, Version, envelope::Envelope, limits, retention::RESERVED,
};

/// One request to append: events for one or many streams, all of them or none.
///
/// ```
/// use es_core::{Batch, ContentType, Expected, Name, NewEvent, StreamId, World};
///
/// let world = World::real();
/// let opened = NewEvent::raw(world.event_id(), Name::new("account.opened")?, ContentType::JSON, "{}");
/// let batch = Batch::to(StreamId::new("account", "ada")?)
///     .expect(Expected::NoStream)
///     .event(opened);
/// assert!(batch.check().is_ok());
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// The writes, carried out in this order.
    pub writes: Vec<Write>,
    /// Conditions over the whole log that must not have come true.
    pub unless: Vec<Unless>,
    /// Unique claims to take or to release.
    pub claims: Vec<Claim>,
}

/// Events for one stream, and what the stream must look like before them.
///
/// A write without events only checks its expected version: "append here if
/// that stream has not moved".
///
/// ```
/// use es_core::{Expected, StreamId, Version, Write};
///
/// let guard = Write::new(StreamId::new("rate", "eur")?).expect(Expected::Exact(Version::new(3)));
/// assert!(guard.events.is_empty());
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Write {
    /// The idempotency key. Writes of one batch that share it are one append:
    /// it is in the log wholly or not at all. Without one nothing protects a
    /// retry.
    pub append_id: Option<AppendId>,
    /// The stream.
    pub stream: StreamId,
    /// What the stream must look like.
    pub expected: Expected,
    /// What to append.
    pub events: Vec<NewEvent>,
}

/// What a stream must look like for a write to go ahead.
///
/// ```
/// use es_core::{Expected, Version};
///
/// assert!(Expected::Exact(Version::new(2)).allows(Version::new(2)));
/// assert!(!Expected::NoStream.allows(Version::new(2)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expected {
    /// Anything.
    #[default]
    Any,
    /// It has no events.
    NoStream,
    /// It has at least one event.
    Exists,
    /// It has exactly this many events.
    Exact(Version),
}

impl Expected {
    /// Whether a stream at `version` meets it.
    pub fn allows(self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => version == Version::NONE,
            Self::Exists => version > Version::NONE,
            Self::Exact(expected) => version == expected,
        }
    }
}

/// A condition over the whole log: no event after `after` may match.
///
/// It makes a decision over a query safe: read what matches, decide, and
/// append unless something new matches.
///
/// ```
/// use es_core::{Criteria, Name, Position, Tag, Unless};
///
/// let seats = Criteria::tag(Tag::new("course", "rust-101")?).of_types([Name::new("seat.taken")?]);
/// let unless = Unless { criteria: seats, after: Position::new(41) };
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Unless {
    /// What must not have happened.
    pub criteria: Criteria,
    /// The last position that the decision has seen.
    pub after: Position,
}

impl Write {
    /// A write to `stream` that expects anything and appends nothing.
    pub fn new(stream: StreamId) -> Self {
        Self { append_id: None, stream, expected: Expected::Any, events: Vec::new() }
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn append_id(mut self, id: AppendId) -> Self {
        self.append_id = Some(id);
        self
    }

    /// Sets what the stream must look like.
    #[must_use]
    pub fn expect(mut self, expected: Expected) -> Self {
        self.expected = expected;
        self
    }

    /// Adds events.
    #[must_use]
    pub fn events(mut self, events: impl IntoIterator<Item = NewEvent>) -> Self {
        self.add(events);
        self
    }

    fn add(&mut self, events: impl IntoIterator<Item = NewEvent>) {
        if self.events.is_empty() {
            // A vector is taken as it is.
            self.events = events.into_iter().collect();
        } else {
            self.events.extend(events);
        }
    }
}

impl Batch {
    /// A batch with these writes.
    pub fn new(writes: impl IntoIterator<Item = Write>) -> Self {
        Self { writes: writes.into_iter().collect(), unless: Vec::new(), claims: Vec::new() }
    }

    /// A batch with one write, to `stream`; the following calls shape it.
    pub fn to(stream: StreamId) -> Self {
        Self::new([Write::new(stream)])
    }

    /// Sets what the stream of the last write must look like.
    #[must_use]
    pub fn expect(mut self, expected: Expected) -> Self {
        if let Some(write) = self.writes.last_mut() {
            write.expected = expected;
        }
        self
    }

    /// Adds an event to the last write.
    #[must_use]
    pub fn event(self, event: NewEvent) -> Self {
        self.events([event])
    }

    /// Adds events to the last write.
    #[must_use]
    pub fn events(mut self, events: impl IntoIterator<Item = NewEvent>) -> Self {
        if let Some(write) = self.writes.last_mut() {
            write.add(events);
        }
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn write(mut self, write: Write) -> Self {
        self.writes.push(write);
        self
    }

    /// Sets the idempotency key of every write that has none yet.
    #[must_use]
    pub fn append_id(mut self, id: AppendId) -> Self {
        for write in &mut self.writes {
            write.append_id.get_or_insert(id);
        }
        self
    }

    /// Adds a condition over the whole log.
    #[must_use]
    pub fn unless(mut self, criteria: Criteria, after: Position) -> Self {
        self.unless.push(Unless { criteria, after });
        self
    }

    /// Adds a unique claim.
    #[must_use]
    pub fn claim(mut self, claim: Claim) -> Self {
        self.claims.push(claim);
        self
    }

    /// Whose batch it is.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.writes.first().map(|write| write.stream.tenant())
    }

    /// How many events it appends.
    pub fn len(&self) -> usize {
        self.writes.iter().map(|write| write.events.len()).sum()
    }

    /// Whether it appends nothing.
    pub fn is_empty(&self) -> bool {
        self.writes.iter().all(|write| write.events.is_empty())
    }

    /// The changes of claims in the order in which they are made: what is given
    /// up first, so that it can be taken in the same batch.
    pub fn claims_in_order(&self) -> Vec<Claim> {
        let mut claims = self.claims.clone();
        claims.sort_by_key(|claim| claim.change() == ClaimChange::Take);
        claims
    }

    /// Its events as they are going to be recorded in a log without gaps that ends at
    /// `head`, and whose streams have these versions.
    ///
    /// # Errors
    ///
    /// What `version` says.
    pub fn to_be_recorded(
        &self,
        head: Position,
        mut version: impl FnMut(&StreamId) -> Result<Version, StoreError>,
        now: DateTime<Utc>,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let (mut position, mut versions) = (head, HashMap::<&StreamId, Version>::new());
        let mut recorded = Vec::with_capacity(self.len());
        for Write { stream, append_id, events, .. } in &self.writes {
            let mut last = match versions.get(stream) {
                Some(last) => *last,
                None => version(stream)?,
            };
            for event in events {
                last = last.plus(1);
                position = Position::new(position.get() + 1);
                let (event, stream) = (event.clone(), stream.clone());
                recorded.push(RecordedEvent::new(event, stream, last, position, *append_id, now));
            }
            versions.insert(stream, last);
        }
        Ok(recorded)
    }

    /// Whether every event belongs to a write with an append id: only then can
    /// the batch as a whole be a repetition.
    pub fn is_wholly_identified(&self) -> bool {
        self.writes.iter().all(|write| write.append_id.is_some() || write.events.is_empty())
    }

    /// Checks what can be checked without a store: the [`limits`], one tenant,
    /// each event id once.
    ///
    /// # Errors
    ///
    /// [`InvalidBatch`], the same on every store.
    pub fn check(&self) -> Result<(), InvalidBatch> {
        let Some(tenant) = self.tenant() else { return Err(InvalidBatch::Empty) };
        if self.is_empty() && self.claims.is_empty() {
            return Err(InvalidBatch::Empty);
        }
        if self.len() > limits::BATCH_EVENTS {
            return Err(InvalidBatch::TooManyEvents { events: self.len() });
        }
        let streams = self.writes.iter().map(|write| &write.stream);
        let holders = self.claims.iter().map(Claim::holder);
        if streams.chain(holders).any(|stream| stream.tenant() != tenant) {
            return Err(InvalidBatch::SeveralTenants);
        }
        self.check_runs()?;
        self.check_events()
    }

    /// The positions of an append have no gap of another append between them.
    fn check_runs(&self) -> Result<(), InvalidBatch> {
        let ids = || self.writes.iter().map(|write| write.append_id);
        for (at, id) in ids().enumerate().skip(1) {
            let before = || ids().take(at);
            if id.is_some() && before().next_back() != Some(id) && before().any(|one| one == id) {
                let message = "writes that share an append id must stand side by side";
                return Err(InvalidBatch::Malformed(message));
            }
        }
        Ok(())
    }

    fn check_events(&self) -> Result<(), InvalidBatch> {
        let mut bytes = 0;
        for event in self.writes.iter().flat_map(|write| &write.events) {
            event.check()?;
            bytes += event.payload.len();
        }
        if bytes > limits::BATCH_BYTES {
            return Err(InvalidBatch::TooManyBytes { bytes });
        }
        self.check_ids()
    }

    fn check_ids(&self) -> Result<(), InvalidBatch> {
        let ids = || self.writes.iter().flat_map(|write| &write.events).map(|event| event.id);
        match self.len() {
            0 | 1 => Ok(()),
            _ if ids().is_sorted_by(|one, next| one < next) => Ok(()),
            _ => {
                let mut sorted: Vec<_> = ids().collect();
                sorted.sort_unstable();
                let twice = sorted.windows(2).find(|pair| pair[0] == pair[1]);
                twice.map_or(Ok(()), |pair| Err(InvalidBatch::EventTwice { id: pair[0] }))
            }
        }
    }
}

impl NewEvent {
    fn check(&self) -> Result<(), InvalidBatch> {
        if self.event_type.starts_with('$') || self.event_type.starts_with(RESERVED) {
            let event_type = self.event_type.to_string();
            return Err(InvalidBatch::ReservedType { event_type });
        }
        self.envelope().check()
    }

    fn envelope(&self) -> Envelope<'_> {
        let Self { event_type, content_type, tags, metadata, payload, .. } = self;
        Envelope { event_type, content_type, tags, metadata, payload }
    }
}
