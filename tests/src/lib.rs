//! What crosses crates: events to append, and a worker to kill.

use es_core::{AppendId, Batch, ContentType, Expected, Name, NewEvent, StreamId, Version, World};

pub use es_testkit::not_run;
pub use numbers::{assert_shown, keep_numbers, numbers};

pub mod brokers;
#[cfg(unix)]
pub mod lives;
pub mod models;
mod numbers;
pub mod sagas;

/// The events of the worker: `worker-N`, four streams in turn.
pub fn worker_stream(number: u64) -> StreamId {
    StreamId::new("worker", number % 4).expect("a digit makes a name")
}

/// The append with this number, the same in every run.
pub fn numbered(number: u64) -> Batch {
    let payload = format!(r#"{{"number":{number}}}"#);
    batch(&worker_stream(number), &payload).append_id(AppendId::derive(&number.to_string()))
}

/// One event that any stream takes.
pub fn batch(stream: &StreamId, payload: &str) -> Batch {
    Batch::to(stream.clone()).event(event("bell.rung", payload))
}

/// One event that the stream takes at this version only.
pub fn batch_at(stream: &StreamId, version: u64, payload: &str) -> Batch {
    batch(stream, payload).expect(Expected::Exact(Version::new(version)))
}

/// An event with a new id.
pub fn event(event_type: &'static str, payload: &str) -> NewEvent {
    let id = World::real().event_id();
    NewEvent::raw(id, Name::from_static(event_type), ContentType::JSON, payload.to_owned())
}

/// A number from the environment, for the long form.
pub fn number(name: &str, short: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(short)
}

/// A number from the first to the last.
pub fn random(first: u64, last: u64) -> u64 {
    first + World::real().random_u64() % (last - first + 1)
}
