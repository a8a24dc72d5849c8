use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    #[serde(skip)]
    Opened,
    #[serde(skip_serializing)]
    Deposited,
    #[serde(rename = "closed", skip_deserializing)]
    Closed,
}

fn main() {}
