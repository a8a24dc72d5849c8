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

use tests::{number, random};
