//! New: one decision about two accounts. Both change, or neither does.

use examples::{Account, AccountEvent, Deposit, Overdrawn};
use gesta::{AggregateStoreExt, Commands, DecideTogether, SendError, memory::MemoryStore};

struct Transfer {
    from: &'static str,
    to: &'static str,
    amount: u64,
}

impl DecideTogether for Transfer {
    type Aggregates = (Account, Account);
    type Error = Overdrawn;

    fn ids(&self) -> (String, String) {
        (self.from.into(), self.to.into())
    }

    fn decide(
        &self,
        (from, _): (&Account, &Account),
    ) -> Result<(Vec<AccountEvent>, Vec<AccountEvent>), Overdrawn> {
        let amount = self.amount;
        if amount > from.balance {
            return Err(Overdrawn { balance: from.balance });
        }
        let (out, into) = (AccountEvent::Withdrawn { amount }, AccountEvent::Deposited { amount });
        Ok((vec![out], vec![into]))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    commands.send(Deposit::new("ada", 50)).await?;

    // Two senders, six transfers of 10, and an account of 50.
    let transfer = |to| commands.send_together(Transfer { from: "ada", to, amount: 10 });
    let (to_bob, to_cyd) = tokio::join!(
        async { [transfer("bob").await, transfer("bob").await, transfer("bob").await] },
        async { [transfer("cyd").await, transfer("cyd").await, transfer("cyd").await] },
    );
    let outcomes: Vec<_> = to_bob.into_iter().chain(to_cyd).collect();
    let rejected = |outcome: &&Result<_, _>| matches!(outcome, Err(SendError::Rejected(_)));
    assert_eq!(outcomes.iter().filter(rejected).count(), 1);

    let mut total = 0;
    for name in ["ada", "bob", "cyd"] {
        let balance = store.load::<Account>(&name.to_owned()).await?.state.balance;
        println!("{name} has {balance}");
        total += balance;
    }
    assert_eq!(total, 50, "no money is made or lost");
    Ok(())
}
