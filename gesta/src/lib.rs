//! Gesta: event sourcing and CQRS for Rust.
//!
//! *Res gestae*, things done: the log of what happened is the only truth, and
//! everything else is a fold over it or a port to the outside.
//!
//! ```
#![doc = include_str!("../examples/first.rs")]
//! ```
//!
//! | feature | brings |
//! |---|---|
//! | `sqlite` (default) | [`sqlite`]: the embedded event store |
//! | `messagepack` | a binary codec, `Codec::MessagePack` |
//! | `schema` | a JSON Schema for each type of event |

extern crate self as gesta;

pub use cqrs::{
    Answer, Command, Commands, CommandsBuilder, Decide, DecideTogether, Decision, Dispatch,
    Failure, Fate, Guard, Keys, NameClaimedTwice, Outcome, Progress, Projecting, Projection,
    ProjectionError, Projector, Query, SendError, Sent, Settings, Together, Trace, View,
};
pub use es_core::*;

/// The embedded event store.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    pub use es_sqlite::{SqliteOptions, SqliteStore, SqliteTx, Synchronous};
}

#[cfg(feature = "schema")]
#[doc(hidden)]
pub use es_core::__private;
