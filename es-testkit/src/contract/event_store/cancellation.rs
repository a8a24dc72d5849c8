//! A call that is dropped half-way leaves nothing half done (A25, A26).

use std::{future::poll_fn, task::Poll};

use es_core::{Batch, EventStore, EventStoreExt, Read, Write};
use futures_util::{FutureExt, TryStreamExt};

use super::scene::{Log, assert_in_order, exact, stream, to};
use crate::{contract::run::together, fake};

/// Polls until it has been polled so many times or is ready, and drops it.
async fn poll_and_drop<T>(polls: usize, mut future: impl Future<Output = T> + Unpin) {
    for _ in 0..polls {
        let ready = poll_fn(|context| Poll::Ready(future.poll_unpin(context).is_ready())).await;
        if ready {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// The append happened or it did not; the same id tells which, and makes one
/// copy.
pub async fn a_dropped_append_is_resolved_by_its_id(log: &Log) {
    for polls in 0..40 {
        let target = stream(&polls.to_string());
        let batch = to(&target, 3).expect(exact(0)).append_id(fake::append_id());
        poll_and_drop(polls, log.append(batch.clone())).await;
        log.must(batch).await;
        assert_eq!(log.of(&target).await.len(), 3, "after {polls} polls");
    }
}

/// Of a batch over streams all is there, or nothing.
pub async fn a_dropped_batch_is_there_wholly_or_not_at_all(log: &Log) {
    for polls in 0..40 {
        let [one, two] = ["a", "b"].map(|half| stream(&format!("{half}{polls}")));
        let batch = to(&one, 2).write(Write::new(two.clone()).events(fake::events(2)));
        let batch = batch.append_id(fake::append_id());
        poll_and_drop(polls, log.append(batch.clone())).await;
        let all = log.everything().await;
        let of = |stream| all.iter().filter(|event| event.stream == stream).count();
        assert!([(0, 0), (2, 2)].contains(&(of(one.clone()), of(two.clone()))));
        log.must(batch).await;
        assert_eq!((log.of(&one).await.len(), log.of(&two).await.len()), (2, 2));
    }
}

/// Who comes after a dropped append finds the store in order.
pub async fn a_dropped_append_harms_nobody(log: &Log) {
    for polls in 0..40 {
        poll_and_drop(polls % 5, log.append(to(&stream("dropped"), 2))).await;
        log.have(&stream("kept"), 1).await;
    }
    assert_eq!(log.of(&stream("kept")).await.len(), 40);
    assert_in_order(&log.everything().await);
}

/// Many dropped appends at once, each tried again with its id: one copy each.
pub async fn many_dropped_appends_at_once_make_one_copy_each(log: &Log) {
    let append = |n: usize| {
        let store = log.share();
        async move {
            let batch = to(&stream(&(n % 4).to_string()), 1).append_id(fake::append_id());
            poll_and_drop(n % 7, store.append(batch.clone())).await;
            store.append(batch).await.expect("a retry succeeds");
        }
    };
    together((0..100).map(append)).await;
    let log = log.everything().await;
    assert_eq!(log.len(), 100);
    assert_in_order(&log);
}

/// An append that was taken back by a time-out is made once by the retry.
pub async fn a_timed_out_append_is_made_once_by_the_retry(log: &Log) {
    for _ in 0..20 {
        let batch = Batch::to(stream("a")).events(fake::events(2)).append_id(fake::append_id());
        let try_one = log.append(batch.clone());
        let _ = tokio::time::timeout(std::time::Duration::from_micros(1), try_one).await;
        log.must(batch).await;
    }
    assert_eq!(log.of(&stream("a")).await.len(), 40);
}

/// A read that is dropped before its page came harms nobody.
pub async fn a_dropped_read_harms_nobody(log: &Log) {
    log.have(&stream("a"), 500).await;
    for polls in 0..30 {
        let mut pages = log.read(Read::all());
        poll_and_drop(polls % 4, pages.try_next()).await;
    }
    assert_eq!(log.find(Read::all()).await.len(), 500);
}

/// A follower that is dropped while it waits harms nobody.
pub async fn a_dropped_follower_harms_nobody(log: &Log) {
    for polls in 0..30 {
        let mut pages = log.tail(Read::all());
        poll_and_drop(polls % 4, pages.try_next()).await;
        drop(pages);
        log.have(&stream("a"), 1).await;
    }
    log.assert_holds(30).await;
}
