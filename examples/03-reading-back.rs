//! New: the log can be read back, by stream, and by what the events belong to.

use examples::{AccountEvent, Deposit, Withdraw};
use gesta::{Commands, EventStoreExt, Metadata, Read, StreamId, memory::MemoryStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    commands.send(Deposit::new("ada", 50)).await?;

    // What is sent through this bus carries the metadata into its events.
    let order = Metadata::new().correlation_id("order-7").user_id("ada");
    let for_order = commands.with(order.with("channel", "web"));
    for_order.send(Withdraw::new("ada", 30)).await?;
    for_order.send(Deposit::new("shop", 30)).await?;

    println!("everything about ada:");
    let ada = store.events(Read::stream(&StreamId::new("account", "ada")?)).await?;
    for event in &ada {
        let what: Option<AccountEvent> = event.decode()?;
        println!("  version {} at position {}: {what:?}", event.version, event.position);
    }
    assert_eq!(ada.len(), 2);
    assert_eq!(ada[0].decode()?, Some(AccountEvent::Deposited { amount: 50 }));
    assert_eq!(ada[0].payload, r#"{"amount":50}"#);

    println!("everything that order-7 led to:");
    let order = store.events(Read::all().correlated("order-7")).await?;
    for event in &order {
        let user = event.metadata.fields().user_id.as_deref().unwrap_or("nobody");
        println!("  {} in {}, by {user}", event.event_type, event.stream);
    }
    let streams: Vec<_> = order.iter().map(|event| event.stream.to_string()).collect();
    assert_eq!(streams, ["account-ada", "account-shop"]);
    assert_eq!(order[0].metadata.get("channel"), Some("web"));

    let last = store.events(Read::category("account")?.backwards().limit(1)).await?;
    assert_eq!(last[0].stream.id(), "shop");
    Ok(())
}
