//! Which type writes which event name.

use cqrs::{Aggregate, Command, Commands, Decide, Event, Evolve, Failure, SendError, Settings};
use es_core::memory::MemoryStore;
use serde::{Deserialize, Serialize};

use crate::bank::{Account, deposit};

#[derive(Debug, Serialize, Deserialize, Event)]
#[event(prefix = "bell")]
pub(crate) enum BellEvent {
    Rung,
}

#[derive(Debug, Default, Aggregate)]
#[aggregate(error = String)]
pub(crate) struct Bell;

impl Evolve for Bell {
    type Event = BellEvent;

    fn evolve(&mut self, _: &BellEvent) {}
}

#[derive(Debug, Command)]
#[command(aggregate = Bell)]
pub(crate) struct Ring {
    #[id]
    pub(crate) bell: String,
}

impl Decide<Ring> for Bell {
    fn decide(&self, _: &Ring) -> Result<Vec<BellEvent>, String> {
        Ok(vec![BellEvent::Rung])
    }
}

/// It claims a name that the accounts of the bank have.
#[derive(Debug, Serialize, Deserialize, Event)]
#[event(name = "club.paid", alias = "account.deposited")]
struct Paid;

#[derive(Debug, Default, Aggregate)]
struct Club;

impl Evolve for Club {
    type Event = Paid;

    fn evolve(&mut self, _: &Paid) {}
}

#[derive(Debug, Command)]
#[command(aggregate = Club)]
struct Pay {
    #[id]
    club: String,
}

impl Decide<Pay> for Club {
    fn decide(&self, _: &Pay) -> Result<Vec<Paid>, es_core::Rejection> {
        Ok(vec![Paid])
    }
}

#[test]
fn two_types_that_claim_one_event_name_are_refused_at_the_start() {
    let builder = Commands::builder(MemoryStore::new());
    let builder = builder.aggregate(Settings::<Account>::new()).unwrap();
    let twice = builder.aggregate(Settings::<Club>::new()).unwrap_err();
    assert_eq!(twice.name, "account.deposited");
    assert!(twice.first.contains("AccountEvent") && twice.second.contains("Paid"), "{twice}");
}

#[tokio::test]
async fn two_types_that_claim_one_event_name_are_refused_at_the_first_command() {
    let commands = Commands::new(MemoryStore::new());
    commands.send(deposit("ada", 1)).await.unwrap();
    let answer = commands.send(Pay { club: "chess".into() }).await;
    assert!(matches!(answer, Err(SendError::Store(Failure::NameClaimedTwice(_)))), "{answer:?}");
    commands.send(Ring { bell: "north".into() }).await.unwrap();
    commands.send(deposit("ada", 1)).await.unwrap();
}

#[test]
fn one_type_may_be_set_twice() {
    let builder = Commands::builder(MemoryStore::new());
    let builder = builder.aggregate(Settings::<Account>::new()).unwrap();
    assert!(builder.aggregate(Settings::<Account>::new().cache(7)).is_ok());
}
