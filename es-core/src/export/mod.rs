//! A log as a file: lines of JSON, as the chapter "Moving data" describes them.

mod line;
mod read;
mod write;

pub use read::{chunks, read_export};
pub use write::export;
