use gesta::{Aggregate, Command, Decide, Event, Evolve};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What happens to an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "account")]
pub enum AccountEvent {
    /// Money came in.
    Deposited {
        /// How much.
        amount: u64,
    },
    /// Money went out.
    Withdrawn {
        /// How much.
        amount: u64,
    },
}

/// An account that cannot be overdrawn.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, Aggregate)]
#[aggregate(error = Overdrawn)]
pub struct Account {
    /// How much is on it.
    pub balance: u64,
}

/// Why a withdrawal is rejected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there are only {balance} on the account")]
pub struct Overdrawn {
    /// How much there is.
    pub balance: u64,
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

/// Puts money on an account.
#[derive(Debug, Command)]
pub struct Deposit {
    /// Which account.
    #[id(Account)]
    pub account: String,
    /// How much.
    pub amount: u64,
}

/// Takes money from an account.
#[derive(Debug, Command)]
pub struct Withdraw {
    /// Which account.
    #[id(Account)]
    pub account: String,
    /// How much.
    pub amount: u64,
}

impl Decide<Deposit> for Account {
    fn decide(&self, deposit: &Deposit) -> Result<Vec<AccountEvent>, Overdrawn> {
        Ok(vec![AccountEvent::Deposited { amount: deposit.amount }])
    }
}

impl Decide<Withdraw> for Account {
    fn decide(&self, withdraw: &Withdraw) -> Result<Vec<AccountEvent>, Overdrawn> {
        if withdraw.amount > self.balance {
            return Err(Overdrawn { balance: self.balance });
        }
        Ok(vec![AccountEvent::Withdrawn { amount: withdraw.amount }])
    }
}

impl Deposit {
    /// Puts `amount` on `account`.
    pub fn new(account: &str, amount: u64) -> Self {
        Self { account: account.into(), amount }
    }
}

impl Withdraw {
    /// Takes `amount` from `account`.
    pub fn new(account: &str, amount: u64) -> Self {
        Self { account: account.into(), amount }
    }
}
