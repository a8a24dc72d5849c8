//! What processes tell each other, and through what.

use std::time::Duration;

use es_core::{EventStore, Invalidation, Position, Read, SharedCache};
use es_postgres::PostgresOptions;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future::join_all};

use crate::scene::{SOON, change, in_a_schema, listening, next, place, process, server};

/// So that nobody looks by itself while a test runs.
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn who_listens_is_woken_by_another_process_and_need_not_look() {
    in_a_schema("woken", async |scene| {
        let (store, cache) = process(scene.options().poll(NEVER)).await;
        let (other, theirs) = process(scene.options().poll(NEVER)).await;
        let mut heard = listening(&cache).await;
        for key in 0..50 {
            let changed = change(&key.to_string());
            let telling = async {
                // Meanwhile the other has looked, has found nothing, and waits.
                for _ in 0..5 {
                    theirs.get(&place("a")).await.expect("a look");
                }
                theirs.invalidate(&changed).await.expect("an invalidation");
            };
            assert_eq!(tokio::join!(next(&mut heard), telling).0, changed);
        }
        store.close().await;
        other.close().await;
    })
    .await;
}

/// It has carried out the statement, and then died.
#[tokio::test]
async fn who_listens_hears_what_nobody_has_lived_to_say() {
    in_a_schema("unsaid", async |scene| {
        let (store, cache) = process(scene.options().poll(Duration::from_millis(5))).await;
        let mut heard = listening(&cache).await;
        scene.run("SELECT {schema}.invalidate(ARRAY['tag of a'::bytea], 2, 1000)").await;
        assert_eq!(next(&mut heard).await, change("a"));
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn of_what_many_invalidate_at_once_nothing_is_missed_and_each_is_in_order() {
    const EACH: usize = 40;
    in_a_schema("many", async |scene| {
        let (store, cache) = process(scene.options()).await;
        let (other, theirs) = process(scene.options()).await;
        let mut heard = listening(&cache).await;
        let key = |of: usize, number: usize| format!("{of} {number}");
        let telling = (0..8).map(|of| {
            let cache = if of % 2 == 0 { &cache } else { &theirs };
            async move {
                for number in 0..EACH {
                    cache.invalidate(&change(&key(of, number))).await.expect("an invalidation");
                }
            }
        });
        join_all(telling).await;
        let mut all = Vec::new();
        for _ in 0..8 * EACH {
            all.push(next(&mut heard).await);
        }
        for of in 0..8 {
            let own = (0..EACH).map(|number| change(&key(of, number))).collect::<Vec<_>>();
            let told = all.iter().filter(|told| own.contains(told)).cloned().collect::<Vec<_>>();
            assert_eq!(told, own);
        }
        store.close().await;
        other.close().await;
    })
    .await;
}

/// As a word NOTIFY takes less than 8,000 bytes, and none with a NUL.
#[tokio::test]
async fn an_invalidation_of_any_length_is_told_as_it_was() {
    in_a_schema("long", async |scene| {
        let (store, cache) = process(scene.options()).await;
        let mut heard = listening(&cache).await;
        let mut tags: Vec<_> = (0..2_000).map(|n| format!("{n} {}", "long ".repeat(20))).collect();
        tags.extend(["long".repeat(10_000), "nul\0".into(), "twice".into(), "twice".into()]);
        let long = Invalidation::Tags { tags, position: Position::new(u64::MAX) };
        cache.invalidate(&long).await.expect("an invalidation");
        assert_eq!(next(&mut heard).await, long);
        store.close().await;
    })
    .await;
}

/// What others change at once is locked in one order, whatever order it is named in.
#[tokio::test]
async fn who_looks_for_and_invalidates_the_same_tags_in_any_order_is_not_in_the_way() {
    in_a_schema("order", async |scene| {
        let (store, cache) = process(scene.options()).await;
        let tags = |turn: usize| {
            let mut tags: Vec<_> = (0..20).map(|tag| tag.to_string()).collect();
            tags.rotate_left(turn % 20);
            tags
        };
        let all = (0..200).map(async |turn| {
            // Of a longer life each time, so that it is noted each time.
            let ttl = Duration::from_secs(1 << (turn % 20));
            let place = es_core::CachePlace::new("a", ttl).tags(tags(turn));
            let invalid = Invalidation::Tags { tags: tags(turn * 7), position: Position::START };
            cache.get(&place).await.expect("a look");
            cache.invalidate(&invalid).await.expect("an invalidation");
        });
        join_all(all).await;
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn however_many_listen_and_follow_one_connection_wakes_them() {
    const LISTENING: &str = "SELECT count(*) FROM pg_stat_activity \
         WHERE application_name = 'gesta followers'";
    const ALL: &str = "SELECT count(*) FROM pg_stat_activity \
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let Some(server) = server() else { return };
    let (store, cache) = process(PostgresOptions::new(server.url()).readers(2)).await;
    let mut all = Vec::new();
    let mut pages = Vec::new();
    for _ in 0..20 {
        all.push(listening(&cache).await);
        pages.push(store.follow(Read::all()));
    }
    for pages in &mut pages {
        // Each of them waits.
        assert!(pages.try_next().now_or_never().is_none());
    }
    cache.invalidate(&change("a")).await.expect("an invalidation");
    for heard in &mut all {
        assert_eq!(next(heard).await, change("a"));
    }
    let open = |sessions: &str| {
        let open = server.psql(sessions).expect("an answer");
        open.trim().parse::<u32>().expect("a number")
    };
    // It is opened while the first of them waits already.
    while open(LISTENING) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(open(LISTENING), 1);
    let all = open(ALL);
    assert!(all <= 3, "{all} are open, and there are two beside it that read");
    store.close().await;
}

#[tokio::test]
async fn who_listens_to_a_store_that_is_closed_comes_to_an_end() {
    in_a_schema("closed", async |scene| {
        let (store, cache) = process(scene.options()).await;
        let (mut waiting, mut begun) = (listening(&cache).await, cache.listen());
        store.close().await;
        for heard in [&mut waiting, &mut begun] {
            let end = tokio::time::timeout(SOON, heard.next()).await;
            assert_eq!(end.expect("in time"), None);
        }
    })
    .await;
}
