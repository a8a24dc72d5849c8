use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
struct BellRung {
    times: u32,
}

fn main() {}
