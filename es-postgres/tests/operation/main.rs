//! What whoever operates a store is told.

mod horizon;
mod inline;
#[path = "../inlined/mod.rs"]
mod inlined;
mod lines;
#[cfg(feature = "metrics")]
mod metrics;
mod models;
mod pooled;
mod scene;
mod walled;
mod walls;
