//! The events, and two views of them whose rows remember every event.

use std::sync::atomic::{AtomicBool, Ordering};

use cqrs::{Event, Evolve, Fate, Keys, View};
use es_core::{AppendId, Batch, ContentType, Name, NewEvent, Recorded, StreamId, World};
use serde::{Deserialize, Serialize};

const STREAMS: u64 = 61;
const ROWS: u64 = 97;

/// Whether this process panics at some events, as code with a bug does.
static IS_BROKEN: AtomicBool = AtomicBool::new(false);

/// From now on some events cannot be taken.
pub fn break_models() {
    IS_BROKEN.store(true, Ordering::SeqCst);
}

pub(crate) fn is_broken_for(event: &Moved, of: u64, rest: u64) -> bool {
    event.number % of == rest && IS_BROKEN.load(Ordering::SeqCst)
}

/// A parcel was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Event)]
#[event(name = "parcel.moved")]
pub struct Moved {
    /// Which event it is, from 0.
    pub number: u64,
}

/// The event with this number.
pub fn moved(number: u64) -> Moved {
    Moved { number }
}

/// The stream of the event with this number.
pub fn stream_of(number: u64) -> StreamId {
    StreamId::new("parcel", number * 7 % STREAMS).expect("digits make a name")
}

/// These events, each in its stream, appended once however often it is tried.
pub fn batch_of(number: u64) -> Batch {
    let payload = format!(r#"{{"number":{number}}}"#);
    let event_type = Name::from_static("parcel.moved");
    let id = World::real().event_id();
    let event = NewEvent::raw(id, event_type, ContentType::JSON, payload);
    let append_id = AppendId::derive(&format!("parcel {number}"));
    Batch::to(stream_of(number)).event(event).append_id(append_id)
}

impl Moved {
    /// The rows that it changes: each is fed by many streams.
    pub fn rows(&self) -> Vec<String> {
        let mut rows = vec![self.number % ROWS, self.number * 13 % ROWS];
        rows.dedup();
        rows.into_iter().map(|row| row.to_string()).collect()
    }
}

/// What has changed each of some rows, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByRow(pub Vec<u64>);

impl Evolve for ByRow {
    type Event = Moved;

    fn evolve(&mut self, moved: &Moved) {
        self.0.push(moved.number);
    }
}

impl View for ByRow {
    const NAME: &'static str = "by-row";
    type Key = String;

    fn keys(moved: Recorded<'_, Moved>) -> Keys<String> {
        Keys::Many(moved.event.rows())
    }

    fn apply(&mut self, _: &String, moved: Recorded<'_, Moved>) -> Fate {
        assert!(!is_broken_for(moved.event, 101, 5), "as the test wants");
        self.evolve(moved.event);
        Fate::Keep
    }
}

/// What has happened in each stream, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByStream(pub Vec<u64>);

impl Evolve for ByStream {
    type Event = Moved;

    fn evolve(&mut self, moved: &Moved) {
        self.0.push(moved.number);
    }
}

impl View for ByStream {
    const NAME: &'static str = "by-stream";
    type Key = String;

    fn keys(moved: Recorded<'_, Moved>) -> Keys<String> {
        assert!(!is_broken_for(moved.event, 103, 9), "as the test wants");
        Keys::One(moved.stream.to_string())
    }
}
