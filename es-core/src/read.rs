use chrono::{DateTime, Utc};

use crate::{
    AppendId, Criteria, Event, Name, NameError, Position, RecordedEvent, Snapshot, StreamId, Tag,
    Tenant, Version, stream,
};

/// One request to read: which events, in which direction, how many.
///
/// It reads the default tenant unless it says otherwise. All conditions hold
/// together.
///
/// ```
/// use es_core::{Position, Read, StreamId, Tenant};
///
/// let stream = StreamId::new("account", "ada")?;
/// let last_two = Read::stream(&stream).backwards().limit(2);
/// let rest = Read::category("account")?.after(Position::new(100));
/// let theirs = Read::all().of(Tenant::new("acme")?);
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Read {
    /// Where to look.
    pub scope: Scope,
    /// Whose events; `None` for every tenant.
    pub tenant: Option<Tenant>,
    /// Any of these types; empty means every type.
    pub types: Vec<Name>,
    /// All of these tags.
    pub tags: Vec<Tag>,
    /// Only what belongs to this correlation id.
    pub correlation_id: Option<String>,
    /// Only what stands after this position.
    pub after: Position,
    /// Only what stands at or before this position.
    pub up_to: Option<Position>,
    /// Only versions above this one; for a stream.
    pub after_version: Version,
    /// Only what was recorded at or after this time.
    pub since: Option<DateTime<Utc>>,
    /// Only what was recorded before this time.
    pub until: Option<DateTime<Utc>>,
    /// In which direction.
    pub direction: Direction,
    /// At most this many events.
    pub limit: Option<u64>,
}

/// Where a [`Read`] looks.
///
/// ```
/// use es_core::{Read, Scope};
///
/// assert_eq!(Read::all().scope, Scope::All);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Scope {
    /// The whole log.
    All,
    /// One stream.
    Stream(StreamId),
    /// All streams of one category.
    Category(Name),
    /// Whatever meets the criteria.
    Matching(Criteria),
    /// What one append wrote.
    Append(AppendId),
}

/// In which direction a [`Read`] goes.
///
/// ```
/// use es_core::{Direction, Read};
///
/// assert_eq!(Read::all().backwards().direction, Direction::Backwards);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forwards,
    /// Newest first.
    Backwards,
}

/// Every name under which an event of `E` may stand in the log, present and
/// former.
///
/// ```
/// use es_core::{Event, event_names};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "bell.rung", alias = "bell.struck")]
/// struct Rung;
///
/// let names: Vec<_> = event_names::<Rung>().map(|name| name.to_string()).collect();
/// assert_eq!(names, ["bell.rung", "bell.struck"]);
/// ```
pub fn event_names<E: Event>() -> impl Iterator<Item = Name> {
    let names = E::TYPES.iter().flat_map(|one| std::iter::once(&one.name).chain(one.aliases));
    names.map(|name| Name::from_static(name))
}

impl Read {
    /// The whole log.
    pub fn all() -> Self {
        Self::new(Scope::All, Tenant::default())
    }

    /// One stream, of the tenant that it names.
    pub fn stream(stream: &StreamId) -> Self {
        Self::new(Scope::Stream(stream.clone()), stream.tenant().clone())
    }

    /// All streams of one category.
    ///
    /// # Errors
    ///
    /// [`NameError`] if the category is no name or holds a hyphen.
    pub fn category(category: &str) -> Result<Self, NameError> {
        Ok(Self::new(Scope::Category(stream::category(category)?), Tenant::default()))
    }

    /// Whatever meets the criteria.
    pub fn matching(criteria: Criteria) -> Self {
        Self::new(Scope::Matching(criteria), Tenant::default())
    }

    /// What one append wrote.
    pub fn append(id: AppendId) -> Self {
        Self::new(Scope::Append(id), Tenant::default())
    }

    fn new(scope: Scope, tenant: Tenant) -> Self {
        Self {
            scope,
            tenant: Some(tenant),
            types: Vec::new(),
            tags: Vec::new(),
            correlation_id: None,
            after: Position::START,
            up_to: None,
            after_version: Version::NONE,
            since: None,
            until: None,
            direction: Direction::Forwards,
            limit: None,
        }
    }

    /// Reads this tenant's events.
    #[must_use]
    pub fn of(mut self, tenant: Tenant) -> Self {
        if let Scope::Stream(stream) = self.scope {
            self.scope = Scope::Stream(stream.of(tenant.clone()));
        }
        self.tenant = Some(tenant);
        self
    }

    /// Reads the events of every tenant; for workers that serve all of them.
    #[must_use]
    pub fn every_tenant(mut self) -> Self {
        self.tenant = None;
        self
    }

    /// Only events of these types.
    #[must_use]
    pub fn types(mut self, types: impl IntoIterator<Item = Name>) -> Self {
        self.types.extend(types);
        self
    }

    /// Only events that `E` can decode, under their present and former names.
    #[must_use]
    pub fn types_of<E: Event>(self) -> Self {
        self.types(event_names::<E>())
    }

    /// Only events that bear this tag too.
    #[must_use]
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    /// Only what belongs to this correlation id.
    #[must_use]
    pub fn correlated(mut self, correlation_id: impl Into<String>) -> Self {
        self.correlation_id = Some(correlation_id.into());
        self
    }

    /// Only what stands after this position.
    #[must_use]
    pub fn after(mut self, position: Position) -> Self {
        self.after = position;
        self
    }

    /// Only what stands at or before this position.
    #[must_use]
    pub fn up_to(mut self, position: Position) -> Self {
        self.up_to = Some(position);
        self
    }

    /// Only versions above this one; for a stream.
    #[must_use]
    pub fn after_version(mut self, version: Version) -> Self {
        self.after_version = version;
        self
    }

    /// Only from the last event on that this snapshot reflects; for its stream. That event
    /// tells whether the snapshot is of this log.
    #[must_use]
    pub fn from_snapshot(self, snapshot: &Snapshot) -> Self {
        self.after_version(Version::new(snapshot.version.get().saturating_sub(1)))
    }

    /// Only what was recorded at or after `since`.
    #[must_use]
    pub fn since(mut self, since: DateTime<Utc>) -> Self {
        self.since = Some(since);
        self
    }

    /// Only what was recorded before `until`.
    #[must_use]
    pub fn until(mut self, until: DateTime<Utc>) -> Self {
        self.until = Some(until);
        self
    }

    /// Newest first.
    #[must_use]
    pub fn backwards(mut self) -> Self {
        self.direction = Direction::Backwards;
        self
    }

    /// At most `events` events.
    #[must_use]
    pub fn limit(mut self, events: u64) -> Self {
        self.limit = Some(events);
        self
    }

    /// Whether `event` is one that this request asks for, the limit aside.
    pub fn accepts(&self, event: &RecordedEvent) -> bool {
        self.accepts_place(event) && self.accepts_content(event)
    }

    fn accepts_place(&self, event: &RecordedEvent) -> bool {
        let scope = match &self.scope {
            Scope::All => true,
            Scope::Stream(stream) => event.stream.name() == stream.name(),
            Scope::Category(category) => event.stream.category() == category.as_str(),
            Scope::Matching(criteria) => criteria.matches(event),
            Scope::Append(id) => event.append_id == Some(*id),
        };
        scope
            && self.tenant.as_ref().is_none_or(|tenant| tenant == event.stream.tenant())
            && event.position > self.after
            && self.up_to.is_none_or(|up_to| event.position <= up_to)
            && event.version > self.after_version
    }

    fn accepts_content(&self, event: &RecordedEvent) -> bool {
        let correlation = event.metadata.fields().correlation_id.as_deref();
        (self.types.is_empty() || self.types.contains(&event.event_type))
            && self.tags.iter().all(|tag| event.tags.contains(tag))
            && self.correlation_id.as_deref().is_none_or(|wanted| correlation == Some(wanted))
            && self.since.is_none_or(|since| event.recorded_at >= since)
            && self.until.is_none_or(|until| event.recorded_at < until)
    }
}
