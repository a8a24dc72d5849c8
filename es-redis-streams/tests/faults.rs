//! A server that dies, falls silent, and comes back empty: the cache may lose what it
//! holds, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use es_core::{CachePlace, Invalidation, Position, SharedCache, StoreErrorKind};
use es_redis_streams::{RedisCache, RedisOptions};
use es_testkit::{
    not_run,
    servers::{PrivateRedis, Proxy, ServerError},
};
use futures_util::{StreamExt, future::join_all};

/// How long a request may take if nobody is to answer it.
const WITHIN: Duration = Duration::from_millis(200);
/// How long anything may take that is to come about.
const SOON: Duration = Duration::from_secs(30);
/// How long a request may take that is not to end by that.
const LONG: Duration = Duration::from_secs(60);

fn server() -> Option<PrivateRedis> {
    match PrivateRedis::start() {
        Err(error @ ServerError::Unsupported(_)) => {
            not_run(&format!("es-redis-streams on a private server: {error}"));
            None
        }
        started => Some(started.expect("a server that starts")),
    }
}

fn cache(url: impl Into<String>) -> RedisCache {
    RedisOptions::new(url).within(LONG).cache().expect("an address")
}

fn impatient(url: impl Into<String>) -> RedisCache {
    RedisOptions::new(url).within(WITHIN).cache().expect("an address")
}

fn place() -> CachePlace {
    CachePlace::new("a", Duration::from_secs(300)).tag("t")
}

async fn put(cache: &RedisCache) {
    let stamp = soon(async || cache.get(&place()).await.ok()).await.stamp;
    cache.put(&place(), &stamp, Position::new(1), Bytes::from("1")).await.expect("room");
}

/// Why nothing can be looked up. It is told at all, and so in time: no other request would end.
async fn in_vain(cache: &RedisCache) -> StoreErrorKind {
    let looked = tokio::time::timeout(SOON, cache.get(&place())).await;
    looked.expect("it gives up").expect_err("nobody answers").kind()
}

/// What this comes to at last.
async fn soon<T>(mut tried: impl AsyncFnMut() -> Option<T>) -> T {
    let all = async {
        loop {
            if let Some(done) = tried().await {
                return done;
            }
            es_core::World::real().sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, all).await.expect("it comes about")
}

fn row() -> Invalidation {
    Invalidation::Tags { tags: vec!["t".into()], position: Position::new(2) }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_typed_error_and_soon() {
    let cache = cache("redis://127.0.0.1:1");
    assert_eq!(in_vain(&cache).await, StoreErrorKind::Unavailable);
    assert!(RedisOptions::new("no address").cache().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server_costs_no_more_than_allowed_and_is_reached_again() {
    let Some(server) = server() else { return };
    let proxy = Proxy::new(([127, 0, 0, 1], server.port()).into()).expect("a port");
    put(&cache(server.url())).await;
    let cache = impatient(format!("redis://{}", proxy.address()));
    soon(async || cache.get(&place()).await.ok()).await;
    proxy.swallow();
    for _ in 0..3 {
        assert_eq!(in_vain(&cache).await, StoreErrorKind::Unavailable);
    }
    // What has lost something stays dumb: only another connection helps.
    proxy.pass();
    let found = soon(async || cache.get(&place()).await.ok()).await.found;
    assert_eq!(found.map(|found| found.value), Some(Bytes::from("1")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_empty_hands_out_nothing_old() {
    let Some(mut server) = server() else { return };
    let cache = cache(server.url());
    put(&cache).await;
    let stamp = cache.get(&place()).await.expect("it is there").stamp;
    server.kill().expect("it can be killed");
    assert!(cache.get(&place()).await.is_err());
    assert!(cache.invalidate(&row()).await.is_err());
    server.restart().expect("it comes up again");
    assert!(soon(async || cache.get(&place()).await.ok()).await.found.is_none());
    // Begun before the invalidation that never arrived.
    cache.put(&place(), &stamp, Position::new(1), Bytes::from("1")).await.expect("no failure");
    assert!(cache.get(&place()).await.expect("it is there").found.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_is_told_everything_after_each_break() {
    let Some(mut server) = server() else { return };
    let proxy = Proxy::new(([127, 0, 0, 1], server.port()).into()).expect("a port");
    let ours = cache(format!("redis://{}", proxy.address()));
    let theirs = cache(server.url());
    let mut heard = ours.listen();
    let mut next =
        async || tokio::time::timeout(SOON, heard.next()).await.expect("in time").expect("no end");
    assert_eq!(next().await, Invalidation::Everything);
    theirs.invalidate(&row()).await.expect("it is told");
    assert_eq!(next().await, row());

    proxy.cut();
    assert_eq!(next().await, Invalidation::Everything);
    theirs.invalidate(&row()).await.expect("it is told");
    assert_eq!(next().await, row());

    server.kill().expect("it can be killed");
    server.restart().expect("it comes up again");
    assert_eq!(next().await, Invalidation::Everything);
    soon(async || theirs.invalidate(&row()).await.ok()).await;
    assert_eq!(next().await, row());
}

/// Nothing tells him that his connection is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_in_vain_is_told_everything_at_last() {
    let Some(server) = server() else { return };
    let proxy = Proxy::new(([127, 0, 0, 1], server.port()).into()).expect("a port");
    let theirs = cache(server.url());
    let mut heard = impatient(format!("redis://{}", proxy.address())).listen();
    let mut next =
        async || tokio::time::timeout(SOON, heard.next()).await.expect("in time").expect("no end");
    assert_eq!(next().await, Invalidation::Everything);
    proxy.swallow();
    theirs.invalidate(&row()).await.expect("it is told");
    proxy.pass();
    assert_eq!(next().await, Invalidation::Everything);
    theirs.invalidate(&row()).await.expect("it is told");
    // A server may be too slow for who is that impatient, and then he is told everything again.
    while next().await != row() {}
}

/// More is told than the stream keeps, while nobody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_too_slowly_is_told_everything() {
    let Some(server) = server() else { return };
    let cache = cache(server.url());
    let mut heard = cache.listen();
    assert_eq!(heard.next().await, Some(Invalidation::Everything));
    for _ in 0..103 {
        let told = join_all((0..100).map(async |_| cache.invalidate(&row()).await)).await;
        assert!(told.into_iter().all(|told| told.is_ok()));
    }
    assert_eq!(heard.next().await, Some(Invalidation::Everything));
    assert_eq!(heard.next().await, Some(row()));
}
