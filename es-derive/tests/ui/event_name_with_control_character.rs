use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "account.\u{7}opened", alias = "opened\n")]
struct Opened;

fn main() {}
