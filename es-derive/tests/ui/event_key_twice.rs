use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.rung", name = "bell.rang", version = 1)]
#[event(version = 2)]
struct Rung;

fn main() {}
