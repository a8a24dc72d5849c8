//! Messages that were appended in transactions of the user's own.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use cqrs::{ModelSettings, Projecting, Projector, Relay, StartAt};
use es_bus::{EventBus, Received};
use es_core::{
    Address, Batch, EventStore, EventStoreExt, Message, Outgoing, Publisher, StoreError, Write,
    memory::MemoryBroker,
};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::servers::postgres_url;
use futures_util::future::join_all;
use parking_lot::Mutex;
use sqlx::{Connection, Executor};

use crate::{
    SOON, endpoint, group, message,
    schema::{Schema, in_a_schema},
    until,
};

/// Takes down what it is told.
#[derive(Clone, Default)]
struct Ear(Arc<Mutex<Vec<(Address, Message)>>>);

#[async_trait]
impl Publisher for Ear {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        self.0.lock().extend(messages.into_iter().map(|message| (to.clone(), message)));
        Ok(())
    }
}

impl Ear {
    fn ids(&self) -> BTreeSet<String> {
        self.0.lock().iter().map(|(_, message)| message.id.clone()).collect()
    }
}

fn relaying(store: &PostgresStore, publisher: impl Publisher) -> Projector<PostgresStore> {
    let relay = Relay::outbox("outbox", publisher);
    let settings = ModelSettings::new().parts(4);
    let projector = Projector::new(store.clone(), store.clone());
    let projector = projector.lease(Duration::from_millis(300));
    projector.relay_with(relay, StartAt::Beginning, settings)
}

impl Schema {
    /// Places an order and tells of it, in one transaction.
    async fn place(&self, id: u32, is_wanted: bool) {
        let mut session = self.session().await;
        let mut tx = session.begin().await.unwrap();
        let insert = self.sql("INSERT INTO {schema}.orders VALUES ($1)");
        tx.execute(sqlx::query(&insert).bind(id.to_string())).await.unwrap();
        let outgoing = Outgoing::new(group(), message(id));
        self.store.append_in(&mut tx, outgoing.into()).await.unwrap();
        match is_wanted {
            true => tx.commit().await.unwrap(),
            false => tx.rollback().await.unwrap(),
        }
    }
}

#[tokio::test]
async fn what_was_rolled_back_is_told_to_nobody() {
    in_a_schema("undone", async |schema| {
        let ear = Ear::default();
        let projector = relaying(&schema.store, ear.clone());
        schema.place(1, false).await;
        projector.catch_up().await.unwrap();
        assert!(ear.ids().is_empty());
        schema.place(2, true).await;
        projector.catch_up().await.unwrap();
        assert_eq!(*ear.0.lock(), [(group().into(), message(2))]);
        assert_eq!(schema.orders().await, ["2"]);
    })
    .await;
}

#[tokio::test]
async fn a_message_is_told_only_once_its_transaction_has_ended() {
    in_a_schema("open", async |schema| {
        let ear = Ear::default();
        let projector = relaying(&schema.store, ear.clone());
        let mut session = schema.session().await;
        let mut tx = session.begin().await.unwrap();
        let outgoing = Outgoing::new(group(), message(1));
        schema.store.append_in(&mut tx, outgoing.into()).await.unwrap();
        projector.catch_up().await.unwrap();
        assert!(ear.ids().is_empty());
        tx.commit().await.unwrap();
        projector.catch_up().await.unwrap();
        assert_eq!(ear.ids(), BTreeSet::from(["1".to_owned()]));
    })
    .await;
}

/// Every third transaction is rolled back, and relays die while others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_told_whoever_dies() {
    in_a_schema("deaths", async |schema| {
        let ear = Ear::default();
        for death in 0..3 {
            let doomed = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            let (name, its_ear) = (schema.name.clone(), ear.clone());
            let (told, at_it) = tokio::sync::oneshot::channel();
            let running = doomed.spawn(async move {
                let options = PostgresOptions::new(postgres_url()).schema(name);
                let store = options.open().await.unwrap();
                let projecting: Projecting<_> = relaying(&store, its_ear).start_worker();
                told.send(()).unwrap();
                std::future::pending::<()>().await;
                drop(projecting);
            });
            at_it.await.unwrap();
            let ids = death * 60..(death + 1) * 60;
            let all: Vec<_> = ids.collect();
            for some in all.chunks(10) {
                join_all(some.iter().map(|id| schema.place(*id, id % 3 > 0))).await;
            }
            doomed.shutdown_background();
            assert!(running.await.is_err());
        }
        let survivor = relaying(&schema.store, ear.clone());
        let projecting = survivor.start_worker();
        let head = schema.store.head().await.unwrap();
        survivor.wait_for(head, &["outbox"], SOON).await.unwrap();
        let due: BTreeSet<_> =
            (0..180).filter(|id| id % 3 > 0).map(|id: u32| id.to_string()).collect();
        assert_eq!(ear.ids(), due);
        projecting.stop().await.unwrap();
    })
    .await;
}

/// Out of one transaction, into another, over a broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_placed_once_is_handled_once() {
    in_a_schema("through", async |schema| {
        let broker = MemoryBroker::new();
        let bus = EventBus::new(broker.clone());
        let store = schema.store.clone();
        let session = Arc::new(tokio::sync::Mutex::new(schema.session().await));
        let insert: Arc<str> = schema.sql("INSERT INTO {schema}.orders VALUES ('handled')").into();
        let handle = move |received: Received<()>| {
            let (store, session) = (store.clone(), Arc::clone(&session));
            let insert = Arc::clone(&insert);
            async move {
                let mut session = session.lock().await;
                let mut tx = session.begin().await?;
                if store.receive_in(&mut tx, &group(), &received.message).await? {
                    tx.execute(sqlx::query(&insert)).await?;
                    tx.commit().await?;
                }
                Ok(())
            }
        };
        let running = bus.subscribe(endpoint().handle_message(handle)).await.unwrap();
        for id in 0..20 {
            schema.place(id, true).await;
        }
        // As after a kill: everything is published once more.
        let first = relaying(&schema.store, broker.clone());
        first.catch_up().await.unwrap();
        first.remove("outbox").await.unwrap();
        relaying(&schema.store, broker).catch_up().await.unwrap();
        until(&running, |stats| stats.handled == 40).await;
        running.drain().await;
        let handled = schema.orders().await.iter().filter(|id| *id == "handled").count();
        assert_eq!(handled, 20);
    })
    .await;
}

/// The messages of a batch go together, as all of a batch does.
#[tokio::test]
async fn several_messages_go_in_one_batch_beside_events() {
    in_a_schema("batch", async |schema| {
        let ear = Ear::default();
        let writes = (0..100).map(|id| Write::from(Outgoing::new(group(), message(id))));
        schema.store.append(Batch::new(writes)).await.unwrap();
        relaying(&schema.store, ear.clone()).catch_up().await.unwrap();
        assert_eq!(ear.ids().len(), 100);
    })
    .await;
}
