//! A small domain to try things on.

use es_core::{Aggregate, Event, EventType, Evolve};
use serde::{Deserialize, Serialize};

/// What happens to an account.
///
/// ```
/// use es_core::Event;
/// use es_testkit::sample::AccountEvent;
///
/// assert_eq!(AccountEvent::Deposited { amount: 5 }.event_type().name, "account.deposited");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountEvent {
    /// Somebody opened it.
    Opened {
        /// Whose it is.
        owner: String,
    },
    /// Money came.
    Deposited {
        /// How much.
        amount: u64,
    },
    /// Money went.
    Withdrawn {
        /// How much.
        amount: u64,
    },
}

impl Event for AccountEvent {
    const TYPES: &'static [EventType] = &[
        EventType::new("account.opened"),
        EventType::new("account.deposited"),
        EventType::new("account.withdrawn"),
    ];

    fn index(&self) -> usize {
        match self {
            Self::Opened { .. } => 0,
            Self::Deposited { .. } => 1,
            Self::Withdrawn { .. } => 2,
        }
    }
}

/// An account, with a trail that tells in which order its events came.
///
/// ```
/// use es_core::Evolve;
/// use es_testkit::sample::{Account, AccountEvent};
///
/// let mut account = Account::default();
/// account.evolve(&AccountEvent::Deposited { amount: 5 });
/// assert_eq!(account.balance, 5);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What is left.
    pub balance: u64,
    /// A hash of all events in their order.
    pub trail: u64,
}

/// More was asked for than there is.
///
/// ```
/// use es_testkit::sample::Overdrawn;
///
/// assert_eq!(Overdrawn { balance: 3 }, Overdrawn { balance: 3 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdrawn {
    /// What there is.
    pub balance: u64,
}

impl Evolve for Account {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        let (factor, amount) = match event {
            AccountEvent::Opened { owner } => (3, owner.len() as u64),
            AccountEvent::Deposited { amount } => (5, *amount),
            AccountEvent::Withdrawn { amount } => (7, *amount),
        };
        self.trail = self.trail.wrapping_mul(31).wrapping_add(factor * amount + factor);
        match event {
            AccountEvent::Opened { .. } => {}
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => {
                self.balance = self.balance.saturating_sub(*amount);
            }
        }
    }
}

impl Aggregate for Account {
    const CATEGORY: &'static str = "account";
    const FINGERPRINT: u64 = 0xacc0;
    type Id = String;
    type Error = Overdrawn;
}

impl Account {
    /// Takes money out, if there is enough.
    ///
    /// # Errors
    ///
    /// [`Overdrawn`] if there is not.
    pub fn withdraw(&self, amount: u64) -> Result<Vec<AccountEvent>, Overdrawn> {
        if amount > self.balance {
            return Err(Overdrawn { balance: self.balance });
        }
        Ok(vec![AccountEvent::Withdrawn { amount }])
    }
}
