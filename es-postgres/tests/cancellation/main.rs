//! Whoever stops waiting leaves nothing half done, no transaction open, and no
//! connection that somebody else would stumble over (launchbadge/sqlx #4385).

#![cfg(unix)]

mod appends;
mod builds;
mod control;
mod inline;
#[path = "../inlined/mod.rs"]
mod inlined;
mod opening;
mod ports;
#[path = "../private/mod.rs"]
mod private;
mod reads;
mod scene;
mod views;
