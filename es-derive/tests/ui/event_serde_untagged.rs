use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[serde(untagged)]
#[event(prefix = "account")]
enum Untagged {
    Opened { owner: String },
}

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum UntaggedVariant {
    Opened { owner: String },
    #[serde(untagged)]
    Closed { reason: String },
}

fn main() {}
