//! Whoever is killed around the commit of a removal leaves all or nothing: the
//! files are copied there, as a killed process leaves them.

#![cfg(feature = "failpoints")]

use std::{fs, path::Path};

use es_core::{Batch, EventStore, EventStoreExt, Expected, Read, Retention, Version, failpoint};
use es_sqlite::SqliteStore;
use es_testkit::fake;
use tempfile::TempDir;

/// What the store at this path holds, by the copy of its files.
async fn left(folder: &Path) -> Vec<u64> {
    let store = SqliteStore::open(folder.join("log.db")).await.expect("a copy that is sound");
    let events = store.events(Read::stream(&fake::stream("thing-1"))).await.expect("a read");
    store.close().await;
    events.iter().map(|event| event.version.get()).collect()
}

/// A folder that gets the files once the place is reached.
fn copied_at(place: &str, from: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    let (from, to) = (from.path().to_owned(), copy.path().to_owned());
    failpoint::bind(place, move || {
        for file in fs::read_dir(&from).expect("the files") {
            let file = file.expect("a file");
            fs::copy(file.path(), to.join(file.file_name())).expect("a copy");
        }
    });
    copy
}

#[tokio::test]
async fn a_removal_that_is_killed_is_there_wholly_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("log.db")).await.expect("a store");
    let it = fake::stream("thing-1");
    store.append(Batch::to(it.clone()).events(fake::events(5))).await.expect("an append");
    let places = ["sqlite.before_commit", "sqlite.after_commit"];

    let [before, after] = places.map(|place| copied_at(place, &folder));
    store.truncate(&it, Version::new(4)).await.expect("a truncation");
    assert_eq!(left(before.path()).await, [1, 2, 3, 4, 5]);
    assert_eq!(left(after.path()).await, [3, 4, 5]);

    let [before, after] = places.map(|place| copied_at(place, &folder));
    store.tombstone(&it, Expected::Any).await.expect("a tombstone");
    places.iter().for_each(|place| failpoint::unbind(place));
    assert_eq!(left(before.path()).await, [3, 4, 5]);
    assert_eq!(left(after.path()).await, [6]);
    store.close().await;
}
