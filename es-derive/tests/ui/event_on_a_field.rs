use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.rung")]
struct Rung {
    #[event(version = 2)]
    times: u32,
}

fn main() {}
