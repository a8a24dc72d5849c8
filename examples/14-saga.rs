//! New: work of several steps, at several places, that comes to its end or is undone,
//! whatever fails or crashes.

use examples::{Deposit, Withdraw};
use gesta::{
    Commands,
    memory::{MemoryStore, MemoryTimers},
    saga::{Definition, Operation, Path, Phase, SagaId, Sagas, Step, StepError, Work},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the steps read, and what they bring.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Trip {
    who: String,
    price: u64,
    room: Option<u32>,
    car: Option<String>,
}

/// Hotel and car beside each other; then the money, after which nothing is undone; then a
/// ticket, which is sent until it has arrived.
fn trip(commands: &Commands) -> Definition<Trip> {
    let hotel = Step::new("hotel", |work: Work<Trip>| async move {
        // The key is the same in each try: the hotel tells them from each other.
        println!("  a room for {}, key {}", work.data.who, &work.key.to_string()[..8]);
        Ok(7)
    })
    .extend(|trip, room| trip.room = Some(room))
    .compensate(|work| async move {
        println!("  room {:?} is free again", work.data.room);
        Ok(())
    });
    let car = Step::new("car", |_: Work<Trip>| async { Ok("a small one".to_owned()) })
        .extend(|trip, car| trip.car = Some(car))
        .compensate(|work| async move {
            println!("  the car goes back: {:?}", work.data.car);
            Ok(())
        });
    // A command, decided once, however often it is sent.
    let pay = Step::send("pay", commands, |trip: &Trip| Withdraw::new(&trip.who, trip.price));
    let ticket = Step::new("ticket", |work: Work<Trip>| async move {
        match work.data.who.as_str() {
            "eve" => Err(StepError::refused("nobody lives there")),
            who => {
                println!("  a ticket for {who}");
                Ok(())
            }
        }
    });
    let path = Path::new()
        .all([Path::of(hotel), Path::of(car)])
        .step(pay.pivot())
        .step(ticket.retriable());
    Definition::new("trip", 1, path).expect("what follows the pivot is retriable")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    for who in ["ada", "bob", "eve"] {
        commands.send(Deposit::new(who, if who == "bob" { 10 } else { 500 })).await?;
    }

    // On a store that outlives the process a saga does too: another process goes on with it.
    let sagas = Sagas::new(store, MemoryTimers::new()).with(trip(&commands))?;
    let running = sagas.start().await?;
    for who in ["ada", "bob", "eve"] {
        println!("{who} travels");
        let id = SagaId::new("trip", who)?;
        let trip = Trip { who: who.into(), price: 300, ..Trip::default() };
        sagas.begin(&id, &trip).await?;
        let still = |phase: Phase| phase.is_terminal() || phase == Phase::Suspended;
        let phase = sagas.reached(&id, still).await?;
        println!("  {phase}: {:?}", sagas.state(&id).await?.reason);
    }

    // Eve has paid and has no ticket: somebody has to say what to do, and is recorded.
    let eve = SagaId::new("trip", "eve")?;
    let skip = Operation::Skip { step: "ticket".into(), output: Value::Null };
    sagas.operate(&eve, skip, "the desk", "she has fetched it herself").await?;
    sagas.ended(&eve).await?;
    println!("{}", sagas.story(&eve).await?);
    running.stop().await;
    Ok(())
}
