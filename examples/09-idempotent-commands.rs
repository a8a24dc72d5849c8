//! New: a command with an id happens once, however often it is sent.

use examples::{Account, Deposit, Withdraw};
use gesta::{AggregateStoreExt, AppendId, Commands, memory::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());

    // The id comes from what the caller knows: a request id, a line of a file.
    let payment = AppendId::derive("payment-4711");
    let first = commands.once(payment).send(Deposit::new("ada", 50)).await?;
    assert!(!first.repeated);

    // The answer was lost, so the caller sends it again, and gets the first
    // result back.
    let again = commands.once(payment).send(Deposit::new("ada", 50)).await?;
    assert!(again.repeated);
    assert_eq!((again.version, again.position), (first.version, first.position));

    // So it does if the world has moved on. Decided anew this one would be
    // rejected: the account is empty by its own first try.
    let cash = AppendId::derive("cash-1");
    commands.once(cash).send(Withdraw::new("ada", 50)).await?;
    let again = commands.once(cash).send(Withdraw::new("ada", 50)).await?;
    assert!(again.repeated);

    // Without an id each sending is a command of its own.
    commands.send(Deposit::new("ada", 1)).await?;
    commands.send(Deposit::new("ada", 1)).await?;

    let account = store.load::<Account>(&"ada".into()).await?;
    assert_eq!((account.state.balance, account.version.get()), (2, 4));
    println!("six commands, {} events, {} left", account.version, account.state.balance);
    Ok(())
}
