//! Sagas on real stores, whose processes are killed, against what their receivers have noted.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod kills;
mod place;
mod truth;

use tests::{number, random};
