//! A log so simple that it can be believed, against which any store is tried
//! with random commands.

mod command;
mod reference;
mod trial;

pub use command::{Command, commands};
pub use reference::{Answer, Reference};
pub(crate) use trial::agrees_with_the_model;
