//! Nothing in the tables grows without end.

use std::time::Duration;

use es_core::{CachePlace, Invalidation, Position, SharedCache};

use crate::scene::{change, found, in_a_schema, listening, next, place, process, put};

const ANSWERS: &str = "SELECT count(*) FROM {schema}.cached_answers";
const TAGS: &str = "SELECT count(*) FROM {schema}.cache_tags";

#[tokio::test]
async fn answers_that_are_too_old_go_as_others_come() {
    in_a_schema("answers", async |scene| {
        let (store, cache) = process(scene.options()).await;
        for number in 0..500 {
            let short = CachePlace::new(number.to_string(), Duration::from_millis(1)).tag("t");
            put(&cache, &short, "1").await;
        }
        let left = scene.number(ANSWERS).await;
        assert!(left < 20, "{left} of 500 are left");

        // Many at once are gone after a few.
        for number in 0..100 {
            put(&cache, &place(&number.to_string()), "1").await;
        }
        scene.run("UPDATE {schema}.cached_answers SET until = now()").await;
        for number in 0..10 {
            put(&cache, &place("the same"), "1").await;
            let left = scene.number(ANSWERS).await;
            assert!(left >= 90 - 10 * number, "one put has taken away more: {left} are left");
        }
        put(&cache, &place("the same"), "1").await;
        assert_eq!(scene.number(ANSWERS).await, 1);
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn tags_that_nobody_needs_any_more_go_as_others_come() {
    in_a_schema("tags", async |scene| {
        let (store, cache) = process(scene.options()).await;
        for number in 0..200 {
            cache.get(&place(&number.to_string())).await.expect("a look");
        }
        assert_eq!(scene.number(TAGS).await, 201);
        scene.run("UPDATE {schema}.cache_tags SET until = now() - interval '1s'").await;
        for number in 1..=100 {
            cache.get(&place(&format!("later {number}"))).await.expect("a look");
        }
        assert_eq!(scene.number(TAGS).await, 101);
        store.close().await;
    })
    .await;
}

/// Else each look would be a write, and leave a dead row behind.
#[tokio::test]
async fn what_is_found_again_and_again_writes_nothing() {
    const WRITTEN: &str = "SELECT max(xmin::text::bigint) FROM {schema}.cache_tags";
    in_a_schema("looks", async |scene| {
        let (store, cache) = process(scene.options()).await;
        put(&cache, &place("a"), "1").await;
        let written = scene.number(WRITTEN).await;
        for _ in 0..20 {
            assert_eq!(found(&cache, "a").await, Some("1".into()));
        }
        assert_eq!(scene.number(WRITTEN).await, written);
        // But for as long as anybody looks for it, it is not forgotten.
        scene.run("UPDATE {schema}.cache_tags SET until = now() + interval '301s'").await;
        assert_eq!(found(&cache, "a").await, Some("1".into()));
        let left = "SELECT min(extract(epoch FROM until - now()))::bigint FROM {schema}.cache_tags";
        assert!(scene.number(left).await > 700);
        store.close().await;
    })
    .await;
}

/// It was made under a stamp that is no more.
#[tokio::test]
async fn an_answer_that_comes_too_late_leaves_the_newer_one_where_it_is() {
    in_a_schema("late", async |scene| {
        let (store, cache) = process(scene.options()).await;
        let stamp = cache.get(&place("a")).await.expect("a look").stamp;
        cache.invalidate(&change("a")).await.expect("an invalidation");
        put(&cache, &place("a"), "new").await;
        let late = cache.put(&place("a"), &stamp, Position::new(9), "old".into()).await;
        late.expect("no failure");
        assert_eq!(found(&cache, "a").await, Some("new".into()));
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn only_the_newest_invalidations_are_kept_and_who_is_slower_is_told_everything() {
    in_a_schema("slow", async |scene| {
        let (store, cache) = process(scene.options()).await;
        let mut slow = listening(&cache).await;
        let mut missed = listening(&cache).await;
        for _ in 0..1_000 {
            cache.invalidate(&change("a")).await.expect("an invalidation");
        }
        let kept = "SELECT count(*) FROM {schema}.invalidations";
        assert_eq!(scene.number(kept).await, 1_000);
        assert_eq!(next(&mut missed).await, Invalidation::Everything);
        cache.invalidate(&change("b")).await.expect("an invalidation");
        assert_eq!(next(&mut missed).await, change("b"));
        assert_eq!(next(&mut slow).await, Invalidation::Everything);
        store.close().await;
    })
    .await;
}
