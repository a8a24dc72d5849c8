//! A server that is killed, cut off, stopped, filled up, restored and moved: no
//! acknowledged event is lost, none is there twice, and followers miss none.
//!
//! `GESTA_SERVER_KILLS` and `GESTA_CUTS` say how often.

#![cfg(unix)]

mod cuts;
mod inline;
#[path = "../inlined/mod.rs"]
mod inlined;
mod kills;
mod load;
mod migrating;
#[path = "../private/mod.rs"]
mod private;
mod refusing;
mod restoring;
mod silence;

use std::str::FromStr;

/// The number that the environment names, or this one.
fn times(name: &str, default: usize) -> usize {
    let said = std::env::var(name).ok();
    said.map_or(default, |said| usize::from_str(&said).expect("a number"))
}
