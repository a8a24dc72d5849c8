//! The bus over a broker in memory.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod batches;
mod cloudevents;
#[cfg(feature = "metrics")]
mod counted;
mod draining;
mod endpoints;
mod handling;
mod health;
mod layers;
mod letters;
mod marked;
mod outages;
mod panics;
mod replaying;
mod replays;
mod requests;
mod retries;
mod schedules;
mod world;
