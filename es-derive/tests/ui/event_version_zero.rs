use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    #[event(version = 0)]
    Opened,
    #[event(version = "2")]
    Closed,
    #[event(version = 5000000000)]
    Frozen,
}

fn main() {}
