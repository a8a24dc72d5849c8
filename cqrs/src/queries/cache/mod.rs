//! Answers that are kept: in this process, and in a cache that others share.

mod caching;
mod entry;
mod flights;
mod loading;
mod local;
mod sharing;

pub(super) use caching::{Caching, Payload};
pub(super) use loading::Cache;
