//! An account with two commands and one rule.

use gesta::{Aggregate, Command, Commands, Decide, Event, Evolve, Rejection, sqlite::SqliteStore};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

#[derive(Default, Aggregate)]
struct Account {
    balance: u64,
}

impl Evolve for Account {
    type Event = AccountEvent;
    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
    }
}

#[derive(Command)]
struct Deposit {
    #[id(Account)]
    account: String,
    amount: u64,
}

impl Decide<Deposit> for Account {
    fn decide(&self, deposit: &Deposit) -> Result<Vec<AccountEvent>, Rejection> {
        Ok(vec![AccountEvent::Deposited { amount: deposit.amount }])
    }
}

#[derive(Command)]
struct Withdraw {
    #[id(Account)]
    account: String,
    amount: u64,
}

impl Decide<Withdraw> for Account {
    fn decide(&self, withdraw: &Withdraw) -> Result<Vec<AccountEvent>, Rejection> {
        if withdraw.amount > self.balance {
            return Err(format!("there are only {} on the account", self.balance).into());
        }
        Ok(vec![AccountEvent::Withdrawn { amount: withdraw.amount }])
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::temp_dir().join(format!("gesta-first-{}.db", std::process::id()));
    let commands = Commands::new(SqliteStore::open(path).await?);
    commands.send(Deposit { account: "ada".into(), amount: 50 }).await?;
    match commands.send(Withdraw { account: "ada".into(), amount: 70 }).await {
        Ok(sent) => println!("done: the account is at version {}", sent.version),
        Err(refused) => println!("{refused}"),
    }
    Ok(())
}
