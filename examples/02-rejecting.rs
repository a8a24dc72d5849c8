//! New: an aggregate may say no, and the sender learns why.

use gesta::{Aggregate, Command, Commands, Decide, Event, Evolve, SendError, memory::MemoryStore};
use serde::{Deserialize, Serialize};
use thiserror::Error;

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    Opened { deposit: u64 },
    Withdrawn { amount: u64 },
}

/// The aggregate's own reasons. Without `error = …` a reason is a plain text,
/// a `Rejection`.
#[derive(Debug, PartialEq, Error)]
enum Refusal {
    #[error("the account is open already")]
    OpenAlready,
    #[error("there are only {balance} on it")]
    Overdrawn { balance: u64 },
}

#[derive(Default, Aggregate)]
#[aggregate(error = Refusal)]
struct Account {
    open: bool,
    balance: u64,
}

impl Evolve for Account {
    type Event = AccountEvent;
    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { deposit } => (self.open, self.balance) = (true, *deposit),
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
    }
}

/// `creates`: this one usually meets an account that does not exist yet.
#[derive(Command)]
#[command(creates)]
struct Open {
    #[id(Account)]
    account: String,
    deposit: u64,
}

impl Decide<Open> for Account {
    fn decide(&self, open: &Open) -> Result<Vec<AccountEvent>, Refusal> {
        if self.open {
            return Err(Refusal::OpenAlready);
        }
        Ok(vec![AccountEvent::Opened { deposit: open.deposit }])
    }
}

#[derive(Command)]
struct Withdraw {
    #[id(Account)]
    account: String,
    amount: u64,
}

impl Decide<Withdraw> for Account {
    fn decide(&self, withdraw: &Withdraw) -> Result<Vec<AccountEvent>, Refusal> {
        if withdraw.amount > self.balance {
            return Err(Refusal::Overdrawn { balance: self.balance });
        }
        Ok(vec![AccountEvent::Withdrawn { amount: withdraw.amount }])
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let commands = Commands::new(MemoryStore::new());
    let open = || Open { account: "ada".into(), deposit: 50 };
    let withdraw = |amount| Withdraw { account: "ada".into(), amount };

    commands.send(open()).await?;
    let again = commands.send(open()).await;
    assert!(matches!(again, Err(SendError::Rejected(Refusal::OpenAlready))));

    let refused = commands.send(withdraw(70)).await.expect_err("there are only 50");
    println!("70? {refused}");
    assert_eq!(refused.to_string(), "rejected: there are only 50 on it");

    let sent = commands.send(withdraw(30)).await?;
    assert_eq!(sent.version.get(), 2, "a rejected command leaves no event");
    println!("30? Done, at version {}", sent.version);
    Ok(())
}
