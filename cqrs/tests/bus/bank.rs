//! A bank whose one rule is that no account goes below zero, with commands for
//! each thing that can go wrong around it.

use cqrs::{Aggregate, Command, Commands, Decide, Event, Evolve, Failure, SendError, Sent};
use es_core::{
    AggregateStoreExt, Claim, EventStore, EventStoreExt, NameError, Read, RecordedEvent, StreamId,
    stream_of,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "account")]
pub(crate) enum AccountEvent {
    Deposited {
        amount: i64,
    },
    Withdrawn {
        amount: i64,
    },
    Named {
        name: String,
    },
    /// Its fold panics.
    Cursed,
}

/// Signed, so that a broken rule shows.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize, Aggregate)]
#[aggregate(error = Refusal)]
pub(crate) struct Account {
    pub(crate) balance: i64,
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) balance: i64,
}

impl Evolve for Account {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
            AccountEvent::Named { name } => self.name = Some(name.clone()),
            AccountEvent::Cursed => panic!("the fold panics, as the test wants"),
        }
    }
}

impl Account {
    fn refuse(&self) -> Refusal {
        Refusal { balance: self.balance }
    }
}

macro_rules! commands {
    ($($(#[$doc:meta])* $command:ident { $($field:ident: $type:ty),* } |$account:pat_param, $this:pat_param| $decide:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Command)]
        #[command(aggregate = Account)]
        pub(crate) struct $command { #[id] pub(crate) account: String, $(pub(crate) $field: $type),* }

        impl Decide<$command> for Account {
            fn decide(&self, command: &$command) -> Result<Vec<AccountEvent>, Refusal> {
                let ($account, $this) = (self, command);
                $decide
            }
        }
    )+};
}

commands! {
    Deposit { amount: i64 } |_, this| Ok(vec![AccountEvent::Deposited { amount: this.amount }]);
    Withdraw { amount: i64 } |account, this| {
        if this.amount > account.balance { return Err(account.refuse()); }
        Ok(vec![AccountEvent::Withdrawn { amount: this.amount }])
    };
    /// Accepted, and nothing follows.
    Look { } |_, _| Ok(Vec::new());
    /// As many events as asked for, each a deposit of one.
    Save { times: usize } |_, this| Ok(vec![AccountEvent::Deposited { amount: 1 }; this.times]);
    /// The decision panics.
    Panic { } |_, _| panic!("the decision panics, as the test wants");
    /// The fold of its event panics.
    Curse { } |_, _| Ok(vec![AccountEvent::Cursed]);
}

/// Only on an account that has no money yet.
#[derive(Debug, Clone, Command)]
#[command(aggregate = Account, creates)]
pub(crate) struct Open {
    #[id]
    pub(crate) account: String,
    pub(crate) amount: i64,
}

impl Decide<Open> for Account {
    fn decide(&self, open: &Open) -> Result<Vec<AccountEvent>, Refusal> {
        if self.balance != 0 {
            return Err(self.refuse());
        }
        Ok(vec![AccountEvent::Deposited { amount: open.amount }])
    }
}

/// Takes a name that no other account may have.
#[derive(Debug, Clone)]
pub(crate) struct Rename {
    pub(crate) account: String,
    pub(crate) name: String,
}

impl Command for Rename {
    type Aggregate = Account;
    const NAME: &'static str = "rename";

    fn id(&self) -> &String {
        &self.account
    }

    fn claims(&self, stream: &StreamId) -> Result<Vec<Claim>, NameError> {
        Ok(vec![Claim::take("account-name", &self.name, stream.clone())?])
    }
}

impl Decide<Rename> for Account {
    fn decide(&self, rename: &Rename) -> Result<Vec<AccountEvent>, Refusal> {
        Ok(vec![AccountEvent::Named { name: rename.name.clone() }])
    }
}

pub(crate) type Answer = Result<Sent, SendError<Refusal>>;

pub(crate) fn deposit(account: &str, amount: i64) -> Deposit {
    Deposit { account: account.into(), amount }
}

pub(crate) fn withdraw(account: &str, amount: i64) -> Withdraw {
    Withdraw { account: account.into(), amount }
}

pub(crate) fn rename(account: &str, name: &str) -> Rename {
    Rename { account: account.into(), name: name.into() }
}

pub(crate) fn stream(account: &str) -> StreamId {
    stream_of::<Account>(&account.to_owned()).unwrap()
}

/// The state that a fold of the whole stream gives, whatever a bus remembers.
pub(crate) async fn balance<S: EventStore>(store: &S, account: &str) -> i64 {
    store.load::<Account>(&account.to_owned()).await.unwrap().state.balance
}

pub(crate) async fn history<S: EventStore>(store: &S, account: &str) -> Vec<RecordedEvent> {
    store.events(Read::stream(&stream(account))).await.unwrap()
}

/// Panics if the rule was broken at any moment of the history.
pub(crate) async fn assert_never_below_zero<S: EventStore>(store: &S, account: &str) {
    let mut replay = Account::default();
    for event in history(store, account).await {
        replay.evolve(&event.decode().unwrap().unwrap());
        assert!(replay.balance >= 0, "below zero at version {}", event.version);
    }
}

pub(crate) fn is_rejected(answer: &Answer) -> bool {
    matches!(answer, Err(SendError::Rejected(_)))
}

pub(crate) fn has_panicked(answer: &Answer) -> bool {
    matches!(answer, Err(SendError::Store(Failure::Panicked)))
}

pub(crate) fn cached<S: EventStore>(store: S) -> Commands {
    let settings = cqrs::Settings::<Account>::new().cache(100);
    Commands::builder(store).aggregate(settings).unwrap().build()
}
