//! Read models: what users write, and what keeps them.
//!
//! | to find | look at |
//! |---|---|
//! | what users write | `view.rs`, `projection.rs`, `reaction.rs`, `relay.rs`, `settings.rs` |
//! | the door | `projector.rs`, `rows.rs`, `projecting.rs`, and what they share: `inner.rs` |
//! | which parts are kept here, and which build answers | `worker.rs`, `worker/`, `plan.rs`, `presence.rs`, `swap.rs`, `in_place.rs`, `visit.rs` |
//! | the loop over the log | `session.rs`, `gather.rs`, `batch.rs` |
//! | views that change with each append, or are folded when asked | `inline.rs`, `live.rs` |
//! | one part: of a view, a free-form projection, a reaction, a relay | `handler.rs`, `viewing.rs`, `free.rs`, `reacting.rs`, `relaying.rs` |
//! | events that a model cannot take | `parked.rs`, `parking.rs` |
//! | what an operator does | `rebuild.rs`, `refold.rs`, `difference.rs`, `repair.rs`, `control.rs`, `lag.rs`, `rate.rs`, `published.rs` |

mod batch;
mod control;
mod difference;
mod free;
mod gather;
mod handler;
mod in_place;
mod inline;
mod inner;
mod lag;
mod live;
mod parked;
mod parking;
mod plan;
mod presence;
mod projecting;
mod projection;
mod projector;
mod published;
mod rate;
mod reacting;
mod reaction;
mod rebuild;
mod refold;
mod relay;
mod relaying;
mod repair;
mod rows;
mod session;
mod settings;
mod swap;
mod view;
mod viewing;
mod visit;
mod worker;

pub use control::{ModelStatus, PartStatus};
pub use difference::Difference;
pub use inline::InlineViews;
pub use live::LiveView;
pub use parked::{FailureClass, Parked, ParkedNote, ParkedState};
pub use projecting::Projecting;
pub use projection::{Projection, ProjectionError};
pub use projector::{Progress, Projector};
pub use reaction::{Live, Reaction, StartAt};
pub use rebuild::{Rebuild, RebuildProgress};
pub use relay::Relay;
pub use settings::{ModelSettings, OnChange, Poison};
pub use view::{Fate, Keys, View};
