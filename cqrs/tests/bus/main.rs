//! The promises of the command bus and of the projector.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod bank;
mod beside;
mod cache;
mod catalogue;
mod claims;
#[cfg(feature = "metrics")]
mod counted;
mod decisions;
mod evolving;
mod faulty;
mod hooked;
mod inline;
mod lag;
mod lanes;
mod layers;
mod lost;
mod once;
mod outbox;
mod panics;
mod parking;
mod poison;
mod projections;
mod questions;
mod races;
mod reactions;
mod rebuilding;
mod refolding;
mod relays;
mod repairing;
#[cfg(feature = "bus")]
mod replaying;
#[cfg(feature = "bus")]
mod replays;
mod retention;
mod rows;
mod sending;
mod snapshots;
mod spans;
mod together;
mod views;
mod workers;
