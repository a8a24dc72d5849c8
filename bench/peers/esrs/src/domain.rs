//! A bank account as esrs wants it.

use esrs::Aggregate;
use serde::{Deserialize, Serialize};

/// Fills an event up to about 200 bytes of JSON.
const NOTE: &str = "standing order, monthly; entered by the night run and checked by hand \
                    on the next working day, then filed under recurring payments";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum BankEvent {
    Opened { owner: String },
    Deposited { amount: u64, reference: String, note: String },
}

impl BankEvent {
    pub fn deposited(number: u64) -> Self {
        Self::Deposited {
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

pub enum BankCommand {
    Open { owner: String },
    Deposit { number: u64 },
}

#[derive(Debug, thiserror::Error)]
pub enum BankError {
    #[error("the account is open already")]
    Open,
    #[error("the account is not open")]
    NotOpen,
}

#[derive(Debug, Default)]
pub struct AccountState {
    pub open: bool,
    pub balance: u64,
    pub deposits: u64,
}

pub struct Account;

impl Aggregate for Account {
    const NAME: &'static str = "account";
    type State = AccountState;
    type Command = BankCommand;
    type Event = BankEvent;
    type Error = BankError;

    fn handle_command(
        state: &AccountState,
        command: BankCommand,
    ) -> Result<Vec<BankEvent>, BankError> {
        let event = match command {
            BankCommand::Open { .. } if state.open => return Err(BankError::Open),
            BankCommand::Open { owner } => BankEvent::Opened { owner },
            BankCommand::Deposit { .. } if !state.open => return Err(BankError::NotOpen),
            BankCommand::Deposit { number } => BankEvent::deposited(number),
        };
        Ok(vec![event])
    }

    fn apply_event(mut state: AccountState, event: BankEvent) -> AccountState {
        match event {
            BankEvent::Opened { .. } => state.open = true,
            BankEvent::Deposited { amount, .. } => {
                state.balance += amount;
                state.deposits += 1;
            }
        }
        state
    }
}
