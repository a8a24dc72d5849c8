//! A message that a handler has received is known from its commit on, and not before.

use std::{path::Path, time::Duration};

use es_core::{
    Batch, ContentType, EventStore, EventStoreExt, Group, Message, Name, Read, StoreErrorKind,
    Tenant, World,
};
use es_sqlite::{SqliteOptions, SqliteStore};
use es_testkit::{TestClock, fake};
use futures_util::future::join_all;
use rusqlite::{Connection, Error};

const HOUR: Duration = Duration::from_secs(3_600);

fn group(name: &str) -> Group {
    Group::new(name).expect("a name")
}

fn message(id: impl Into<String>) -> Message {
    Message::new(id, Name::from_static("mail.wanted"), ContentType::JSON, "{}")
}

/// A store with a table of the user's own.
async fn open(path: &Path) -> SqliteStore {
    let store = SqliteStore::open(path).await.expect("a file that can be opened");
    let file = Connection::open(path).expect("a file");
    file.execute_batch("CREATE TABLE IF NOT EXISTS handled (message TEXT)").expect("a table");
    store
}

fn count(path: &Path, table: &str) -> i64 {
    let file = Connection::open(path).expect("a file");
    let count = format!("SELECT count(*) FROM {table}");
    file.query_row(&count, [], |row| row.get(0)).expect("a number")
}

fn write(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute("INSERT INTO handled VALUES ('one')", []).map(drop)
}

/// Whether it was the first time.
async fn handle(store: &SqliteStore, group: &str, message: &Message) -> bool {
    let received = store.receive(&self::group(group), message, write).await;
    received.expect("an answer").is_some()
}

#[tokio::test]
async fn a_message_is_handled_once_however_often_it_is_delivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.db");
    let store = open(&path).await;
    for is_first in [true, false, false] {
        assert_eq!(handle(&store, "mails", &message("1")).await, is_first);
    }
    store.close().await;
    // Also in another life of the program.
    let store = open(&path).await;
    assert!(!handle(&store, "mails", &message("1")).await);
    assert_eq!(count(&path, "handled"), 1);
    store.close().await;
}

#[tokio::test]
async fn a_step_that_fails_leaves_the_message_to_be_handled_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.db");
    let store = open(&path).await;
    let mails = group("mails");
    let fails = |tx: &Connection| write(tx).and_then(|()| Err::<(), _>(Error::InvalidQuery));
    store.receive(&mails, &message("1"), fails).await.expect_err("a step that fails");
    let panics = |tx: &Connection| -> rusqlite::Result<()> {
        write(tx)?;
        panic!("a step that panics, as the test wants")
    };
    store.receive(&mails, &message("1"), panics).await.expect_err("a step that panics");
    let ends = |tx: &Connection| write(tx).and_then(|()| tx.execute_batch("COMMIT"));
    let ended = store.receive(&mails, &message("2"), ends).await.expect_err("no transaction");
    assert_eq!(ended.kind(), StoreErrorKind::Invalid);
    assert!(handle(&store, "mails", &message("1")).await);
    store.close().await;
}

/// One that fails among others that are committed together with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_each_message_is_handled_once_and_no_append_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.db");
    let store = open(&path).await;
    let handle = async |n: u32| {
        let message = message((n % 20).to_string());
        // The first of each fails.
        let fails = n < 20;
        let step = move |tx: &Connection| match fails {
            true => write(tx).and_then(|()| Err(Error::InvalidQuery)),
            false => write(tx),
        };
        let received = store.receive(&group("mails"), &message, step).await;
        assert_eq!(received.is_err(), fails, "{received:?}");
    };
    let append = async |n: u32| {
        let batch = Batch::to(fake::stream(&format!("thing-{}", n % 7))).events(fake::events(1));
        store.append(batch).await.expect("an append");
    };
    tokio::join!(join_all((0..200).map(&handle)), join_all((0..200).map(&append)));
    assert_eq!(count(&path, "handled"), 20);
    assert_eq!(store.events(Read::all()).await.expect("a read").len(), 200);
    store.close().await;
}

#[tokio::test]
async fn each_group_and_each_tenant_handles_a_message_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("log.db")).await;
    let one = message("1");
    let acme = message("1").of(Tenant::new("acme").expect("a name"));
    for is_first in [true, false] {
        for (group, message) in [("mails", &one), ("bills", &one), ("mails", &acme)] {
            assert_eq!(handle(&store, group, message).await, is_first);
        }
    }
    store.close().await;
}

#[tokio::test]
async fn an_id_may_be_any_text_of_any_length() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("log.db")).await;
    let long = "x".repeat(1024 * 1024);
    let ids = ["", "\0", "\0a", "'; --", "größe 表 🦀", &long, &format!("{long}y")];
    for is_first in [true, false] {
        for id in ids {
            let first = handle(&store, "mails", &message(id)).await;
            assert_eq!(first, is_first, "an id of {} bytes", id.len());
        }
    }
    store.close().await;
}

/// Two processes are two stores of one file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_stores_of_one_file_one_handles_a_message() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.db");
    let (ours, theirs) = (open(&path).await, open(&path).await);
    for id in 0..20 {
        let message = message(id.to_string());
        let both = (handle(&ours, "mails", &message), handle(&theirs, "mails", &message));
        let (one, other) = tokio::join!(both.0, both.1);
        assert!(one != other, "{one} and {other}");
    }
    assert_eq!(count(&path, "handled"), 20);
    ours.close().await;
    theirs.close().await;
}

#[tokio::test]
async fn what_is_old_enough_is_forgotten_and_handled_once_more() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), TestClock::new());
    let path = folder.path().join("log.db");
    open(&path).await.close().await;
    let options = SqliteOptions::new(&path).world(World::real().with_clock(clock.clone()));
    let store = options.open().await.expect("a file that can be opened");
    assert!(handle(&store, "mails", &message("old")).await);
    clock.advance(HOUR);
    assert!(handle(&store, "mails", &message("young")).await);
    assert_eq!(store.forget_received(HOUR).await.expect("an answer"), 0);
    assert_eq!(store.forget_received(Duration::MAX).await.expect("an answer"), 0);
    clock.advance(Duration::from_micros(1));
    assert_eq!(store.forget_received(HOUR).await.expect("an answer"), 1);
    assert!(handle(&store, "mails", &message("old")).await);
    assert!(!handle(&store, "mails", &message("young")).await);
    store.close().await;
}

#[tokio::test]
async fn many_are_forgotten_a_thousand_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.db");
    let store = open(&path).await;
    const FILL: &str = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 2500) \
         INSERT INTO inbox SELECT 'default', 'mails', n, 0 FROM n";
    Connection::open(&path).and_then(|file| file.execute(FILL, [])).expect("an insert");
    assert_eq!(store.forget_received(HOUR).await.expect("an answer"), 2_500);
    assert_eq!(count(&path, "inbox"), 0);
    store.close().await;
}

/// The file of a program that knew no inbox.
#[tokio::test]
async fn a_file_of_the_version_before_is_brought_up_with_all_that_is_in_it() {
    const OLDER: &str = "DROP TABLE inbox; PRAGMA user_version = 3";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log.db");
    let store = open(&path).await;
    let batch = Batch::to(fake::stream("thing-1")).events(fake::events(3));
    store.append(batch).await.expect("an append");
    store.close().await;
    Connection::open(&path).and_then(|file| file.execute_batch(OLDER)).expect("a change");

    // Two processes at once.
    let (one, other) = tokio::join!(SqliteStore::open(&path), SqliteStore::open(&path));
    let (store, other) = (one.expect("a store"), other.expect("a store"));
    assert_eq!(store.events(Read::all()).await.expect("a read").len(), 3);
    assert!(handle(&store, "mails", &message("1")).await);
    assert!(!handle(&other, "mails", &message("1")).await);
    store.close().await;
    other.close().await;
}
