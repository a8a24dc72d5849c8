//! Read models that are kept by programs which are killed or stand still, against a fold
//! of the log from zero.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod controls;
mod kills;
mod lives;
mod pauses;
mod place;
mod truth;

/// A number from the environment, for the long form.
fn number(name: &str, short: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(short)
}

/// A number from the first to the last.
fn random(first: u64, last: u64) -> u64 {
    first + es_core::World::real().random_u64() % (last - first + 1)
}
