//! What crosses crates: events to append, and a worker to kill.

use es_core::{AppendId, Batch, ContentType, Expected, Name, NewEvent, StreamId, Version, World};

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

/// Says what a test could not do on this machine. `cargo xtask test` collects it
/// from the file that this environment variable names, and ends with it.
pub fn not_run(what: &str) {
    use std::io::Write;
    eprintln!("not run: {what}");
    let Some(file) = std::env::var_os("GESTA_NOT_RUN") else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(file);
    let written = file.and_then(|mut file| file.write_all(format!("{what}\n").as_bytes()));
    written.expect("the file that xtask named can be written");
}
