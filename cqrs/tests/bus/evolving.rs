//! Old events under commands and read models, on a store that keeps them.

use std::sync::Arc;

use cqrs::{
    Aggregate, Command, Commands, Decide, Event, Evolve, Keys, Projector, SendError, Settings, View,
};
use es_core::{
    Batch, ContentType, EventStore, Name, NewEvent, Recorded, Rejection, StreamId, Upcasters,
    Upcasting, World,
};
use es_sqlite::SqliteStore;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Serialize, Deserialize, Event)]
#[event(prefix = "purse")]
enum PurseEvent {
    #[event(version = 2, alias = "purse.filled")]
    PaidIn {
        cents: u64,
    },
    PaidOut {
        cents: u64,
    },
}

#[derive(Debug, Default, Clone, Aggregate, Serialize, Deserialize)]
struct Purse {
    cents: u64,
}

impl Evolve for Purse {
    type Event = PurseEvent;

    fn evolve(&mut self, event: &PurseEvent) {
        match event {
            PurseEvent::PaidIn { cents } => self.cents += cents,
            PurseEvent::PaidOut { cents } => self.cents -= cents,
        }
    }
}

impl View for Purse {
    const NAME: &'static str = "purses";
    type Key = String;

    fn keys(event: Recorded<'_, PurseEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

#[derive(Command)]
#[command(aggregate = Purse)]
struct PayOut {
    #[id]
    purse: String,
    cents: u64,
}

impl Decide<PayOut> for Purse {
    fn decide(&self, out: &PayOut) -> Result<Vec<PurseEvent>, Rejection> {
        match out.cents <= self.cents {
            true => Ok(vec![PurseEvent::PaidOut { cents: out.cents }]),
            false => Err(format!("there are only {} in it", self.cents).into()),
        }
    }
}

/// The first program counted whole euros, and noted who looked.
fn upcasters() -> Upcasters {
    let cents =
        |data: serde_json::Value| Ok(json!({ "cents": data["euros"].as_u64().map(|e| e * 100) }));
    Upcasters::new()
        .one_to_one(Name::from_static("purse.filled"), 1, cents)
        .dropping(Name::from_static("purse.seen"))
}

fn old(name: &'static str, payload: &'static str) -> NewEvent {
    NewEvent::raw(World::real().event_id(), Name::from_static(name), ContentType::JSON, payload)
}

fn filled() -> Batch {
    let purse = StreamId::new("purse", "ada").unwrap();
    Batch::to(purse)
        .event(old("purse.filled", r#"{"euros":5}"#))
        .event(old("purse.seen", r#"{"by":"eve"}"#))
}

fn pay_out(cents: u64) -> PayOut {
    PayOut { purse: "ada".into(), cents }
}

#[tokio::test]
async fn commands_and_read_models_see_old_events_as_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(folder.path().join("purse.db")).await.unwrap();
    file.append(filled()).await.unwrap();
    let store = Arc::new(Upcasting::new(file.clone(), upcasters()).unwrap());
    let commands = Commands::new(Arc::clone(&store));
    let sent = commands.send(pay_out(450)).await.unwrap();
    assert_eq!(sent.version.get(), 3, "what was dropped keeps its place");
    let refused = commands.send(pay_out(51)).await;
    assert!(
        matches!(refused, Err(SendError::Rejected(why)) if why.to_string().contains("only 50"))
    );
    let projector = Projector::new(store, file).view::<Purse>();
    projector.catch_up().await.unwrap();
    let row = projector.get::<Purse>(&"ada".into()).await.unwrap();
    assert_eq!(row.map(|purse| purse.cents), Some(50));
}

/// The unseen events that a conflict hands over are lifted too.
#[tokio::test]
async fn a_conflict_with_an_old_program_is_decided_again_on_new_events() {
    let folder = tempfile::tempdir().unwrap();
    let file = SqliteStore::open(folder.path().join("purse.db")).await.unwrap();
    file.append(filled()).await.unwrap();
    let store = Upcasting::new(file.clone(), upcasters()).unwrap();
    let settings = Settings::<Purse>::new().cache(10);
    let commands = Commands::builder(store).aggregate(settings).unwrap().build();
    commands.send(pay_out(500)).await.unwrap();
    // The old program is still running, and fills the purse behind the cache.
    file.append(filled()).await.unwrap();
    let sent = commands.send(pay_out(500)).await.unwrap();
    assert_eq!(sent.version.get(), 6);
}
