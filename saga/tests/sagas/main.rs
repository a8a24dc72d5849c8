//! What sagas promise, in memory.

mod definitions;
mod every_failure;
mod trip;
