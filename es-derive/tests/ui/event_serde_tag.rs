use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[serde(tag = "type")]
#[event(prefix = "account")]
enum Tagged {
    Opened,
}

#[derive(Serialize, Deserialize, Event)]
#[serde(tag = "type", content = "fields")]
#[event(prefix = "account")]
enum WithContent {
    Opened,
}

#[derive(Serialize, Deserialize, Event)]
#[serde(tag = "type")]
#[event(name = "account.opened")]
struct Opened {
    owner: String,
}

fn main() {}
