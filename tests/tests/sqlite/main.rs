//! The SQLite store among hostile files, full disks, killed processes and
//! callers that go away.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod cancelled;
mod crash;
mod disk;
mod file;
mod group;
mod readers;
mod rows;
mod shared;

use std::path::{Path, PathBuf};

use es_core::{EventStore, EventStoreExt, Read, StreamId};
use es_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use rusqlite::Connection;
use tests::batch;

/// A folder with a file in it.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }

    async fn open(&self) -> SqliteStore {
        fast(&self.path()).open().await.unwrap()
    }

    /// The same file, past the store.
    fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// A closed file with this many events in each of three streams.
    async fn with_events(events: u64) -> Self {
        let folder = Self::new();
        let store = folder.open().await;
        for number in 0..events {
            for id in ["a", "b", "c"] {
                store.append(batch(&stream(id), &format!("{{\"n\":{number}}}"))).await.unwrap();
            }
        }
        store.close().await;
        folder
    }
}

fn fast(path: &Path) -> SqliteOptions {
    SqliteOptions::new(path).synchronous(Synchronous::Normal)
}

fn stream(id: &str) -> StreamId {
    StreamId::new("bell", id).unwrap()
}

async fn count(store: &SqliteStore, id: &str) -> usize {
    store.events(Read::stream(&stream(id))).await.unwrap().len()
}

async fn payloads(store: &SqliteStore, id: &str) -> Vec<String> {
    let events = store.events(Read::stream(&stream(id))).await.unwrap();
    events.iter().map(|event| String::from_utf8_lossy(&event.payload).into_owned()).collect()
}
