use cqrs::Command;
use es_core::{Aggregate, Event, Evolve};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "account.opened")]
struct Opened;

#[derive(Default, Aggregate)]
struct Account;

impl Evolve for Account {
    type Event = Opened;
    fn evolve(&mut self, _: &Opened) {}
}

#[derive(Command)]
struct Reserve {
    #[id(Account)]
    account: String,
    #[claim("duration")]
    lasts: Option<std::time::Duration>,
}

fn main() {}
