//! Many reads at a few threads.

use es_core::{EventStore, EventStoreExt, Read};
use es_sqlite::SqliteOptions;
use futures_util::{StreamExt, TryStreamExt, future::try_join_all};
use tests::{batch, event};

use crate::{Folder, stream};

/// More than there are places in the queue, each with more pages than are read
/// ahead.
const READS: usize = 300;
const EVENTS: usize = 1_500;

async fn fill(folder: &Folder) {
    let store = folder.open().await;
    for _ in 0..3 {
        let events = (0..EVENTS / 3).map(|_| event("bell.rung", "{}"));
        store.append(batch(&stream("a"), "{}").events(events.skip(1))).await.unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn more_reads_than_there_are_threads_and_places_all_come_to_their_end() {
    let folder = Folder::new();
    fill(&folder).await;
    let store = SqliteOptions::new(folder.path()).readers(1).open().await.unwrap();
    let mut pages: Vec<_> = (0..READS).map(|_| store.read(Read::all())).collect();
    let firsts = pages.iter_mut().map(|pages| pages.try_next());
    let firsts = try_join_all(firsts).await.unwrap();
    for (first, rest) in firsts.into_iter().zip(pages) {
        let first = first.unwrap().events;
        let rest: Vec<_> = rest.try_collect().await.unwrap();
        let rest: usize = rest.iter().map(|page| page.events.len()).sum();
        assert_eq!(first.len() + rest, EVENTS);
    }
}

#[tokio::test]
async fn a_read_that_nobody_finishes_holds_no_thread() {
    let folder = Folder::new();
    fill(&folder).await;
    let store = SqliteOptions::new(folder.path()).readers(1).open().await.unwrap();
    let mut begun = Vec::new();
    for _ in 0..READS {
        let mut pages = store.read(Read::all());
        pages.next().await.unwrap().unwrap();
        begun.push(pages);
    }
    assert_eq!(store.events(Read::all()).await.unwrap().len(), EVENTS);
    drop(begun);
    assert_eq!(store.events(Read::all()).await.unwrap().len(), EVENTS);
}

#[tokio::test]
async fn a_read_under_way_when_the_store_is_closed_ends_with_an_error_or_whole() {
    let folder = Folder::new();
    fill(&folder).await;
    let store = SqliteOptions::new(folder.path()).readers(1).open().await.unwrap();
    let mut pages: Vec<_> = (0..20).map(|_| store.read(Read::all())).collect();
    for pages in &mut pages {
        pages.next().await.unwrap().unwrap();
    }
    store.close().await;
    for pages in pages {
        match pages.try_collect::<Vec<_>>().await {
            Ok(pages) => panic!("{} pages after the close", pages.len()),
            Err(error) => assert_eq!(error.kind(), es_core::StoreErrorKind::Closed),
        }
    }
}
