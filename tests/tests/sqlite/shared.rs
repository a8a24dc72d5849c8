//! Two stores on one file, as two processes have it.

use std::time::Duration;

use es_core::{AppendError, EventStore, EventStoreExt, Position, Read, StoreErrorKind, Version};
use es_sqlite::SqliteStore;
use futures_util::{StreamExt, TryStreamExt};
use tests::{batch, batch_at};

use crate::{Folder, count, fast, stream};

#[tokio::test]
async fn two_writers_share_one_order() {
    let folder = Folder::new();
    let (one, other) = (folder.open().await, folder.open().await);
    for number in 0..50 {
        let payload = format!("{{\"n\":{number}}}");
        one.append(batch(&stream("a"), &payload)).await.unwrap();
        other.append(batch(&stream("a"), &payload)).await.unwrap();
        other.append(batch(&stream(&format!("new-{number}")), &payload)).await.unwrap();
    }
    let all = one.events(Read::all()).await.unwrap();
    let positions: Vec<_> = all.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, (1..=150).collect::<Vec<_>>());
    assert_eq!(other.events(Read::all()).await.unwrap(), all);
    let a = one.events(Read::stream(&stream("a"))).await.unwrap();
    let versions: Vec<_> = a.iter().map(|event| event.version.get()).collect();
    assert_eq!(versions, (1..=100).collect::<Vec<_>>());
}

/// Whoever opens the file once more in a process must not take its locks: the other process,
/// which comes and goes, would believe that it is alone and delete the log.
#[tokio::test]
async fn what_is_appended_after_another_process_has_come_and_gone_is_there() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.append(batch(&stream("a"), "{}")).await.unwrap();
    let again = folder.open().await;
    let mut other = std::process::Command::new(env!("CARGO_BIN_EXE_worker"));
    other.arg(folder.path()).args(["0", "5"]).stdout(std::process::Stdio::null());
    assert!(other.status().unwrap().success());
    store.append(batch(&stream("a"), "{}")).await.unwrap();
    let seen = folder.raw().query_row("SELECT count(*) FROM events", [], |row| row.get(0));
    assert_eq!(seen, Ok(7));
    again.close().await;
}

#[tokio::test]
async fn what_a_writer_remembers_is_not_older_than_what_the_other_wrote() {
    let folder = Folder::new();
    let (one, other) = (folder.open().await, folder.open().await);
    let a = stream("a");
    for version in (0..40).step_by(2) {
        one.append(batch_at(&a, version, "{}")).await.unwrap();
        match one.append(batch_at(&a, version, "{}")).await {
            Err(AppendError::Conflict(conflict)) => {
                assert_eq!(conflict.actual, Version::new(version + 1));
            }
            unexpected => panic!("{unexpected:?}"),
        }
        other.append(batch_at(&a, version + 1, "{}")).await.unwrap();
        match one.append(batch_at(&a, version + 1, "{}")).await {
            Err(AppendError::Conflict(conflict)) => {
                assert_eq!(conflict.actual, Version::new(version + 2));
                assert_eq!(conflict.unseen.len(), 1);
            }
            unexpected => panic!("{unexpected:?}"),
        }
    }
}

#[tokio::test]
async fn an_append_id_is_known_to_the_other_writer() {
    let folder = Folder::new();
    let (one, other) = (folder.open().await, folder.open().await);
    for number in 0..20 {
        let first = one.append(tests::numbered(number)).await.unwrap();
        let again = other.append(tests::numbered(number)).await.unwrap();
        assert!(again.repeated);
        assert_eq!(again.writes, first.writes);
    }
    assert_eq!(one.head().await.unwrap(), Position::new(20));
}

#[tokio::test]
async fn a_follower_sees_what_the_other_writes() {
    let folder = Folder::new();
    let (one, other) = (folder.open().await, folder.open().await);
    let mut following = one.tail(Read::all());
    for number in 0..10_u64 {
        let writer = if number % 3 == 0 { &one } else { &other };
        let appended = writer.append(batch(&stream("a"), "{}")).await.unwrap();
        let seen = following.next().await.unwrap().unwrap();
        assert_eq!(seen.position, appended.position);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::disallowed_methods, reason = "a test may start tasks as it likes")]
async fn followers_of_both_see_everything_once_and_in_order_while_both_write() {
    let folder = Folder::new();
    let stores = [folder.open().await, folder.open().await];
    let followers: Vec<_> = stores
        .iter()
        .map(|store| {
            let events = store.tail(Read::all()).take(400);
            tokio::spawn(events.map_ok(|event| event.position.get()).try_collect::<Vec<_>>())
        })
        .collect();
    let writers: Vec<_> = (0..4_u64)
        .map(|writer| {
            let store = stores[usize::from(writer % 2 == 0)].clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    store.append(batch(&tests::worker_stream(writer), "{}")).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for follower in followers {
        assert_eq!(follower.await.unwrap().unwrap(), (1..=400).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_lock_that_another_process_keeps_is_busy_and_then_over() {
    let folder = Folder::with_events(1).await;
    let short = Duration::from_millis(20);
    let store = fast(&folder.path()).busy_timeout(short).open().await.unwrap();
    let raw = folder.raw();
    raw.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.append(batch(&stream("a"), "{}")).await.unwrap_err();
    let AppendError::Store(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), StoreErrorKind::Busy);
    assert!(error.is_transient());
    assert_eq!(count(&store, "a").await, 1, "readers go on");
    raw.execute_batch("ROLLBACK").unwrap();
    store.append(batch(&stream("a"), "{}")).await.unwrap();
    assert_eq!(count(&store, "a").await, 2);
}

#[tokio::test]
async fn a_file_that_another_process_keeps_locked_cannot_be_opened_in_time() {
    let folder = Folder::with_events(1).await;
    let raw = folder.raw();
    raw.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let short = Duration::from_millis(20);
    let error = fast(&folder.path()).busy_timeout(short).open().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Busy, "{error}");
    drop(raw);
    assert_eq!(count(&folder.open().await, "a").await, 1);
}

#[tokio::test]
async fn a_long_read_of_another_process_holds_up_no_append() {
    let folder = Folder::with_events(5).await;
    let store = folder.open().await;
    let raw = folder.raw();
    raw.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    let before: i64 = raw.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    for _ in 0..20 {
        store.append(batch(&stream("a"), "{}")).await.unwrap();
    }
    let after: i64 = raw.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!((before, after), (15, 15));
    assert_eq!(count(&store, "a").await, 25);
}

#[tokio::test]
async fn a_closed_store_says_so_and_finishes_what_was_asked_before() {
    let folder = Folder::new();
    let store = folder.open().await;
    let appends: Vec<_> = (0..50).map(|_| store.append(batch(&stream("a"), "{}"))).collect();
    let appends = futures_util::future::join_all(appends);
    let (appends, ()) = futures_util::future::join(appends, store.close()).await;
    let done = appends.iter().filter(|append| append.is_ok()).count();
    let error = store.append(batch(&stream("a"), "{}")).await.unwrap_err();
    let AppendError::Store(error) = error else { panic!("{error}") };
    assert_eq!(error.kind(), StoreErrorKind::Closed);
    let error = store.events(Read::all()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Closed);
    assert_eq!(count(&folder.open().await, "a").await, done);
}

/// Nothing will ever come, so whoever waits must hear of it.
#[tokio::test]
async fn a_follower_of_a_closed_store_ends() {
    let folder = Folder::with_events(1).await;
    let store: SqliteStore = folder.open().await;
    let mut following = store.tail(Read::all());
    for _ in 0..3 {
        following.next().await.unwrap().unwrap();
    }
    let bound = Duration::from_secs(30);
    tokio::time::timeout(bound, store.close()).await.expect("it waits for its follower");
    let next = tokio::time::timeout(bound, following.next()).await;
    match next.expect("the follower still waits") {
        None => {}
        Some(end) => assert_eq!(end.unwrap_err().kind(), StoreErrorKind::Closed),
    }
}

/// Otherwise a copy of the file would lack what still stands in the log beside
/// it.
#[tokio::test]
async fn a_closed_store_leaves_everything_in_the_one_file() {
    for _ in 0..20 {
        let folder = Folder::with_events(3).await;
        let copy = Folder::new();
        let beside = folder.path().with_file_name("log.db-wal");
        let left = beside.metadata().map_or(0, |log| log.len());
        assert_eq!(left, 0, "a write-ahead log is left beside the file");
        std::fs::copy(folder.path(), copy.path()).unwrap();
        assert_eq!(count(&copy.open().await, "a").await, 3);
    }
}
