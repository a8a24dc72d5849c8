//! Records what concurrent clients, followers, projections and effects did, and
//! checks it against the log.
//!
//! The answers of a log name versions and positions, so the order in which
//! things happened can be recovered instead of searched for: checking takes
//! the time of sorting. The ten [`Rule`]s stand there one by one.

mod follow;
mod order;
mod record;
mod rule;
mod writes;

pub use record::{Attempt, History, Tick, Ticket, digest};
pub use rule::{Rule, Violation};
