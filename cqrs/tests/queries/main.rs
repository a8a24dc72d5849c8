//! The promises of the query bus.

#![cfg(feature = "cache")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod asking;
mod caching;
mod gathering;
#[cfg(feature = "http")]
mod http;
mod layers;
mod projector;
mod promise;
mod racing;
mod sharing;
mod subscribing;
mod world;
