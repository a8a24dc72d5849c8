//! An event, an aggregate, a command: the smallest program there is.

use gesta::{
    Aggregate, AggregateStoreExt, Command, Commands, Decide, Event, Evolve, memory::MemoryStore,
};
use serde::{Deserialize, Serialize};

/// What can happen. The log keeps `account.deposited` and `{"amount":50}`.
#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    Deposited { amount: u64 },
}

/// What decisions look at: a fold over the events of one account.
#[derive(Default, Aggregate)]
struct Account {
    balance: u64,
}

impl Evolve for Account {
    type Event = AccountEvent;
    fn evolve(&mut self, AccountEvent::Deposited { amount }: &AccountEvent) {
        self.balance += amount;
    }
}

/// What somebody wants.
#[derive(Command)]
struct Deposit {
    #[id(Account)]
    account: String,
    amount: u64,
}

/// What follows from it.
impl Decide<Deposit> for Account {
    fn decide(&self, deposit: &Deposit) -> Result<Vec<AccountEvent>, Self::Error> {
        Ok(vec![AccountEvent::Deposited { amount: deposit.amount }])
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let ada = String::from("ada");

    let first = commands.send(Deposit { account: ada.clone(), amount: 50 }).await?;
    let second = commands.send(Deposit { account: ada.clone(), amount: 20 }).await?;
    assert_eq!((first.version.get(), second.version.get()), (1, 2));

    let account = store.load::<Account>(&ada).await?;
    assert_eq!(account.state.balance, 70);
    println!("ada has {} after {} events", account.state.balance, account.version);
    Ok(())
}
