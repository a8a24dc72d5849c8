//! Disks that are full or may only be read: small file systems in memory, which
//! only root may mount. Elsewhere these tests say that they did not run.

use std::{fs, path::PathBuf, process::Command};

use es_core::{AppendError, EventStore, EventStoreExt, Read, StoreErrorKind};
use rusqlite::Connection;
use tests::batch;

use crate::{fast, stream};

struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount(size: &str) -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        let options = format!("size={size}");
        let mounted = disk.command("mount", &["-t", "tmpfs", "-o", &options, "gesta-test"]);
        if !mounted {
            tests::not_run("full disks: a file system cannot be mounted here");
        }
        mounted.then_some(disk)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> bool {
        let run = Command::new(program).args(arguments).arg(self.folder.path()).status();
        run.is_ok_and(|status| status.success())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log.db")
    }

    fn fill(&self, bytes: usize) {
        fs::write(self.folder.path().join("ballast"), vec![0; bytes]).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.folder.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.command("umount", &["--lazy"]);
    }
}

fn kind(error: AppendError) -> StoreErrorKind {
    match error {
        AppendError::Store(error) => error.kind(),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_that_was_acknowledged_is_lost() {
    let Some(disk) = Disk::mount("2m") else { return };
    disk.fill(512 * 1024);
    let store = fast(&disk.path()).open().await.unwrap();
    let payload = format!("\"{}\"", "x".repeat(2_000));
    let mut acknowledged = 0;
    let error = loop {
        match store.append(batch(&stream("a"), &payload)).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 2_000, "the disk does not fill");
    };
    assert_eq!(kind(error), StoreErrorKind::Full);
    assert!(acknowledged > 10);
    let read = || store.events(Read::stream(&stream("a")));
    assert_eq!(read().await.unwrap().len(), acknowledged, "readers go on");
    let again = store.append(batch(&stream("b"), &payload)).await.unwrap_err();
    assert_eq!(kind(again), StoreErrorKind::Full);

    disk.make_room();
    store.append(batch(&stream("a"), "{}")).await.unwrap();
    assert_eq!(read().await.unwrap().len(), acknowledged + 1);
    store.close().await;
    let store = fast(&disk.path()).open().await.unwrap();
    assert_eq!(store.events(Read::all()).await.unwrap().len(), acknowledged + 1);
    store.close().await;
    let sound: String = Connection::open(disk.path())
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
}

/// Whoever stands behind the one that the disk had no room for has not been
/// carried out either, and is told so.
#[tokio::test]
async fn of_a_group_on_a_full_disk_each_is_told_that_it_is_full() {
    let Some(disk) = Disk::mount("2m") else { return };
    disk.fill(512 * 1024);
    let store = fast(&disk.path()).open().await.unwrap();
    let payload = format!("\"{}\"", "x".repeat(20_000));
    let appends = (0..200).map(|_| store.append(batch(&stream("a"), &payload)));
    let answers = futures_util::future::join_all(appends).await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(refused.len() > 100, "the disk does not fill");
    for error in refused {
        assert_eq!(kind(error.unwrap_err()), StoreErrorKind::Full);
    }
    disk.make_room();
    assert_eq!(store.events(Read::all()).await.unwrap().len(), done.len());
}

#[tokio::test]
async fn a_store_that_was_closed_on_a_full_disk_opens_whole_when_there_is_room() {
    let Some(disk) = Disk::mount("2m") else { return };
    disk.fill(512 * 1024);
    let payload = format!("\"{}\"", "x".repeat(2_000));
    let mut acknowledged = 0;
    let store = fast(&disk.path()).open().await.unwrap();
    while store.append(batch(&stream("a"), &payload)).await.is_ok() {
        acknowledged += 1;
    }
    store.close().await;
    match fast(&disk.path()).open().await {
        Ok(store) => {
            assert_eq!(store.events(Read::all()).await.unwrap().len(), acknowledged);
            store.close().await;
        }
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::Full, "{error}"),
    }
    disk.make_room();
    let store = fast(&disk.path()).open().await.unwrap();
    assert_eq!(store.events(Read::all()).await.unwrap().len(), acknowledged);
    store.append(batch(&stream("a"), &payload)).await.unwrap();
    assert!(acknowledged > 10);
}

#[tokio::test]
async fn a_file_on_a_disk_that_may_only_be_read_says_so() {
    let Some(disk) = Disk::mount("2m") else { return };
    let store = fast(&disk.path()).open().await.unwrap();
    store.append(batch(&stream("a"), "{}")).await.unwrap();
    store.close().await;
    if !disk.command("mount", &["-o", "remount,ro"]) {
        return tests::not_run("read-only disks: a file system cannot be mounted again");
    }
    let error = fast(&disk.path()).open().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
    let missing = fast(&disk.folder.path().join("new.db")).open().await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::Unavailable, "{missing}");
}
