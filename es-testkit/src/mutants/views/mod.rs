//! Read models with one bug.

mod bug;
mod changes;
mod commits;
mod leases;
mod store;

pub use bug::ViewBug;
pub use store::MutantViews;
