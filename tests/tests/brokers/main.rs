//! Messages that are handled, or told of, by programs which are killed, over brokers that
//! are killed too.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod controls;
mod health;
mod kills;
mod lives;
mod place;
mod relays;
mod restarts;
mod ringing;
mod server;
mod truth;

use std::time::Duration;

/// How long all may take that is to come about at last.
const LONG: Duration = Duration::from_secs(60);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(10);
