use es_core::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[serde(from = "String", into = "String")]
#[event(prefix = "account")]
enum AccountEvent {
    Opened,
}

impl Clone for AccountEvent {
    fn clone(&self) -> Self {
        Self::Opened
    }
}

impl From<String> for AccountEvent {
    fn from(_: String) -> Self {
        Self::Opened
    }
}

impl From<AccountEvent> for String {
    fn from(_: AccountEvent) -> Self {
        Self::new()
    }
}

fn main() {}
