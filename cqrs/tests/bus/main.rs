//! The promises of the command bus and of the projector.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod bank;
mod cache;
mod catalogue;
mod claims;
mod decisions;
mod evolving;
mod faulty;
mod lanes;
mod layers;
mod lost;
mod once;
mod projections;
mod races;
mod rows;
mod sending;
mod snapshots;
mod spans;
mod together;
mod views;
