//! What others are told of the log.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use cqrs::{Commands, FailureClass, ModelSettings, ProjectionError, Projector, Relay, StartAt};
use es_core::{
    Address, EventStoreExt, Group, Message, Publisher, Read, StoreError, StoreErrorKind,
    memory::{MemoryStore, MemoryViews},
};
use parking_lot::Mutex;

use crate::{
    bank::{AccountEvent, deposit},
    workers::Turnover,
};

/// Takes down what it is told, unless it is to fail.
#[derive(Clone, Default)]
pub(crate) struct Town {
    pub(crate) told: Arc<Mutex<Vec<(Address, Message)>>>,
    fails: Arc<Mutex<VecDeque<StoreErrorKind>>>,
    /// Takes no message with this key.
    refuses: Arc<Mutex<Option<String>>>,
    /// Takes no message with this id.
    pub(crate) refuses_id: Arc<Mutex<Option<String>>>,
}

impl Town {
    fn told(&self) -> Vec<(String, String)> {
        let told = self.told.lock();
        let of = |(to, message): &(Address, Message)| {
            (to.to_string(), message.key.clone().unwrap_or_default())
        };
        told.iter().map(of).collect()
    }

    /// The ids of what was told of a stream, in order, each once.
    fn of(&self, stream: &str) -> Vec<String> {
        let told = self.told.lock();
        let of = told.iter().filter(|(_, message)| message.key.as_deref() == Some(stream));
        let mut ids: Vec<_> = of.map(|(_, message)| message.id.clone()).collect();
        ids.dedup();
        ids
    }
}

#[async_trait]
impl Publisher for Town {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        for message in messages {
            let by_key = message.key.is_some() && *self.refuses.lock() == message.key;
            if by_key || self.refuses_id.lock().as_ref() == Some(&message.id) {
                return Err(StoreError::new(StoreErrorKind::Invalid, "not a word of this"));
            }
            self.told.lock().push((to.clone(), message));
            if let Some(kind) = self.fails.lock().pop_front() {
                return Err(StoreError::new(kind, "the line is dead"));
            }
        }
        Ok(())
    }
}

fn relay(town: &Town) -> Relay {
    Relay::new("town-crier", town.clone()).of::<AccountEvent>()
}

fn relaying(store: &MemoryStore, views: &MemoryViews, town: &Town) -> Projector<MemoryViews> {
    let projector = Projector::new(store.clone(), views.clone());
    projector.relay(relay(town), StartAt::Beginning)
}

async fn deposits(store: &MemoryStore, account: &str, count: usize) {
    let commands = Commands::new(store.clone());
    for _ in 0..count {
        commands.send(deposit(account, 1)).await.unwrap();
    }
}

async fn ids(store: &MemoryStore, account: &str) -> Vec<String> {
    let events = store.events(Read::stream(&crate::bank::stream(account))).await.unwrap();
    events.into_iter().map(|event| event.id.to_string()).collect()
}

#[tokio::test]
async fn what_the_log_holds_is_told_once_and_goes_on_where_it_was() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    for round in 1..=3 {
        deposits(&store, "ada", 5).await;
        relaying(&store, &views, &town).catch_up().await.unwrap();
        let told = town.told();
        assert_eq!(told.len(), round * 5);
        let due = ("topic account.deposited".to_owned(), "account-ada".to_owned());
        assert!(told.iter().all(|told| *told == due));
    }
    assert_eq!(town.of("account-ada"), ids(&store, "ada").await);
}

#[tokio::test]
async fn a_line_that_breaks_loses_nothing_and_keeps_the_order() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    deposits(&store, "ada", 10).await;
    town.fails.lock().extend([StoreErrorKind::Unavailable; 3]);
    let projector = relaying(&store, &views, &town);
    let projecting = projector.start();
    projecting.wait_for(store.head().await.unwrap()).await.unwrap();
    projecting.stop().await.unwrap();
    // The first was told four times.
    assert_eq!(town.told().len(), 13);
    assert_eq!(town.of("account-ada"), ids(&store, "ada").await);
    assert!(projector.parked("town-crier").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_broker_never_takes_is_parked_with_its_stream() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    for _ in 0..3 {
        deposits(&store, "ada", 1).await;
        deposits(&store, "bob", 1).await;
    }
    *town.refuses.lock() = Some("account-ada".to_owned());
    let projector = relaying(&store, &views, &town);
    projector.catch_up().await.unwrap();
    assert_eq!(town.of("account-bob"), ids(&store, "bob").await);
    assert!(town.of("account-ada").is_empty());
    deposits(&store, "ada", 1).await;
    projector.catch_up().await.unwrap();
    assert_eq!(projector.parked("town-crier").await.unwrap().len(), 4);

    *town.refuses.lock() = None;
    assert_eq!(projector.retry("town-crier", "stream account-ada").await.unwrap(), 4);
    assert_eq!(town.of("account-ada"), ids(&store, "ada").await);
}

#[tokio::test]
async fn several_parts_tell_each_event_once() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    let accounts: Vec<_> = (0..20).map(|n| format!("n{n}")).collect();
    for _ in 0..5 {
        for account in &accounts {
            deposits(&store, account, 1).await;
        }
    }
    let settings = ModelSettings::new().parts(4);
    let projector = Projector::new(store.clone(), views.clone());
    let projector = projector.relay_with(relay(&town), StartAt::Beginning, settings);
    projector.catch_up().await.unwrap();
    assert_eq!(town.told().len(), 100);
    for account in &accounts {
        assert_eq!(town.of(&format!("account-{account}")), ids(&store, account).await);
    }
}

#[tokio::test]
async fn a_route_says_where_and_what_not() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    deposits(&store, "ada", 1).await;
    deposits(&store, "bob", 1).await;
    let mails = Group::new("mails").unwrap();
    let routed = relay(&town)
        .route(move |event| (event.stream.id() == "ada").then(|| Address::from(mails.clone())));
    let projector = Projector::new(store.clone(), views.clone());
    projector.relay(routed, StartAt::Beginning).catch_up().await.unwrap();
    assert_eq!(town.told(), [("queue mails".to_owned(), "account-ada".to_owned())]);
}

/// A rebuild tells nobody anything.
#[tokio::test]
async fn a_rebuild_tells_nothing_again() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    deposits(&store, "ada", 3).await;
    let projector = relaying(&store, &views, &town);
    projector.catch_up().await.unwrap();
    projector.rebuild().await.unwrap();
    assert_eq!(town.told().len(), 3);
}

/// Deposits of one account with many of others in between, more than are in flight at once.
async fn far_apart(store: &MemoryStore, account: &str) {
    for _ in 0..3 {
        deposits(store, account, 1).await;
        deposits(store, "others", 1_200).await;
    }
}

#[tokio::test]
async fn what_follows_a_parked_event_is_held_back_however_far_behind_it() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    far_apart(&store, "ada").await;
    let ada = ids(&store, "ada").await;
    *town.refuses_id.lock() = ada.first().cloned();
    let projector = relaying(&store, &views, &town);
    projector.catch_up().await.unwrap();
    assert_eq!(town.of("account-others"), ids(&store, "others").await);
    assert!(town.of("account-ada").is_empty());
    *town.refuses_id.lock() = None;
    assert_eq!(projector.retry("town-crier", "stream account-ada").await.unwrap(), 3);
    assert_eq!(town.of("account-ada"), ada);
}

/// What is parked beyond the checkpoint would be parked or told once more.
#[tokio::test]
async fn nothing_is_parked_before_the_relay_has_come_to_it() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    deposits(&store, "ada", 1).await;
    *town.refuses.lock() = Some("account-ada".to_owned());
    let projector = relaying(&store, &views, &town);
    projector.catch_up().await.unwrap();
    far_apart(&store, "ada").await;
    // The line breaks behind the first thousand.
    town.fails.lock().push_back(StoreErrorKind::Full);
    let told = Arc::clone(&town.told);
    told.lock().clear();
    let error = projector.catch_up().await.unwrap_err();
    assert!(matches!(error, ProjectionError::Broker(_)), "{error}");
    let parked = projector.parked("town-crier").await.unwrap();
    let reached = projector.status().await.unwrap()[0].parts[0].position;
    assert!(parked.iter().all(|parked| parked.position <= reached), "{parked:?}, {reached}");
}

#[tokio::test]
async fn a_route_that_panics_parks_its_event() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    deposits(&store, "ada", 2).await;
    deposits(&store, "bob", 2).await;
    let relay = relay(&town).route(|event| {
        assert_ne!(event.stream.id(), "ada", "nobody knows where ada lives");
        Some(Group::new("mails").unwrap().into())
    });
    let projector = Projector::new(store.clone(), views).relay(relay, StartAt::Beginning);
    projector.catch_up().await.unwrap();
    assert_eq!(town.of("account-bob"), ids(&store, "bob").await);
    let parked = projector.parked("town-crier").await.unwrap();
    let classes: Vec<_> = parked.iter().map(|parked| parked.class).collect();
    assert_eq!(classes, [FailureClass::Panic, FailureClass::OutOfOrder]);
}

/// Read models go on while the broker is away, whether or not their program is alone.
#[tokio::test]
async fn a_broker_that_is_away_stops_nothing_else() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    town.fails.lock().extend([StoreErrorKind::Full; 2]);
    deposits(&store, "ada", 2).await;
    let projector = relaying(&store, &views, &town).view::<Turnover>();
    let projecting = projector.start();
    projecting.wait_for(store.head().await.unwrap()).await.unwrap();
    projecting.stop().await.unwrap();
    assert_eq!(town.of("account-ada"), ids(&store, "ada").await);
}
