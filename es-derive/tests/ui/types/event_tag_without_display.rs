use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.rung")]
struct Rung {
    #[tag]
    lasted: Option<std::time::Duration>,
}

fn main() {}
