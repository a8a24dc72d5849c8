use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "$account.opened", alias = "$opened")]
struct Opened;

fn main() {}
