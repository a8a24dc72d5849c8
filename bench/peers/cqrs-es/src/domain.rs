//! A bank account as cqrs-es wants it.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};

/// Fills an event up to about 200 bytes of JSON.
const NOTE: &str = "standing order, monthly; entered by the night run and checked by hand \
                    on the next working day, then filed under recurring payments";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl DomainEvent for BankEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Opened { .. } => "Opened".to_owned(),
            Self::Deposited { .. } => "Deposited".to_owned(),
        }
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
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

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Account {
    pub open: bool,
    pub balance: u64,
    pub deposits: u64,
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = BankCommand;
    type Event = BankEvent;
    type Error = BankError;
    type Services = ();

    async fn handle(
        &mut self,
        command: BankCommand,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), BankError> {
        let event = match command {
            BankCommand::Open { .. } if self.open => return Err(BankError::Open),
            BankCommand::Open { owner } => BankEvent::Opened { owner },
            BankCommand::Deposit { .. } if !self.open => return Err(BankError::NotOpen),
            BankCommand::Deposit { number } => BankEvent::deposited(number),
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: BankEvent) {
        match event {
            BankEvent::Opened { .. } => self.open = true,
            BankEvent::Deposited { amount, .. } => {
                self.balance += amount;
                self.deposits += 1;
            }
        }
    }
}
