use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.rung")]
struct Rung {
    #[tag(key = "a:b")]
    with_colon: String,
    #[tag(key = "")]
    empty: String,
}

fn main() {}
