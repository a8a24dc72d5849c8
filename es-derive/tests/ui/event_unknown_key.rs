use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account", name = "account.opened")]
enum AccountEvent {
    #[event(nmae = "account.opened")]
    Opened,
    #[event(prefix = "account")]
    Closed,
}

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.rung", prefix = "bell")]
struct Rung;

fn main() {}
