use cqrs::{Aggregate, Command, Commands, Event, Evolve};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "account.closed")]
struct Closed;

#[derive(Default, Aggregate)]
struct Account;

impl Evolve for Account {
    type Event = Closed;
    fn evolve(&mut self, _: &Closed) {}
}

#[derive(Command)]
struct Close(#[id(Account)] String);

async fn close(commands: &Commands) {
    let _ = commands.send(Close("ada".into())).await;
}

fn main() {}
