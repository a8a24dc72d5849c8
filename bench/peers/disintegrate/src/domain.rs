//! A bank account as disintegrate wants it.

use disintegrate::{Decision, Event, StateMutate, StateQuery};
use serde::{Deserialize, Serialize};

/// Fills an event up to about 200 bytes of JSON.
const NOTE: &str = "standing order, monthly; entered by the night run and checked by hand \
                    on the next working day, filed";

#[derive(Clone, Debug, PartialEq, Eq, Event, Serialize, Deserialize)]
pub enum BankEvent {
    Opened {
        #[id]
        account: String,
        owner: String,
    },
    Deposited {
        #[id]
        account: String,
        amount: u64,
        reference: String,
        note: String,
    },
}

impl BankEvent {
    pub fn deposited(account: &str, number: u64) -> Self {
        Self::Deposited {
            account: account.to_owned(),
            amount: amount(number),
            reference: format!("REF-{number:012}"),
            note: NOTE.to_owned(),
        }
    }
}

/// What a deposit of this number is worth.
pub fn amount(number: u64) -> u64 {
    number % 100 + 1
}

#[derive(Clone, Debug, Default, StateQuery, Serialize, Deserialize)]
#[state_query(BankEvent)]
pub struct Account {
    #[id]
    account: String,
    pub open: bool,
    pub balance: u64,
    pub deposits: u64,
}

impl Account {
    pub fn new(account: &str) -> Self {
        Self { account: account.to_owned(), ..Self::default() }
    }
}

impl StateMutate for Account {
    fn mutate(&mut self, event: BankEvent) {
        match event {
            BankEvent::Opened { .. } => self.open = true,
            BankEvent::Deposited { amount, .. } => {
                self.balance += amount;
                self.deposits += 1;
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BankError {
    #[error("the account is open already")]
    Open,
    #[error("the account is not open")]
    NotOpen,
}

pub struct Open {
    pub account: String,
    pub owner: String,
}

impl Decision for Open {
    type Event = BankEvent;
    type StateQuery = Account;
    type Error = BankError;

    fn state_query(&self) -> Account {
        Account::new(&self.account)
    }

    fn process(&self, account: &Account) -> Result<Vec<BankEvent>, BankError> {
        if account.open {
            return Err(BankError::Open);
        }
        Ok(vec![BankEvent::Opened { account: self.account.clone(), owner: self.owner.clone() }])
    }
}

pub struct Deposit {
    pub account: String,
    pub number: u64,
}

impl Decision for Deposit {
    type Event = BankEvent;
    type StateQuery = Account;
    type Error = BankError;

    fn state_query(&self) -> Account {
        Account::new(&self.account)
    }

    fn process(&self, account: &Account) -> Result<Vec<BankEvent>, BankError> {
        if !account.open {
            return Err(BankError::NotOpen);
        }
        Ok(vec![BankEvent::deposited(&self.account, self.number)])
    }
}
