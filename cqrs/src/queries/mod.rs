//! The query bus.

mod answered;
mod answerer;
mod answering;
mod asking;
mod builder;
mod bus;
#[cfg(feature = "cache")]
mod cache;
mod change;
mod freshness;
mod gathering;
mod listening;
mod settings;
#[cfg(feature = "cache")]
mod shared;
mod streaming;
mod subscribing;
mod tags;
#[cfg(not(feature = "cache"))]
mod unshared;
#[cfg(not(feature = "cache"))]
use unshared as shared;

pub use answered::{Answered, AskError, Stale};
pub use asking::{Asking, Reply, ToAnswerer};
pub use builder::QueriesBuilder;
pub use bus::Queries;
pub use change::Change;
pub(crate) use change::Changes;
pub use freshness::Freshness;
pub use gathering::Gathered;
pub use settings::QuerySettings;
pub use streaming::Streamed;
pub use tags::CacheTag;
