//! The promises of every port, each a function that any adapter can run.
//!
//! An adapter writes a [`Harness`] and one macro line for each port that it
//! implements; [`adapters`](crate::adapters) shows how.

mod ability;
pub mod broker;
pub mod checkpoints;
pub mod event_store;
mod harness;
pub mod inline;
mod macros;
pub mod moving;
mod place;
mod promise;
pub mod retention;
mod run;
pub mod shared_cache;
mod site;
pub mod snapshots;
mod tally;
pub mod timers;
pub mod views;

pub use ability::{Need, UnderTest};
pub use broker::{Broker, broker_promises};
pub use checkpoints::checkpoint_promises;
pub use event_store::event_store_promises;
pub use harness::{Harness, Opened};
pub use inline::{Another, InlineModels, Tallies, inline_promises};
pub use moving::{Movable, moving_promises};
pub use place::Place;
pub use promise::Promise;
pub use retention::{Retaining, retention_promises};
pub use run::{Outcome, PATIENCE, attempt, keep};
pub use shared_cache::shared_cache_promises;
pub use site::Site;
pub use snapshots::snapshot_promises;
pub use tally::{Tally, tally};
pub use timers::timer_promises;
pub use views::{ReadModels, view_promises};
