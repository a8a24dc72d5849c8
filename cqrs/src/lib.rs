//! What drives the folds: commands on the one side, projections on the other.
//!
//! | to | look at |
//! |---|---|
//! | change something | [`Commands::send`], [`Command`], [`Decide`] |
//! | decide over a query | [`Commands::decide`], [`Decision`] |
//! | decide about several aggregates | [`Commands::send_together`], [`DecideTogether`] |
//! | put something around the bus | [`CommandsBuilder::layer`], [`Guard`], [`Trace`] |
//! | keep a read model | [`View`], [`Projection`], [`Projector`] |
//! | ask | [`Query`], [`Answer`], [`Projector::get`] |
//!
//! See [`Commands`] for a program that runs.

extern crate self as cqrs;

mod answers;
mod batch;
mod bus;
mod catalogue;
mod command;
mod commands;
mod context;
mod decided;
mod decision;
mod dispatch;
mod guard;
mod handler;
mod lanes;
mod projecting;
mod projection;
mod projector;
mod query;
mod runner;
mod send;
mod settings;
mod together;
mod trace;
mod view;

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
pub use projecting::Projecting;
pub use projection::{Projection, ProjectionError};
pub use projector::{Progress, Projector};
pub use query::{Answer, Query};
pub use send::{Failure, SendError, Sent};
pub use settings::Settings;
pub use together::{DecideTogether, Together};
pub use trace::{Trace, Traced};
pub use view::{Fate, Keys, View};
