//! Every port in memory, with the promises of the real ones: for tests, for
//! examples, and for programs that forget.

mod broker;
mod builds;
mod checkpoints;
mod inlined;
mod log;
mod retention;
mod shared_cache;
mod snapshots;
mod store;
mod timers;
mod views;

pub use broker::MemoryBroker;
pub use checkpoints::MemoryCheckpoints;
pub use shared_cache::MemorySharedCache;
pub use snapshots::MemorySnapshots;
pub use store::MemoryStore;
pub use timers::MemoryTimers;
pub use views::{MemoryTx, MemoryViews};
