use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
#[tag]
enum AccountEvent {
    #[tag]
    Opened,
    Closed,
}

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.rung")]
#[tag]
struct Rung;

fn main() {}
