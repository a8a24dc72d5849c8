//! New: what holds for every command stands in layers around the bus.

use std::time::Duration;

use examples::Deposit;
use gesta::{Commands, Guard, Metadata, SendError, World, memory::MemoryStore};
use tower::{
    ServiceExt,
    layer::layer_fn,
    timeout::{TimeoutLayer, error::Elapsed},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A guard lets commands pass or not. It sees the name, the stream, the
    // metadata, and the command itself.
    let known_users = Guard::new(|dispatch| match &dispatch.metadata().fields().user_id {
        Some(_) => Ok(()),
        None => Err("who are you?".into()),
    });
    let small_sums = Guard::new(|dispatch| match dispatch.command::<Deposit>() {
        Some(deposit) if deposit.amount > 1_000 => Err("that is too much for one day".into()),
        _ => Ok(()),
    });
    // A layer of one's own: this one makes the bus slow.
    let slow = layer_fn(|bus: tower::util::BoxCloneSyncService<_, _, _>| {
        bus.map_future(|answer| async {
            World::real().sleep(Duration::from_secs(60)).await;
            answer.await
        })
    });

    // The last layer added is the first that a command meets.
    let commands =
        Commands::builder(MemoryStore::new()).layer(small_sums).layer(known_users.clone()).build();
    let of_ada = commands.with(Metadata::new().user_id("ada"));

    let Err(SendError::Refused(why)) = commands.send(Deposit::new("ada", 5)).await else {
        return Err("a stranger must be refused".into());
    };
    println!("a stranger: {why}");
    let Err(SendError::Refused(why)) = of_ada.send(Deposit::new("ada", 5_000)).await else {
        return Err("a large sum must be refused".into());
    };
    println!("ada, with 5000: {why}");
    let sent = of_ada.send(Deposit::new("ada", 5)).await?;
    assert_eq!(sent.version.get(), 1, "what was refused left no event");
    println!("ada, with 5: version {}", sent.version);

    // Any tower layer fits, such as its timeout.
    let hasty = Commands::builder(MemoryStore::new())
        .layer(slow)
        .layer(TimeoutLayer::new(Duration::from_millis(20)))
        .layer(known_users)
        .build();
    let hasty = hasty.with(Metadata::new().user_id("ada"));
    let Err(SendError::Refused(why)) = hasty.send(Deposit::new("ada", 5)).await else {
        return Err("a minute is too long".into());
    };
    assert!(why.is::<Elapsed>());
    println!("ada, in a hurry: {why}");
    Ok(())
}
