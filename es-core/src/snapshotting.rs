use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::TryStreamExt;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Aggregate, Codec, EventStore, LoadError, Loaded, Pages, Read, RecordedEvent, Snapped, Snapshot,
    Snapshots, StreamId, Version, World,
};

/// When to write a snapshot: asked after each load that replayed something.
///
/// ```
/// use std::time::Duration;
/// use es_core::SnapshotPolicy;
///
/// let either = SnapshotPolicy::every(100).or(SnapshotPolicy::slower_than(Duration::from_millis(5)));
/// assert!(either.wants(120, Duration::ZERO, None));
/// assert!(!either.wants(20, Duration::ZERO, None));
/// ```
#[derive(Clone)]
pub struct SnapshotPolicy(Arc<Rule>);

enum Rule {
    Every(u64),
    SlowerThan(Duration),
    After(Box<dyn Fn(&RecordedEvent) -> bool + Send + Sync>),
    Either(SnapshotPolicy, SnapshotPolicy),
}

impl SnapshotPolicy {
    /// When a load has replayed at least this many events.
    pub fn every(events: u64) -> Self {
        Self(Arc::new(Rule::Every(events)))
    }

    /// When a load has taken longer than this.
    pub fn slower_than(duration: Duration) -> Self {
        Self(Arc::new(Rule::SlowerThan(duration)))
    }

    /// When the last event replayed is such a one.
    pub fn after(event: impl Fn(&RecordedEvent) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(Rule::After(Box::new(event))))
    }

    /// When either asks for it.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Arc::new(Rule::Either(self, other)))
    }

    /// Whether to write one after a load that replayed this many events, took
    /// this long, and ended with this event.
    pub fn wants(&self, replayed: u64, took: Duration, last: Option<&RecordedEvent>) -> bool {
        match &*self.0 {
            Rule::Every(events) => replayed >= *events,
            Rule::SlowerThan(limit) => took > *limit,
            Rule::After(event) => last.is_some_and(event),
            Rule::Either(one, other) => {
                one.wants(replayed, took, last) || other.wants(replayed, took, last)
            }
        }
    }
}

impl fmt::Debug for SnapshotPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Rule::Every(events) => write!(f, "every {events} events"),
            Rule::SlowerThan(limit) => write!(f, "slower than {limit:?}"),
            Rule::After(_) => write!(f, "after some events"),
            Rule::Either(one, other) => write!(f, "{one:?} or {other:?}"),
        }
    }
}

/// Loads aggregates through snapshots, and writes these behind the back of the
/// command that found one wanting.
///
/// A snapshot that is broken, of another shape, or ahead of its stream is
/// counted and passed over: the load replays from the start.
///
/// ```
/// use std::sync::Arc;
/// use es_core::{Aggregate, Event, Evolve, SnapshotPolicy, Snapshotting, World, stream_of};
/// use es_core::memory::{MemorySnapshots, MemoryStore};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(prefix = "door")]
/// enum DoorEvent { Opened }
///
/// #[derive(Default, Serialize, Deserialize, Aggregate)]
/// struct Door { open: bool }
///
/// impl Evolve for Door {
///     type Event = DoorEvent;
///     fn evolve(&mut self, _: &DoorEvent) { self.open = true; }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let snapshots = Arc::new(MemorySnapshots::new());
/// let snapshotting = Snapshotting::new(snapshots, SnapshotPolicy::every(100), World::real());
/// let stream = stream_of::<Door>(&"front".to_owned())?;
/// let door = snapshotting.load::<Door, _>(&MemoryStore::new(), &stream).await?;
/// assert!(!door.state.open);
/// assert_eq!(snapshotting.counts().passed_over, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Snapshotting {
    snapshots: Arc<dyn Snapshots>,
    policy: SnapshotPolicy,
    world: World,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct Counters {
    used: AtomicU64,
    passed_over: AtomicU64,
    written: AtomicU64,
    failed: AtomicU64,
}

/// How far a load has come, the events that are to be absorbed next, and what follows.
type Begun<A> = (Loaded<A>, Vec<RecordedEvent>, Pages);

/// What became of snapshots so far.
///
/// ```
/// assert_eq!(es_core::SnapshotCounts::default().used, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SnapshotCounts {
    /// Loads that began with one.
    pub used: u64,
    /// Snapshots that were broken, of another shape, or ahead of their stream.
    pub passed_over: u64,
    /// Snapshots written.
    pub written: u64,
    /// Snapshots that could not be read or written.
    pub failed: u64,
}

impl Snapshotting {
    /// Keeps snapshots in `snapshots`, and writes them by `policy`.
    pub fn new(snapshots: Arc<dyn Snapshots>, policy: SnapshotPolicy, world: World) -> Self {
        Self { snapshots, policy, world, counters: Arc::default() }
    }

    /// What became of snapshots so far.
    pub fn counts(&self) -> SnapshotCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SnapshotCounts {
            used: read(&self.counters.used),
            passed_over: read(&self.counters.passed_over),
            written: read(&self.counters.written),
            failed: read(&self.counters.failed),
        }
    }

    /// Loads the aggregate of this stream.
    ///
    /// # Errors
    ///
    /// [`LoadError`], as without snapshots; a snapshot never causes one.
    pub async fn load<A, S>(&self, store: &S, stream: &StreamId) -> Result<Loaded<A>, LoadError>
    where
        A: Aggregate + Serialize + DeserializeOwned,
        S: EventStore + ?Sized,
    {
        let started = self.world.now();
        let (mut loaded, mut events, mut pages) = self.begin(store, stream).await?;
        let is_used = loaded.version != Version::NONE;
        let mut replayed = 0;
        let mut last = None;
        loop {
            for event in &events {
                loaded.absorb(event)?;
            }
            replayed += events.len() as u64;
            last = events.into_iter().next_back().or(last);
            match pages.try_next().await? {
                Some(page) => events = page.events,
                None => break,
            }
        }
        count(&self.counters.used, u64::from(is_used));
        let took = (self.world.now() - started).to_std().unwrap_or_default();
        if replayed > 0 && self.policy.wants(replayed, took, last.as_ref()) {
            self.keep(stream, &loaded);
        }
        Ok(loaded)
    }

    /// What to go on from, and with: the snapshot, if it is sound and its last event is in
    /// the stream, else nothing. A log that was restored from an older copy lacks that
    /// event.
    async fn begin<A, S>(&self, store: &S, stream: &StreamId) -> Result<Begun<A>, LoadError>
    where
        A: Aggregate + DeserializeOwned,
        S: EventStore + ?Sized,
    {
        let Snapped { snapshot, pages } = store.read_from_snapshot(stream, &*self.snapshots).await;
        let snapshot = snapshot.unwrap_or_else(|_| {
            count(&self.counters.failed, 1);
            None
        });
        let Some(snapshot) = snapshot else { return Ok((Loaded::default(), Vec::new(), pages)) };
        if let Some(begun) = from(&snapshot, pages).await? {
            return Ok(begun);
        }
        count(&self.counters.passed_over, 1);
        Ok((Loaded::default(), Vec::new(), store.read(Read::stream(stream))))
    }

    fn keep<A: Aggregate + Serialize>(&self, stream: &StreamId, loaded: &Loaded<A>) {
        let Ok(state) = Codec::Json.encode_value(&loaded.state) else {
            count(&self.counters.failed, 1);
            return;
        };
        let content_type = Codec::Json.content_type();
        let snapshot = Snapshot::new(loaded.version, A::FINGERPRINT, content_type, state);
        let (snapshots, counters) = (Arc::clone(&self.snapshots), Arc::clone(&self.counters));
        let stream = stream.clone();
        self.world.detach(async move {
            match snapshots.save(&stream, snapshot).await {
                Ok(()) => count(&counters.written, 1),
                Err(_) => count(&counters.failed, 1),
            }
        });
    }
}

/// The state of the snapshot, and what comes after it.
async fn from<A>(snapshot: &Snapshot, mut pages: Pages) -> Result<Option<Begun<A>>, LoadError>
where
    A: Aggregate + DeserializeOwned,
{
    let Some(state) = sound_state::<A>(snapshot) else { return Ok(None) };
    let mut events = pages.try_next().await?.map(|page| page.events).unwrap_or_default();
    let first = events.first().filter(|event| event.version == snapshot.version);
    let Some(position) = first.map(|event| event.position) else { return Ok(None) };
    // An upcaster may have made several of it.
    events.retain(|event| event.version > snapshot.version);
    Ok(Some((Loaded::at(state, snapshot.version, position), events, pages)))
}

fn sound_state<A: Aggregate + DeserializeOwned>(snapshot: &Snapshot) -> Option<A> {
    if snapshot.fingerprint != A::FINGERPRINT || !snapshot.is_intact() {
        return None;
    }
    Codec::of(&snapshot.content_type).ok()?.decode_value(&snapshot.state).ok()
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl fmt::Debug for Snapshotting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshotting")
            .field("policy", &self.policy)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
