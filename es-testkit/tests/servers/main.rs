//! Servers and networks fail as they are told to.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod network;
mod postgres;
mod session;
