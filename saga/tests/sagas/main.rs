//! What sagas promise, in memory, on a clock that jumps to what is next due.

mod answers;
mod definitions;
mod every_failure;
mod nodes;
mod operating;
mod place;
mod processes;
mod seeing;
mod timing;
mod trip;
mod versions;
