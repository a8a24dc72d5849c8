use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    #[event(name = "Account.Opened")]
    UpperCase,
    #[event(name = "closed")]
    OnePart,
    #[event(name = "account..closed")]
    EmptyPart,
    #[event(name = "")]
    Empty,
    Schließung,
}

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "the account")]
enum BadPrefix {
    Opened,
}

fn main() {}
