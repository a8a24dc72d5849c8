//! The bus over a broker in memory.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod batches;
mod cloudevents;
mod draining;
mod handling;
mod letters;
mod outages;
mod panics;
mod replays;
mod requests;
mod retries;
mod schedules;
mod world;
