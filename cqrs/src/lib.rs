//! What drives the folds: commands on the one side, projections on the other.
//!
//! | to | look at |
//! |---|---|
//! | change something | [`Commands::send`], [`Command`], [`Decide`] |
//! | decide over a query | [`Commands::decide`], [`Decision`] |
//! | decide about several aggregates | [`Commands::send_together`], [`DecideTogether`] |
//! | put something around the bus | [`CommandsBuilder::layer`], [`Guard`], [`Trace`] |
//! | keep a read model | [`View`], [`Projection`], [`Projector`], [`Rebuild`] |
//! | do something outside, tell a broker | [`Reaction`], [`Live`], [`Relay`] |
//! | have history handled once more | `Replay`, with the feature `bus` |
//! | ask | [`Queries`], [`Query`], [`Answer`], [`Projector::get`] |
//! | carry tokens through HTTP | `http`, with the feature of that name |
//! | cache answers, hear of new ones | [`QuerySettings`], [`Queries::subscribe`] |
//!
//! See [`Commands`] for a program that runs.

extern crate self as cqrs;

mod answers;
mod bus;
mod catalogue;
mod command;
mod commands;
mod context;
mod decided;
mod decision;
mod dispatch;
mod guard;
#[cfg(feature = "http")]
pub mod http;
mod lanes;
mod metrics;
mod project;
mod queries;
mod query;
#[cfg(feature = "bus")]
mod replay;
mod runner;
mod send;
mod settings;
mod together;
mod trace;

pub use catalogue::NameClaimedTwice;
pub use command::{Command, Decide};
pub use commands::{Commands, CommandsBuilder};
pub use decision::Decision;
pub use dispatch::{Dispatch, Outcome, ToAggregate};
pub use es_core::{Aggregate, Event, Evolve};
#[doc(hidden)]
pub use es_core::{Claim, NameError, StreamId};
#[cfg(feature = "derive")]
pub use es_derive::{Command, Query};
pub use guard::{Guard, Guarded};
pub use project::{
    Difference, FailureClass, Fate, InlineViews, Keys, Live, LiveView, ModelSettings, ModelStatus,
    OnChange, Parked, ParkedNote, ParkedState, PartStatus, Poison, Progress, Projecting,
    Projection, ProjectionError, Projector, Reaction, Rebuild, RebuildProgress, Relay, StartAt,
    View,
};
pub use queries::{
    Answered, AskError, Asking, CacheTag, Change, Freshness, Gathered, Queries, QueriesBuilder,
    QuerySettings, Reply, Stale, Streamed, ToAnswerer,
};
pub use query::{Answer, AnswerStream, BoxError, Query};
#[cfg(feature = "bus")]
pub use replay::{Replay, ReplayError, Replayed};
pub use send::{Failure, SendError, Sent};
pub use settings::Settings;
pub use together::{DecideTogether, Together};
pub use trace::{Trace, Traced};
