use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    Opened,
    #[event(name = "account.opened")]
    Created,
    #[event(alias = "account.opened")]
    Founded,
    #[event(alias = "account.shut")]
    Closed,
    #[event(alias = "account.shut")]
    Ended,
    #[event(alias = "account.frozen")]
    Frozen,
}

fn main() {}
