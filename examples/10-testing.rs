//! New: given, when, then; and a clock that stands still until it is moved.
//!
//! These are tests, so they belong under `#[test]`; here they run by hand.

use std::time::Duration;

use es_testkit::{TestClock, given};
use examples::{
    Account,
    AccountEvent::{Deposited, Withdrawn},
    Deposit, Overdrawn, Withdraw,
};
use gesta::{Commands, Decide, EventStoreExt, Read, World, memory::MemoryStore};

/// Only the aggregate's own functions run: no store, no clock, no tasks.
fn an_account_cannot_be_overdrawn() {
    given::<Account>([Deposited { amount: 50 }])
        .when(|account| account.decide(&Withdraw::new("ada", 70)))
        .then_rejected(Overdrawn { balance: 50 });
}

/// What was decided is the past of the next decision.
fn what_is_left_can_be_withdrawn() {
    given::<Account>([Deposited { amount: 50 }])
        .when(|account| account.decide(&Withdraw::new("ada", 30)))
        .then([Withdrawn { amount: 30 }])
        .then_state(|account| account.balance == 20)
        .when(|account| account.decide(&Withdraw::new("ada", 20)))
        .then([Withdrawn { amount: 20 }]);
}

/// Nobody waits for a day to pass.
async fn events_are_recorded_when_they_happen() -> Result<(), Box<dyn std::error::Error>> {
    let day = Duration::from_secs(24 * 60 * 60);
    let clock = TestClock::new();
    let world = World::real().with_clock(clock.clone());
    let store = MemoryStore::in_world(world.clone());
    let commands = Commands::builder(store.clone()).world(world).build();

    commands.send(Deposit::new("ada", 50)).await?;
    clock.advance(day);
    commands.send(Withdraw::new("ada", 20)).await?;

    let second_day = TestClock::START + day;
    let events = store.events(Read::all().since(second_day)).await?;
    assert_eq!(events.len(), 1);
    assert_eq!((&*events[0].event_type, events[0].recorded_at), ("account.withdrawn", second_day));
    println!("on {}: {}", second_day.date_naive(), events[0].event_type);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    an_account_cannot_be_overdrawn();
    what_is_left_can_be_withdrawn();
    events_are_recorded_when_they_happen().await?;
    println!("all as it is due");
    Ok(())
}
