//! A bank account, as in the peers' programs.

use gesta::{Aggregate, Command, Decide, Event, Evolve, Keys, Recorded, View};
use serde::{Deserialize, Serialize};

/// Accounts that are opened before commands are sent.
pub(crate) const ACCOUNTS: usize = 1_000;

/// Fills an event up to about 200 bytes of JSON.
const NOTE: &str = "standing order, monthly; entered by the night run and checked by hand \
                    on the next working day, then filed under recurring payments";

#[derive(Serialize, Deserialize, Event)]
#[event(prefix = "account")]
pub(crate) enum AccountEvent {
    Opened { owner: String },
    Deposited { amount: u64, reference: String, note: String },
}

impl AccountEvent {
    pub(crate) fn deposited(number: u64) -> Self {
        Self::Deposited {
            amount: amount(number),
            reference: format!("REF-{number:012}"),
            note: NOTE.to_owned(),
        }
    }
}

/// What a deposit of this number is worth.
pub(crate) fn amount(number: u64) -> u64 {
    number % 100 + 1
}

/// The id of the account with this number.
pub(crate) fn account(number: usize) -> String {
    format!("{number:06}")
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, Aggregate)]
#[aggregate(error = &'static str)]
pub(crate) struct Account {
    open: bool,
    balance: u64,
    pub(crate) deposits: u64,
}

impl Evolve for Account {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened { .. } => self.open = true,
            AccountEvent::Deposited { amount, .. } => {
                self.balance += amount;
                self.deposits += 1;
            }
        }
    }
}

#[derive(Command)]
#[command(aggregate = Account)]
pub(crate) struct Open {
    #[id]
    pub(crate) account: String,
    pub(crate) owner: String,
}

impl Decide<Open> for Account {
    fn decide(&self, open: &Open) -> Result<Vec<AccountEvent>, &'static str> {
        if self.open {
            return Err("the account is open already");
        }
        Ok(vec![AccountEvent::Opened { owner: open.owner.clone() }])
    }
}

#[derive(Command)]
#[command(aggregate = Account)]
pub(crate) struct Deposit {
    #[id]
    pub(crate) account: String,
    pub(crate) number: u64,
}

impl Decide<Deposit> for Account {
    fn decide(&self, deposit: &Deposit) -> Result<Vec<AccountEvent>, &'static str> {
        if !self.open {
            return Err("the account is not open");
        }
        Ok(vec![AccountEvent::deposited(deposit.number)])
    }
}

/// The read model: what stands on each account.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Balance {
    pub(crate) balance: u64,
}

impl Evolve for Balance {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        if let AccountEvent::Deposited { amount, .. } = event {
            self.balance += amount;
        }
    }
}

impl View for Balance {
    const NAME: &'static str = "balances";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}
