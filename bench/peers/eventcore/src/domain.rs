//! A bank account as eventcore wants it.

use eventcore::{Command, CommandError, CommandLogic, Event, NewEvents, StreamId, require};
use serde::{Deserialize, Serialize};

/// Fills an event up to about 200 bytes of JSON.
const NOTE: &str = "standing order, monthly; entered by the night run and checked by hand \
                    on the next working day, filed";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum BankEvent {
    Opened { account: StreamId, owner: String },
    Deposited { account: StreamId, amount: u64, reference: String, note: String },
}

impl BankEvent {
    pub fn deposited(account: &StreamId, number: u64) -> Self {
        Self::Deposited {
            account: account.clone(),
            amount: amount(number),
            reference: reference(number),
            note: NOTE.to_owned(),
        }
    }
}

impl Event for BankEvent {
    fn stream_id(&self) -> &StreamId {
        match self {
            Self::Opened { account, .. } | Self::Deposited { account, .. } => account,
        }
    }

    fn event_type_name() -> &'static str {
        "BankEvent"
    }
}

/// What a deposit of this number is worth.
pub fn amount(number: u64) -> u64 {
    number % 100 + 1
}

fn reference(number: u64) -> String {
    format!("REF-{number:012}")
}

#[derive(Clone, Debug, Default)]
pub struct Account {
    pub open: bool,
    pub balance: u64,
    pub deposits: u64,
}

impl Account {
    pub fn apply(mut self, event: &BankEvent) -> Self {
        match event {
            BankEvent::Opened { .. } => self.open = true,
            BankEvent::Deposited { amount, .. } => {
                self.balance += amount;
                self.deposits += 1;
            }
        }
        self
    }
}

#[derive(Command)]
pub struct Open {
    #[stream]
    pub account: StreamId,
    pub owner: String,
}

impl CommandLogic for Open {
    type Event = BankEvent;
    type State = Account;

    fn apply(&self, state: Account, event: &BankEvent) -> Account {
        state.apply(event)
    }

    fn handle(&self, state: Account) -> Result<NewEvents<BankEvent>, CommandError> {
        require!(!state.open, "the account is open already");
        let event = BankEvent::Opened { account: self.account.clone(), owner: self.owner.clone() };
        Ok(vec![event].into())
    }
}

#[derive(Command)]
pub struct Deposit {
    #[stream]
    pub account: StreamId,
    pub number: u64,
}

impl CommandLogic for Deposit {
    type Event = BankEvent;
    type State = Account;

    fn apply(&self, state: Account, event: &BankEvent) -> Account {
        state.apply(event)
    }

    fn handle(&self, state: Account) -> Result<NewEvents<BankEvent>, CommandError> {
        require!(state.open, "the account is not open");
        Ok(vec![BankEvent::deposited(&self.account, self.number)].into())
    }
}
