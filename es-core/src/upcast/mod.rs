//! Old events read as new ones, on every path that reads a log.

mod check;
mod rules;
mod runs;
#[cfg(test)]
mod tests;
mod upcasters;
mod upcasting;
mod widen;

pub use check::UpcastError;
pub use upcasters::{Upcast, Upcasters};
pub use upcasting::Upcasting;
