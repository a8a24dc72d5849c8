//! New: events that an older program wrote are read as today's.

use std::error::Error;

use gesta::{
    Aggregate, AggregateStoreExt, Batch, ContentType, Event, EventStore, EventStoreExt, Evolve,
    Name, NewEvent, Read, StreamId, Upcasters, Upcasting, World, memory::MemoryStore,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Today's form. Once it was called `account.paid_in` and had no currency.
#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "account")]
enum AccountEvent {
    #[event(version = 2, alias = "account.paid_in")]
    Deposited { amount: u64, currency: String },
}

#[derive(Debug, Default, Aggregate)]
struct Account {
    euros: u64,
}

impl Evolve for Account {
    type Event = AccountEvent;
    fn evolve(&mut self, AccountEvent::Deposited { amount, currency }: &AccountEvent) {
        if currency == "EUR" {
            self.euros += amount;
        }
    }
}

/// A rule stands at a type and a version; it lifts the payload to the next one.
fn upcasters() -> Upcasters {
    let paid_in = Name::from_static("account.paid_in");
    let viewed = Name::from_static("account.viewed");
    let in_euros = |mut data: serde_json::Value| {
        data["currency"] = json!("EUR");
        Ok(data)
    };
    Upcasters::new().one_to_one(paid_in, 1, in_euros).dropping(viewed)
}

/// What the older program wrote.
async fn write_old(store: &impl EventStore) -> Result<(), Box<dyn Error>> {
    let old = |name, payload: &'static str| {
        NewEvent::raw(World::real().event_id(), name, ContentType::JSON, payload)
    };
    let batch = Batch::to(StreamId::new("account", "ada")?)
        .event(old(Name::new("account.paid_in")?, r#"{"amount":50}"#))
        .event(old(Name::new("account.viewed")?, r#"{"by":"eve"}"#));
    store.append(batch).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let recorded = MemoryStore::new();
    write_old(&recorded).await?;
    let ada = String::from("ada");

    // Without the rules a load stops at what it cannot read: nothing is skipped.
    let refused = recorded.load::<Account>(&ada).await.err().ok_or("old payloads do not load")?;
    let why = refused.source().and_then(|source| source.source()).ok_or("serde says why")?;
    println!("without rules: {refused}, {why}");

    // A store around the store. It reads old as new; what is recorded stays.
    let store = Upcasting::new(recorded.clone(), upcasters())?;
    let account = store.load::<Account>(&ada).await?;
    assert_eq!((account.state.euros, account.version.get()), (50, 2));
    println!("with rules: {:?}", account.state);

    let new = AccountEvent::Deposited { amount: 5, currency: "EUR".into() };
    store.commit::<Account>(&ada, account.version, &[new]).await?;
    assert_eq!(store.load::<Account>(&ada).await?.state.euros, 55);

    let events = recorded.events(Read::all()).await?;
    let names: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(names, ["account.paid_in", "account.viewed", "account.deposited"]);
    assert_eq!(events[0].payload, r#"{"amount":50}"#);
    Ok(())
}
