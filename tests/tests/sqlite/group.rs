//! Appends that go into one commit do not know of each other.

use es_core::{AppendError, Criteria, EventStore, EventStoreExt, Name, Position, Read};
use es_sqlite::SqliteStore;
use futures_util::{FutureExt, future::BoxFuture};
use rusqlite::Connection;
use tests::{batch, batch_at};

use crate::{Folder, fast, payloads, stream};

type Appending = BoxFuture<'static, Result<es_core::Appended, AppendError>>;

/// Keeps the writer waiting while appends gather behind it.
struct Held {
    raw: Connection,
    first: Appending,
}

impl Held {
    async fn new(folder: &Folder, store: &SqliteStore) -> Self {
        let raw = folder.raw();
        raw.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self { raw, first: begin(store, batch(&stream("first"), "{}")) }
    }

    async fn release(self) {
        self.raw.execute_batch("ROLLBACK").unwrap();
        self.first.await.unwrap();
    }
}

/// Appends that have been handed to the writer.
fn begin(store: &SqliteStore, batch: es_core::Batch) -> Appending {
    let store = store.clone();
    let mut appending: Appending = async move { store.append(batch).await }.boxed();
    assert!((&mut appending).now_or_never().is_none());
    appending
}

#[tokio::test]
async fn a_batch_that_cannot_be_carried_out_does_not_hurt_those_beside_it() {
    let folder = Folder::new();
    let store = folder.open().await;
    let rung = Criteria::types([Name::from_static("bell.rung")]);
    let held = Held::new(&folder, &store).await;
    let before = begin(&store, batch(&stream("a"), "{}"));
    let bad = begin(&store, batch(&stream("b"), "{}").unless(rung, Position::new(u64::MAX)));
    let after = begin(&store, batch(&stream("c"), "{}"));
    held.release().await;
    // Beyond the end of the log nothing has happened, or the batch is refused.
    let _ = bad.await;
    before.await.unwrap();
    after.await.unwrap();
}

#[tokio::test]
async fn a_conflict_does_not_hurt_those_beside_it() {
    let folder = Folder::new();
    let store = folder.open().await;
    let held = Held::new(&folder, &store).await;
    let mut appending = Vec::new();
    for number in 0..20 {
        appending.push(begin(&store, batch_at(&stream("a"), number / 2, "{}")));
    }
    held.release().await;
    let mut won = 0;
    for appending in appending {
        match appending.await {
            Ok(_) => won += 1,
            Err(AppendError::Conflict(conflict)) => assert_eq!(conflict.unseen.len(), 1),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(won, 10);
}

/// One append of a group fails in the file itself, so that all are rolled back,
/// and the numbers that were given to names are given to other names later.
#[tokio::test]
async fn names_of_a_group_that_was_rolled_back_are_forgotten() {
    for _ in 0..50 {
        if is_rolled_back_together().await {
            return;
        }
    }
    panic!("the writer never took the appends as one group");
}

/// `false` if the writer, which takes what is there, took the first append that
/// was to go before the one that it came for.
async fn is_rolled_back_together() -> bool {
    let folder = Folder::with_events(1).await;
    folder
        .raw()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.payload = CAST('poison' AS BLOB)
             BEGIN SELECT RAISE(ABORT, 'the disk has a bad day'); END",
        )
        .unwrap();
    let store = folder.open().await;
    let held = Held::new(&folder, &store).await;
    let gone = begin(&store, batch(&stream("gone"), "{}"));
    // The writer looks the name of the new stream up to tell of the conflict.
    let conflicting = begin(&store, batch_at(&stream("gone"), 0, "{}"));
    let poison = begin(&store, batch(&stream("gone"), "poison"));
    held.raw.execute_batch("ROLLBACK").unwrap();
    assert!(poison.await.is_err());
    let _ = (conflicting.await, held.first.await);
    if gone.await.is_ok() {
        return false;
    }
    let head = store.head().await.unwrap();
    store.append(batch(&stream("other"), "{}")).await.unwrap();
    store.append(batch(&stream("another"), "{}")).await.unwrap();
    for id in ["other", "another"] {
        match store.append(batch_at(&stream(id), 0, "{}")).await {
            Err(AppendError::Conflict(conflict)) => {
                assert_eq!(conflict.unseen[0].stream, stream(id));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(payloads(&store, "gone").await.is_empty());
    let events = store.events(Read::all().after(head)).await.unwrap();
    assert_eq!(events.len(), 2);
    true
}

#[tokio::test]
async fn an_append_that_fails_in_the_file_is_told_and_the_next_one_works() {
    let folder = Folder::with_events(1).await;
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON events BEGIN SELECT RAISE(FAIL, 'no'); END";
    folder.raw().execute_batch(refuse).unwrap();
    let store = fast(&folder.path()).open().await.unwrap();
    let head = store.head().await.unwrap();
    let twice = tests::numbered(7);
    assert!(store.append(twice.clone()).await.is_err());
    folder.raw().execute_batch("DROP TRIGGER refuse").unwrap();
    let appended = store.append(twice).await.unwrap();
    assert!(!appended.repeated, "what was rolled back has not happened");
    assert_eq!(appended.position, Position::new(head.get() + 1));
}

#[tokio::test]
async fn an_append_id_twice_in_one_commit_happens_once() {
    let folder = Folder::new();
    let store = folder.open().await;
    let held = Held::new(&folder, &store).await;
    let (one, again) = (begin(&store, tests::numbered(7)), begin(&store, tests::numbered(7)));
    held.release().await;
    let (one, again) = (one.await.unwrap(), again.await.unwrap());
    assert!(!one.repeated && again.repeated);
    assert_eq!(one.position, again.position);
}
