//! How long a domain is: an account with two commands and one rule.

use gesta::{
    Aggregate, Command, Commands, Decide, Event, Evolve, Rejection, SendError, memory::MemoryStore,
};
use serde::{Deserialize, Serialize};

// <one event>
#[derive(Serialize, Deserialize, Event)]
#[event(name = "account.changed")]
struct Changed(i64);

#[derive(Default, Aggregate)]
struct Account(i64);

impl Evolve for Account {
    type Event = Changed;
    fn evolve(&mut self, changed: &Changed) {
        self.0 += changed.0;
    }
}

#[derive(Command)]
struct Deposit(#[id(Account)] String, i64);

#[derive(Command)]
struct Withdraw(#[id(Account)] String, i64);

impl Decide<Deposit> for Account {
    fn decide(&self, deposit: &Deposit) -> Result<Vec<Changed>, Rejection> {
        Ok(vec![Changed(deposit.1)])
    }
}

impl Decide<Withdraw> for Account {
    fn decide(&self, &Withdraw(_, sum): &Withdraw) -> Result<Vec<Changed>, Rejection> {
        (sum <= self.0).then(|| vec![Changed(-sum)]).ok_or("not enough money".into())
    }
}
// </one event>

/// The same with an event for each thing that can happen.
mod two_events {
    use super::*;

    // <two events>
    #[derive(Serialize, Deserialize, Event)]
    #[event(prefix = "account")]
    pub(crate) enum AccountEvent {
        Deposited(u64),
        Withdrawn(u64),
    }

    #[derive(Default, Aggregate)]
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
    pub(crate) struct Deposit(#[id(Account)] pub(crate) String, pub(crate) u64);

    #[derive(Command)]
    pub(crate) struct Withdraw(#[id(Account)] pub(crate) String, pub(crate) u64);

    impl Decide<Deposit> for Account {
        fn decide(&self, deposit: &Deposit) -> Result<Vec<AccountEvent>, Rejection> {
            Ok(vec![AccountEvent::Deposited(deposit.1)])
        }
    }

    impl Decide<Withdraw> for Account {
        fn decide(&self, &Withdraw(_, sum): &Withdraw) -> Result<Vec<AccountEvent>, Rejection> {
            let enough = sum <= self.0;
            enough.then(|| vec![AccountEvent::Withdrawn(sum)]).ok_or("not enough money".into())
        }
    }
    // </two events>
}

#[test]
fn an_account_takes_at_most_25_lines() {
    assert!(lines("one event") <= 25, "it takes {} lines", lines("one event"));
}

#[test]
fn with_two_events_it_takes_at_most_32() {
    assert!(lines("two events") <= 32, "it takes {} lines", lines("two events"));
}

/// How many lines there are between the marks, without the blank ones.
fn lines(name: &str) -> usize {
    let (start, end) = (format!("// <{name}>\n"), format!("// </{name}>\n"));
    let (_, rest) = include_str!("account.rs").split_once(&start).expect("its start");
    let (account, _) = rest.split_once(&end).expect("its end");
    account.lines().filter(|line| !line.trim().is_empty()).count()
}

macro_rules! it_keeps_its_rule {
    ($account:ident) => {
        let commands = Commands::new(MemoryStore::new());
        let deposit = $account::Deposit("ada".into(), 50);
        commands.send(deposit).await.expect("a deposit is never rejected");
        let refused = commands.send($account::Withdraw("ada".into(), 70)).await;
        let reason = Rejection::from("not enough money");
        assert!(matches!(refused, Err(SendError::Rejected(refused)) if refused == reason));
        commands.send($account::Withdraw("ada".into(), 50)).await.expect("there is enough");
        let refused = commands.send($account::Withdraw("ada".into(), 1)).await;
        assert!(matches!(refused, Err(SendError::Rejected(_))), "nothing is left");
    };
}

#[tokio::test]
async fn it_keeps_its_rule() {
    it_keeps_its_rule!(self);
}

#[tokio::test]
async fn with_two_events_it_keeps_its_rule() {
    it_keeps_its_rule!(two_events);
}
