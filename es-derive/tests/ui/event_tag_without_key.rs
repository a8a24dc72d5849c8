use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    Opened(#[tag] String),
    Moved {
        #[tag("from")]
        old: String,
        #[tag = "to"]
        new: String,
        #[tag(name = "by")]
        clerk: String,
    },
}

fn main() {}
