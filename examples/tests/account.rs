//! How long a domain is: an account with two commands and one rule.

use gesta::{Commands, SendError, memory::MemoryStore};

mod domain {
    use gesta::{Aggregate, Command, Decide, Event, Evolve};
    use serde::{Deserialize, Serialize};

    // <account>
    #[derive(Serialize, Deserialize, Event)]
    #[event(prefix = "account")]
    pub(crate) enum AccountEvent {
        Deposited(u64),
        Withdrawn(u64),
    }

    #[derive(Default, Aggregate)]
    #[aggregate(error = &'static str)]
    pub(crate) struct Account(u64);

    impl Evolve for Account {
        type Event = AccountEvent;
        fn evolve(&mut self, event: &AccountEvent) {
            match event {
                AccountEvent::Deposited(amount) => self.0 += amount,
                AccountEvent::Withdrawn(amount) => self.0 -= amount,
            }
        }
    }

    #[derive(Command)]
    #[command(aggregate = Account)]
    pub(crate) struct Deposit(#[id] pub(crate) String, pub(crate) u64);

    #[derive(Command)]
    #[command(aggregate = Account)]
    pub(crate) struct Withdraw(#[id] pub(crate) String, pub(crate) u64);

    impl Decide<Deposit> for Account {
        fn decide(&self, deposit: &Deposit) -> Result<Vec<AccountEvent>, &'static str> {
            Ok(vec![AccountEvent::Deposited(deposit.1)])
        }
    }

    impl Decide<Withdraw> for Account {
        fn decide(&self, &Withdraw(_, sum): &Withdraw) -> Result<Vec<AccountEvent>, &'static str> {
            if sum > self.0 { Err("too much") } else { Ok(vec![AccountEvent::Withdrawn(sum)]) }
        }
    }
    // </account>
}

#[test]
fn an_account_takes_at_most_35_lines() {
    let (_, rest) = include_str!("account.rs").split_once("// <account>\n").expect("its start");
    let (account, _) = rest.split_once("// </account>").expect("its end");
    let lines = account.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 35, "it takes {lines} lines");
}

#[tokio::test]
async fn it_keeps_its_rule() {
    use domain::{Deposit, Withdraw};
    let commands = Commands::new(MemoryStore::new());
    commands.send(Deposit("ada".into(), 50)).await.expect("a deposit is never rejected");
    let refused = commands.send(Withdraw("ada".into(), 70)).await;
    assert!(matches!(refused, Err(SendError::Rejected("too much"))));
    commands.send(Withdraw("ada".into(), 30)).await.expect("there is enough");
}
