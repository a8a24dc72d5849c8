//! Files that are damaged, somebody else's, or not there.

use std::fs;

use es_core::{
    EventStore, EventStoreExt, Name, Read, StoreError, StoreErrorKind, TakenTimer, Timers, World,
};
use es_sqlite::SqliteStore;
use tests::batch;

use crate::{Folder, count, fast, stream};

async fn refusal(folder: &Folder) -> StoreErrorKind {
    fast(&folder.path()).open().await.expect_err("it opens").kind()
}

#[tokio::test]
async fn a_file_without_its_tail_is_corrupt() {
    let folder = Folder::with_events(200).await;
    let whole = fs::read(folder.path()).unwrap();
    for kept in [1, 15, 16, 50, 99, 100, 512, 4_095, 4_096, 4_097, whole.len() / 2, whole.len() - 1]
    {
        fs::write(folder.path(), &whole[..kept]).unwrap();
        assert_eq!(refusal(&folder).await, StoreErrorKind::Corrupt, "{kept} bytes were kept");
    }
    fs::write(folder.path(), &whole).unwrap();
    assert_eq!(count(&folder.open().await, "a").await, 200);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt_and_left_alone() {
    let folder = Folder::new();
    for content in [b"x".to_vec(), b"hello, world\n".repeat(1_000), vec![0; 8_192]] {
        fs::write(folder.path(), &content).unwrap();
        assert_eq!(refusal(&folder).await, StoreErrorKind::Corrupt);
        assert_eq!(fs::read(folder.path()).unwrap(), content);
    }
}

#[tokio::test]
async fn an_empty_file_becomes_a_store() {
    let folder = Folder::new();
    fs::write(folder.path(), "").unwrap();
    let store = folder.open().await;
    store.append(batch(&stream("a"), "{}")).await.unwrap();
}

#[tokio::test]
async fn the_database_of_another_application_is_refused_and_left_alone() {
    let folder = Folder::new();
    folder
        .raw()
        .execute_batch("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('a')")
        .unwrap();
    let before = fs::read(folder.path()).unwrap();
    assert_eq!(refusal(&folder).await, StoreErrorKind::Schema);
    assert!(fs::read(folder.path()).unwrap() == before, "the file was changed");
    folder.raw().execute_batch("INSERT INTO notes VALUES ('b')").unwrap();
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused_and_left_alone() {
    let folder = Folder::with_events(3).await;
    folder.raw().pragma_update(None, "user_version", 99).unwrap();
    let error = fast(&folder.path()).open().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    assert!(error.to_string().contains("99"), "{error}");
    let events = "SELECT count(*) FROM events";
    let left: i64 = folder.raw().query_row(events, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 9);
}

/// Makes a file of this version one of the second, with a timer.
const OLDER: &str = "
    DROP TABLE inbox;
    DROP TABLE timers_of_owners;
    CREATE TABLE timers (
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        due INTEGER NOT NULL,
        payload BLOB NOT NULL,
        PRIMARY KEY (tenant, name)
    );
    CREATE INDEX timers_due ON timers (due);
    INSERT INTO timers VALUES ('default', 'egg', 7, x'736f6674');
    PRAGMA user_version = 2;";

#[tokio::test]
async fn a_file_of_an_earlier_version_is_brought_up_with_its_timers() {
    let folder = Folder::with_events(3).await;
    folder.raw().execute_batch(OLDER).unwrap();
    for _ in 0..2 {
        let store = folder.open().await;
        let (owner, now) = (Name::new("default").unwrap(), World::real().now());
        let taken = store.take_due(&owner, now, now, 10).await.unwrap();
        let [TakenTimer { timer, .. }] = &taken[..] else { panic!("{taken:?}") };
        assert_eq!((timer.id.name.as_str(), &timer.payload[..]), ("egg", &b"soft"[..]));
        assert_eq!(timer.due.timestamp_micros(), 7);
        store.close().await;
    }
}

#[tokio::test]
async fn a_missing_folder_is_unavailable() {
    let folder = Folder::new();
    let path = folder.path().join("no").join("such").join("log.db");
    let error = SqliteStore::open(path).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_folder_in_the_place_of_the_file_is_unavailable() {
    let folder = Folder::new();
    fs::create_dir(folder.path()).unwrap();
    let kind = refusal(&folder).await;
    assert!(matches!(kind, StoreErrorKind::Unavailable | StoreErrorKind::Corrupt), "{kind:?}");
}

/// What can be known of a file with a flipped byte: it opens or it is refused,
/// a stream reads or is refused, nothing panics, and whatever reads well has no
/// version missing in between.
#[tokio::test]
async fn a_flipped_byte_is_refused_or_harmless_but_never_a_panic() {
    let folder = Folder::with_events(150).await;
    let whole = fs::read(folder.path()).unwrap();
    let (mut refused, mut read) = (0, 0);
    for step in 0..300 {
        let at = (step * 7_919 + 13) % whole.len();
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        remove_log(&folder);
        fs::write(folder.path(), &bytes).unwrap();
        let store = match fast(&folder.path()).open().await {
            Ok(store) => store,
            Err(error) => {
                assert_typed(&error, at);
                refused += 1;
                continue;
            }
        };
        for id in ["a", "b", "c"] {
            match store.events(Read::stream(&stream(id))).await {
                Ok(events) => {
                    read += 1;
                    assert!(events.is_sorted_by(|one, next| one.version < next.version));
                }
                Err(error) => {
                    assert_typed(&error, at);
                    refused += 1;
                }
            }
        }
        if let Err(error) = store.events(Read::all()).await {
            assert_typed(&error, at);
        }
        store.close().await;
    }
    println!("{refused} refused, {read} streams read");
    assert!(refused > 0 && read > 0, "refused {refused}, read {read}");
}

fn assert_typed(why: &StoreError, at: usize) {
    let kind = why.kind();
    let damaged = matches!(kind, StoreErrorKind::Corrupt | StoreErrorKind::Schema);
    assert!(damaged, "{kind:?} for a byte flipped at {at}: {why}");
}

fn remove_log(folder: &Folder) {
    for suffix in ["-wal", "-shm"] {
        let mut path = folder.path().into_os_string();
        path.push(suffix);
        let _ = fs::remove_file(path);
    }
}

/// A page of one stream's payloads is destroyed; the index and the other
/// streams' pages are not.
#[tokio::test]
async fn a_destroyed_page_leaves_what_stands_on_other_pages_readable() {
    let folder = Folder::new();
    let store = folder.open().await;
    let large = format!("\"{}\"", "x".repeat(200_000));
    store.append(batch(&stream("before"), "{}")).await.unwrap();
    store.append(batch(&stream("large"), &large)).await.unwrap();
    store.append(batch(&stream("after"), "{}")).await.unwrap();
    store.close().await;
    let mut bytes = fs::read(folder.path()).unwrap();
    let at = bytes.windows(4_000).position(|window| window.iter().all(|byte| *byte == b'x'));
    let page = at.unwrap() / 4_096 + 20;
    // The number of the next page of the payload stands in the first four bytes.
    bytes[page * 4_096..page * 4_096 + 4].fill(0xff);
    fs::write(folder.path(), bytes).unwrap();
    let store = folder.open().await;
    assert_eq!((count(&store, "before").await, count(&store, "after").await), (1, 1));
    let error = store.events(Read::stream(&stream("large"))).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
    store.append(batch(&stream("after"), "{}")).await.unwrap();
    let followed = followed_errors(&store).await;
    assert_eq!(followed, 1, "after an error there is nothing more");
}

/// How many errors a follower tells before it ends, up to three.
async fn followed_errors(store: &SqliteStore) -> usize {
    use futures_util::StreamExt;
    let pages = store.follow(Read::all());
    pages.filter(|page| std::future::ready(page.is_err())).take(3).count().await
}

#[tokio::test]
async fn a_file_whose_write_ahead_log_is_garbage_keeps_what_is_in_the_file() {
    let folder = Folder::with_events(10).await;
    let mut path = folder.path().into_os_string();
    path.push("-wal");
    fs::write(path, b"garbage".repeat(10_000)).unwrap();
    let store = folder.open().await;
    assert_eq!(count(&store, "a").await, 10);
    store.append(batch(&stream("a"), "{}")).await.unwrap();
}

#[tokio::test]
async fn a_file_that_lost_a_table_is_told() {
    let tables = ["events", "stream_runs", "event_blocks", "appends", "streams"];
    for table in tables {
        let folder = Folder::with_events(3).await;
        let drop = format!("PRAGMA foreign_keys = OFF; DROP TABLE {table}");
        folder.raw().execute_batch(&drop).unwrap();
        let error = match fast(&folder.path()).open().await {
            Err(error) => error,
            Ok(store) => match store.append(batch(&stream("a"), "{}")).await {
                Err(es_core::AppendError::Store(error)) => error,
                other => panic!("without {table}: {other:?}"),
            },
        };
        assert_eq!(error.kind(), StoreErrorKind::Schema, "without {table}: {error}");
    }
}
