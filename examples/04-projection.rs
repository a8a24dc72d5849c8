//! New: a read model, and waiting until it shows what a command did.

use examples::{AccountEvent, Deposit, Withdraw};
use gesta::{
    Commands, Evolve, Keys, Projector, Recorded, View,
    memory::{MemoryStore, MemoryViews},
};
use serde::{Deserialize, Serialize};

/// One row for each account: a fold of the events that bear its key.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Statement {
    balance: u64,
    lines: u32,
}

impl Evolve for Statement {
    type Event = AccountEvent;
    fn evolve(&mut self, event: &AccountEvent) {
        self.lines += 1;
        match event {
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
    }
}

impl View for Statement {
    const NAME: &'static str = "statements";
    type Key = String;

    /// The key is the account's id, which the envelope knows.
    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let projector = Projector::new(store, MemoryViews::new()).view::<Statement>();
    let projecting = projector.start();

    commands.send(Deposit::new("ada", 50)).await?;
    commands.send(Deposit::new("bob", 7)).await?;
    let sent = commands.send(Withdraw::new("ada", 20)).await?;

    // The read model follows in its own time. Whoever must see the own write
    // waits for its position.
    projecting.wait_for(sent.position).await?;
    let ada = projector.get::<Statement>(&"ada".into()).await?;
    assert_eq!(ada, Some(Statement { balance: 30, lines: 2 }));

    for (account, statement) in projector.all::<Statement>().await? {
        println!("{account}: {} in {} lines", statement.balance, statement.lines);
    }
    projecting.stop().await?;
    Ok(())
}
