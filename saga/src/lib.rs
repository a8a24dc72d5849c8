//! Sagas: work of several steps that comes to its end, or is undone, whatever crashes.
//!
//! See [`Sagas`] for a program.
//!
//! | to | use |
//! |---|---|
//! | write a step | [`Step`], [`Step::send`], [`Work`], [`StepError`], [`Probe`], [`Kind`] |
//! | put steps together | [`Path`], [`Definition`] |
//! | begin sagas, and go on with them | [`Sagas`], [`SagaId`], [`RunningSagas`] |
//! | hear events, and say what follows | [`Saga`], [`Hears`], [`Reply`], [`ProcessManager`] |
//! | see what becomes of them | [`SagaRow`], [`SagaState`], [`Story`], [`Drawing`] |
//! | help one that stands still | [`Operation`], [`Sagas::operate`] |
//! | change a definition | [`Migration`], [`Sagas::migrate`] |
//! | try every failure at every step | [`testing`] |
//!
//! # What is promised
//!
//! - What a saga is about to do is in the log before it does it. After a crash it goes on
//!   from there, in any process, no later than a [lease](Sagas::lease) and a
//!   [look](Sagas::poll) after it.
//! - A step is tried **at least once**, each time with the same [key](Work::key): an
//!   idempotent receiver sees one effect.
//! - What was done, or may have been, is undone in reverse order: a step after all that
//!   followed it.
//! - What cannot go on is [suspended](Phase::Suspended), and nothing else waits for it.
//! - A saga is a fold of its events. No code of a step runs again when it is read.

mod decide;
mod definition;
mod drawing;
mod driving;
mod error;
mod event;
mod graph;
mod id;
mod list;
mod live;
mod metrics;
mod operate;
mod path;
mod process;
mod running;
mod sagas;
mod sending;
mod state;
mod step;
mod story;
pub mod testing;

pub use definition::Definition;
pub use drawing::Drawing;
pub use error::{DefinitionError, SagaError};
pub use es_core::{NameError, RetryPolicy};
pub use event::{Effect, Operation, SagaEvent, Way};
pub use id::SagaId;
pub use list::{SagaRow, count_by_phase};
pub use operate::Migration;
pub use path::Path;
pub use process::{Hears, Order, ProcessManager, Reply, Saga, Waking};
pub use running::RunningSagas;
pub use sagas::{Begun, Sagas};
pub use state::{Incident, Phase, SagaState, Stage, StepState};
pub use step::{Kind, Probe, Step, StepError, Work};
pub use story::Story;
