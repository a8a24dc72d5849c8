//! A handler that writes to its own tables, and receives in the same transaction.

use std::sync::Arc;

use es_bus::{EventBus, HandleError, Received};
use es_sqlite::SqliteStore;
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::Mutex;

use crate::{Careless, endpoint, group, schema::in_a_schema, send_twice, until};

const MESSAGES: u32 = 40;

fn ids() -> Vec<String> {
    let mut ids: Vec<_> = (0..MESSAGES).map(|id| id.to_string()).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_handler_writes_to_the_file_happens_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let file = rusqlite::Connection::open(path).unwrap();
    file.execute_batch("CREATE TABLE letters (id TEXT)").unwrap();
    let careless = Arc::new(Careless::default());
    let of_handler = store.clone();
    let write = move |received: Received<()>| {
        let (store, careless) = (of_handler.clone(), careless.clone());
        async move {
            let id = received.message.id.clone();
            let step =
                |tx: &rusqlite::Connection| tx.execute("INSERT INTO letters VALUES (?)", [id]);
            store.receive(&group(), &received.message, step).await?;
            careless.answer(&received.message)
        }
    };
    let bus = EventBus::for_testing();
    send_twice(&bus, MESSAGES).await;
    let running = bus.subscribe(endpoint().handle_message(write)).await.unwrap();
    until(&running, |stats| stats.handled == u64::from(MESSAGES) * 2).await;
    running.drain().await;
    store.close().await;

    let mut select = file.prepare("SELECT id FROM letters ORDER BY id").unwrap();
    let found = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(found.collect::<Result<Vec<_>, _>>().unwrap(), ids());
}

/// Two processes, each with a connection for its handler.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_handlers_write_to_the_server_happens_once() {
    in_a_schema("once", async |schema| {
        let careless = Arc::new(Careless::default());
        let bus = EventBus::for_testing();
        send_twice(&bus, MESSAGES).await;
        let mut members = Vec::new();
        for _ in 0..2 {
            let (store, careless) = (schema.store.clone(), careless.clone());
            let session = Arc::new(Mutex::new(schema.session().await));
            let insert: Arc<str> = schema.sql("INSERT INTO {schema}.orders VALUES ($1)").into();
            let write = move |received: Received<()>| {
                let (store, careless) = (store.clone(), careless.clone());
                let (session, insert) = (Arc::clone(&session), Arc::clone(&insert));
                async move {
                    let message = received.message;
                    let mut session = session.lock().await;
                    let mut tx = PgConnection::begin(&mut *session).await?;
                    if store.receive_in(&mut tx, &group(), &message).await? {
                        tx.execute(sqlx::query(&insert).bind(&message.id)).await?;
                        tx.commit().await?;
                    }
                    careless.answer(&message)
                }
            };
            members.push(bus.subscribe(endpoint().handle_message(write)).await.unwrap());
        }
        let handled = || members.iter().map(|one| one.stats().handled).sum::<u64>();
        until(&members[0], |_| handled() == u64::from(MESSAGES) * 2).await;
        for member in members {
            member.drain().await;
        }
        assert_eq!(schema.orders().await, ids());
    })
    .await;
}

/// It is a dead letter then, and what it wrote has not been there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_fails_before_its_commit_has_received_nothing() {
    in_a_schema("fails", async |schema| {
        let store = schema.store.clone();
        let session = Arc::new(Mutex::new(schema.session().await));
        let insert: Arc<str> = schema.sql("INSERT INTO {schema}.orders VALUES ('never')").into();
        let write = move |received: Received<()>| {
            let (store, session) = (store.clone(), Arc::clone(&session));
            let insert = Arc::clone(&insert);
            async move {
                let mut session = session.lock().await;
                let mut tx = session.begin().await?;
                assert!(store.receive_in(&mut tx, &group(), &received.message).await?);
                tx.execute(sqlx::query(&insert)).await?;
                Err(HandleError::transient("no stamps"))
            }
        };
        let bus = EventBus::for_testing();
        bus.send(group(), vec![crate::message(1)]).await.unwrap();
        let running = bus.subscribe(endpoint().handle_message(write)).await.unwrap();
        until(&running, |stats| stats.dead_lettered == 1).await;
        running.drain().await;
        assert!(schema.orders().await.is_empty());
    })
    .await;
}
