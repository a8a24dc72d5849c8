//! What those who listen are told.

use es_core::Invalidation;
use futures_util::{StreamExt, stream::BoxStream};

use super::{
    finding::{Cache, found, place, put},
    invalidating::{invalidate, tags},
};

async fn next(heard: &mut BoxStream<'static, Invalidation>) -> Invalidation {
    heard.next().await.expect("it never ends")
}

/// From then on it listens; what came before may have been missed.
pub async fn who_listens_is_told_everything_first(cache: &Cache) {
    invalidate(cache, tags(&["t"], 1)).await;
    assert_eq!(next(&mut cache.listen()).await, Invalidation::Everything);
}

/// Each invalidation is told as it was, in its order.
pub async fn who_listens_hears_what_is_invalidated(cache: &Cache) {
    let mut heard = cache.listen();
    next(&mut heard).await;
    let all = [
        tags(&["t"], 1),
        tags(&["t", "u\u{1}v", "w\"\n", "caf\u{e9}", "x\0", ""], u64::MAX),
        tags(&["long".repeat(10_000).as_str(), "t", "t"], 2),
        Invalidation::Everything,
        tags(&["never used"], 3),
    ];
    for invalidation in &all {
        invalidate(cache, invalidation.clone()).await;
    }
    for invalidation in all {
        assert_eq!(next(&mut heard).await, invalidation);
    }
}

/// All who listen are told the same.
pub async fn several_who_listen_hear_the_same(cache: &Cache) {
    let mut all = [cache.listen(), cache.listen(), cache.listen()];
    for heard in &mut all {
        next(heard).await;
    }
    invalidate(cache, tags(&["t"], 1)).await;
    for heard in &mut all {
        assert_eq!(next(heard).await, tags(&["t"], 1));
    }
}

/// Whoever has heard of it does not find it: first it is invalid, then it is told.
pub async fn what_was_heard_is_not_found_any_more(cache: &Cache) {
    let mut heard = cache.listen();
    next(&mut heard).await;
    for round in 1..50 {
        let place = place("a", &["t"]);
        put(cache, &place, round, "1").await;
        let shared = cache.share();
        let told = async { shared.invalidate(&tags(&["t"], round)).await.expect("it is told") };
        let looked = async {
            next(&mut heard).await;
            found(cache, &place).await
        };
        assert_eq!(tokio::join!(told, looked).1, None);
    }
}
