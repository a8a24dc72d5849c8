//! Short words for what promises do again and again.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::SubsecRound;
use es_core::{
    Abilities, AppendError, Appended, Batch, ContentType, Copying, EventStore, EventStoreExt,
    Metadata, Name, NewEvent, Page, Pages, Position, Read, RecordedEvent, StoreError,
    StoreErrorKind, StreamId, Version, Write, limits, memory::MemoryStore,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::Movable;
use crate::{TestClock, contract::Site, fake};

pub(super) type Store = Site<dyn Movable>;

pub(super) fn everything() -> Read {
    Read::all().every_tenant()
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(super) fn copying<'c>() -> Copying<'c> {
    Copying::all(name("the copy"))
}

pub(super) async fn log_of<S: EventStore + ?Sized>(store: &S) -> Vec<RecordedEvent> {
    find(store, everything()).await
}

/// With times to the microsecond, as databases count them.
pub(super) async fn find<S: EventStore + ?Sized>(store: &S, read: Read) -> Vec<RecordedEvent> {
    let exact = |mut event: RecordedEvent| {
        event.recorded_at = event.recorded_at.trunc_subsecs(6);
        event
    };
    let found = store.events(read).await.expect("a read that succeeds");
    found.into_iter().map(exact).collect()
}

/// The log once it has so many events: what another append holds back comes in
/// time.
pub(super) async fn log_with<S>(store: &S, events: usize) -> Vec<RecordedEvent>
where
    S: EventStore + ?Sized,
{
    let (mut pages, mut log) = (store.follow(everything()), Vec::new());
    while log.len() < events {
        log.extend(pages.try_next().await.expect("a page").expect("a page").events);
    }
    log
}

pub(super) async fn must<S: EventStore + ?Sized>(store: &S, batch: Batch) -> Appended {
    store.append(batch).await.expect("an append that nothing is against")
}

/// What a copy keeps.
pub(super) fn contents(log: &[RecordedEvent]) -> Vec<(StreamId, NewEvent)> {
    log.iter().cloned().map(RecordedEvent::into_new).collect()
}

pub(super) fn pages(events: Vec<RecordedEvent>) -> Pages {
    pages_of(events, limits::PAGE_EVENTS)
}

/// In pages of so many.
pub(super) fn pages_of(events: Vec<RecordedEvent>, size: usize) -> Pages {
    let page = |events: &[RecordedEvent]| {
        let through = events.last().map_or(Position::START, |event| event.position);
        Ok(Page { events: events.to_vec(), through })
    };
    let pages: Vec<_> = events.chunks(size).map(page).collect();
    stream::iter(pages).boxed()
}

pub(super) fn broken() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "the source went away")
}

/// An event at this version and position, of no append.
pub(super) fn at(stream: &str, version: u64, position: u64) -> RecordedEvent {
    let event = fake::event("thing.happened").json(&position).build();
    let (version, position) = (Version::new(version), Position::new(position));
    RecordedEvent::new(event, fake::stream(stream), version, position, None, TestClock::START)
}

/// A log with all that an event can have, of several tenants and streams.
pub(super) async fn fill<S: EventStore + ?Sized>(store: &S) {
    for batch in varied() {
        must(store, batch).await;
    }
}

pub(super) async fn filled() -> MemoryStore {
    let store = MemoryStore::new();
    fill(&store).await;
    store
}

fn varied() -> Vec<Batch> {
    let metadata = Metadata::new()
        .correlation_id("order\u{0}-7")
        .causation_id("cause")
        .user_id("ada")
        .source("tests")
        .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .with("nul\u{0}", "\"\\\n\u{2028}");
    let full = || {
        let event = fake::event("thing.described").metadata(metadata.clone()).schema_version(3);
        event.tag("colour", "red").tag("size", "s").tag("colour", "red").build()
    };
    let longest = StreamId::new("c", "ü".repeat((limits::NAME_BYTES - 2) / 2)).expect("a name");
    let twice = fake::event("thing.repeated").build();
    let mut batches = vec![
        Batch::to(fake::stream("thing-a")).event(full()).append_id(fake::append_id()),
        Batch::to(longest).events(payloads()),
        Batch::to(fake::stream("thing-a")).event(twice.clone()),
        Batch::to(fake::stream("thing-a")).event(twice),
        Batch::to(fake::stream("thing-b"))
            .events(fake::events(2))
            .write(Write::new(fake::stream("thing-c")).events([full()]))
            .write(Write::new(fake::stream("thing-b")).events(fake::events(3)))
            .append_id(fake::append_id()),
    ];
    for tenant in ["acme", "default", "ümlaut \\ ' \""].map(fake::tenant) {
        for count in 1..3 {
            let stream = fake::stream("thing-a").of(tenant.clone());
            batches.push(Batch::to(stream).events(fake::events(count)).event(full()));
        }
    }
    batches
}

/// What is easily taken for something else.
pub(super) fn payloads() -> Vec<NewEvent> {
    let raw = |content_type: ContentType, payload: &'static [u8]| {
        let event = fake::event("thing.sent").content_type(content_type);
        event.payload(Bytes::from_static(payload)).build()
    };
    let texts: [&[u8]; 12] = [
        b"",
        b"null",
        b"{}",
        b" {}",
        b"{\"a\" : 1.10, \"a\":2}",
        b"{\n}",
        b"[1,\r2]",
        b"\\N",
        b"\\x00",
        b"{\"t\":\"\\u0000\"}",
        b"\0\xff\xfe",
        b"no json",
    ];
    let form = |name| ContentType::new(Name::from_static(name));
    let types = [ContentType::JSON, ContentType::BYTES, form("text/plain; a=\"\\\"")];
    types.iter().flat_map(|one| texts.map(|text| raw(one.clone(), text))).collect()
}

/// Whether a store that dies does so before it appends or before it answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Dies {
    Before,
    After,
}

/// A store whose process dies around its `n`th append.
pub(super) struct Mortal {
    store: Arc<dyn Movable>,
    left: AtomicUsize,
    dies: Dies,
}

impl Mortal {
    pub(super) fn new(store: Arc<dyn Movable>, left: usize, dies: Dies) -> Self {
        Self { store, left: AtomicUsize::new(left), dies }
    }
}

#[async_trait]
impl EventStore for Mortal {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        let is_last = self.left.fetch_sub(1, Ordering::Relaxed) == 0;
        if is_last && self.dies == Dies::Before {
            return Err(broken().into());
        }
        let appended = self.store.append(batch).await?;
        if is_last { Err(broken().into()) } else { Ok(appended) }
    }

    fn read(&self, read: Read) -> Pages {
        self.store.read(read)
    }

    fn follow(&self, read: Read) -> Pages {
        self.store.follow(read)
    }

    fn abilities(&self) -> Abilities {
        self.store.abilities()
    }
}

/// Counts the payloads that are alive.
#[derive(Clone, Default)]
pub(super) struct Alive {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct Payload {
    bytes: [u8; 16],
    alive: Alive,
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.alive.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Alive {
    fn payload(&self) -> Bytes {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Bytes::from_owner(Payload { bytes: [b'x'; 16], alive: self.clone() })
    }

    /// How many there were at once.
    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// Pages of so many events, each made when it is asked for.
    pub(super) fn pages(&self, events: u64) -> Pages {
        let alive = self.clone();
        let step = limits::PAGE_EVENTS;
        let page = move |first: u64| {
            let event = |position: u64| {
                let event = fake::event("thing.made").content_type(ContentType::BYTES);
                let event = event.payload(alive.payload()).build();
                let stream = fake::stream("thing-a");
                let (version, position) = (Version::new(position), Position::new(position));
                RecordedEvent::new(event, stream, version, position, None, TestClock::START)
            };
            let last = (first + step as u64 - 1).min(events);
            let through = Position::new(last);
            Ok(Page { events: (first..=last).map(event).collect(), through })
        };
        stream::iter((1..=events).step_by(step).map(page)).boxed()
    }
}
