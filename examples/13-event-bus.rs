//! New: what the log holds is told to others over a broker, who handle it, fail, and are
//! given it back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use examples::{AccountEvent, Deposit};
use gesta::{
    Commands, Group, Projector, Relay, StartAt,
    bus::{Endpoint, EventBus, HandleError, Received, Redrive, RetryPolicy},
    memory::{MemoryBroker, MemoryStore, MemoryViews},
};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Another broker goes here, and nothing else changes.
    let broker = MemoryBroker::new();
    let bus = EventBus::new(broker.clone());
    let store = MemoryStore::new();

    // The log is the outbox: what is appended is told, in the order of each stream.
    let relay = Relay::new("accounts-told", broker).of::<AccountEvent>();
    let projector = Projector::new(store.clone(), MemoryViews::new());
    let telling = projector.relay(relay, StartAt::Beginning).start();

    // An endpoint is a group with a handler. This one has no stamps at first.
    let (has_stamps, (sent, mut letters)) = (Arc::new(AtomicBool::new(false)), mpsc::channel(16));
    let stamps = Arc::clone(&has_stamps);
    let write_to = move |received: Received<AccountEvent>| {
        let (sent, stamps) = (sent.clone(), Arc::clone(&stamps));
        async move {
            if !stamps.load(Ordering::SeqCst) {
                return Err(HandleError::transient("no stamps"));
            }
            let stream = received.message.key.unwrap_or_default();
            sent.send(format!("{stream}: {:?}", received.event)).await?;
            Ok(())
        }
    };
    let retry = RetryPolicy::new(2).first(Duration::from_millis(10));
    // What follows a letter that failed waits behind it: no account hears things twice or in
    // the wrong order.
    let letters_out = Endpoint::new("letters")?.to("account.*")?.retry(retry).parking();
    let writing = bus.subscribe(letters_out.handle(write_to)).await?;

    let commands = Commands::new(store);
    for amount in [10, 20, 30] {
        commands.send(Deposit::new("ada", amount)).await?;
    }

    // The first is tried twice and kept apart, the others stand behind it.
    let dead = bus.dead_letters(&Group::new("letters")?);
    while dead.count().await?.values().sum::<u64>() < 3 {
        tokio::task::yield_now().await;
    }
    for ((kind, reason), count) in dead.count().await? {
        println!("{count} {kind}: {reason}");
    }
    has_stamps.store(true, Ordering::SeqCst);
    let redriven = dead.redrive(Redrive::all()).await?;
    println!("{} given back", redriven.given_back);
    for _ in 0..3 {
        println!("{}", letters.recv().await.ok_or("the endpoint is gone")?);
    }

    // Nothing is left half-done.
    assert!(writing.drain().await.is_clean());
    telling.stop().await?;
    Ok(())
}
