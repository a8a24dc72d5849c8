//! Known bugs, put back into a store that has none: the proof that the contract
//! would notice them. A check that has never failed proves nothing.
//!
//! Each [`Mutant`] is a [`MemoryStore`](es_core::memory::MemoryStore), and
//! [`MutantViews`] are [`MemoryViews`](es_core::memory::MemoryViews), with one
//! bug that a real store has had, or might. `tests/mutants.rs` runs the
//! contract against each, and asks that at least one promise breaks.

mod appends;
mod broker;
mod bug;
mod follows;
mod harness;
mod inline;
mod reads;
mod store;
mod views;

pub use broker::{BrokerBug, MutantBroker};
pub use bug::Bug;
pub use harness::{Catch, hunt, hunt_in_brokers, hunt_in_inline_models, hunt_in_views};
pub use inline::InlineBug;
pub use store::Mutant;
pub use views::{MutantViews, ViewBug};
