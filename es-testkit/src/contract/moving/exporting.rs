//! A file gives back the log, or nothing.

use std::io::Cursor;

use es_core::{
    EventStore, Import, ImportError, Pages, RecordedEvent, StoreErrorKind, chunks, copy_pages,
    export, memory::MemoryStore, read_export,
};
use futures_util::TryStreamExt;

use super::scene::{Store, contents, copying, everything, fill, filled, log_of};

async fn file_of(pages: Pages) -> Vec<u8> {
    let chunks: Vec<_> = export(pages).try_collect().await.expect("an export");
    chunks.concat()
}

fn pages_of(file: Vec<u8>) -> Pages {
    read_export(chunks(Cursor::new(file)))
}

async fn imported(file: Vec<u8>) -> Vec<RecordedEvent> {
    let target = MemoryStore::new();
    target.import(pages_of(file)).await.expect("an import");
    log_of(&target).await
}

/// Every byte of it.
pub async fn an_export_gives_back_the_log(store: &Store) {
    fill(&**store).await;
    let file = file_of(store.read(everything())).await;
    assert_eq!(imported(file).await, log_of(&**store).await);
}

/// Every byte of it.
pub async fn an_export_of_memory_gives_back_the_log(store: &Store) {
    let source = filled().await;
    let file = file_of(source.read(everything())).await;
    store.import(pages_of(file)).await.expect("an import");
    assert_eq!(log_of(&**store).await, log_of(&source).await);
}

/// Also if one store was imported from the other.
pub async fn two_exports_of_one_log_are_equal(store: &Store) {
    fill(&**store).await;
    let file = file_of(store.read(everything())).await;
    assert_eq!(file_of(store.read(everything())).await, file);
    let other = store.another().await;
    other.import(pages_of(file.clone())).await.expect("an import");
    assert_eq!(file_of(other.read(everything())).await, file);
}

/// Where places are taken, events are appended.
pub async fn an_export_can_be_copied_into_a_store_with_events(store: &Store) {
    fill(&**store).await;
    let before = log_of(&**store).await.len();
    let source = filled().await;
    let file = file_of(source.read(everything())).await;
    for _ in 0..2 {
        copy_pages(pages_of(file.clone()), &**store, copying()).await.expect("a copy");
    }
    let after = contents(&log_of(&**store).await);
    assert_eq!(after[before..], contents(&log_of(&source).await));
}

async fn assert_refused(store: &Store, file: Vec<u8>, what: &str) {
    let refusal = store.import(pages_of(file)).await.expect_err(what);
    let ImportError::Source(error) = refusal else { panic!("{what}: {refusal:?}") };
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{what}: {error}");
    assert!(error.to_string().starts_with("line "), "{what}: {error}");
    assert!(log_of(&**store).await.is_empty(), "{what} left something");
}

/// At a line feed, and elsewhere.
pub async fn a_file_that_was_cut_imports_nothing(store: &Store) {
    let file = file_of(filled().await.read(everything())).await;
    let lines = file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let cuts: Vec<_> = lines.filter(|at| *at < file.len()).collect();
    for cut in cuts.iter().step_by(5).flat_map(|at| [*at, at + 7]).chain([0, 1, file.len() - 2]) {
        assert_refused(store, file[..cut].to_vec(), &format!("a file of {cut} bytes")).await;
    }
    store.import(pages_of(file)).await.expect("an import");
}

/// Wherever it was.
pub async fn a_file_that_was_changed_imports_nothing(store: &Store) {
    let file = file_of(filled().await.read(everything())).await;
    for at in (0..file.len()).step_by(file.len() / 40) {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert_refused(store, changed, &format!("a file with another byte {at}")).await;
    }
    store.import(pages_of(file)).await.expect("an import");
}
