//! What the derives write, seen from a program that uses them.

mod aggregate;
mod codec;
mod command;
mod event;
#[cfg(feature = "schema")]
mod schema;
mod tags;
