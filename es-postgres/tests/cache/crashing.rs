//! The cache may lose what it holds, and must not hand out what was invalidated.

use std::time::Duration;

use es_core::{Invalidation, Position, SharedCache};
use es_postgres::PostgresOptions;
use es_testkit::servers::Proxy;

use crate::scene::{
    change, found, in_a_schema, listening, next, next_of_something, place, process, put, server,
    soon,
};

/// The server empties its unlogged tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_a_stamp_from_before_a_crash_is_not_found() {
    let Some(mut server) = server() else { return };
    let (store, cache) = process(PostgresOptions::new(server.url())).await;
    put(&cache, &place("a"), "old").await;
    let stamp = cache.get(&place("a")).await.expect("a look").stamp;
    server.kill().expect("a server that can be killed");
    assert!(cache.invalidate(&change("a")).await.is_err());
    server.restart().expect("a server that starts again");

    // Nobody has looked since: there is no stamp yet.
    let late = async || cache.put(&place("a"), &stamp, Position::new(1), "old".into()).await.ok();
    soon(late).await;
    assert_eq!(found(&cache, "a").await, None);
    // And now there is another one.
    soon(late).await;
    assert_eq!(found(&cache, "a").await, None);
    put(&cache, &place("a"), "new").await;
    assert_eq!(found(&cache, "a").await, Some("new".into()));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_listens_is_told_everything_after_each_break() {
    let Some(mut server) = server() else { return };
    let proxy = Proxy::postgres(([127, 0, 0, 1], server.port()).into()).expect("a port");
    let url = format!("postgres://postgres@{}/postgres", proxy.address());
    let (store, ours) = process(PostgresOptions::new(url)).await;
    let (other, theirs) = process(PostgresOptions::new(server.url())).await;
    let mut heard = listening(&ours).await;
    theirs.invalidate(&change("a")).await.expect("an invalidation");
    assert_eq!(next(&mut heard).await, change("a"));

    proxy.cut();
    assert_eq!(next(&mut heard).await, Invalidation::Everything);
    server.restart().expect("a server that starts again");
    assert_eq!(next(&mut heard).await, Invalidation::Everything);
    soon(async || theirs.invalidate(&change("b")).await.ok()).await;
    // It may have noticed one break twice: as it read, and as it waited for a word.
    assert_eq!(next_of_something(&mut heard).await, change("b"));
    store.close().await;
    other.close().await;
}

/// A pooler may keep our connection through a crash of the server: what is lost then was
/// in the table alone.
#[tokio::test]
async fn what_was_lost_before_it_was_heard_is_told_as_everything() {
    in_a_schema("lost", async |scene| {
        let poll = Duration::from_millis(5);
        let (store, cache) = process(scene.options().behind_pooler().poll(poll)).await;
        let mut heard = listening(&cache).await;
        for is_written_since in [false, true] {
            scene.run("TRUNCATE {schema}.invalidations").await;
            if is_written_since {
                scene.run("SELECT {schema}.invalidate(NULL, 0, 1000)").await;
            }
            assert_eq!(next(&mut heard).await, Invalidation::Everything);
        }
        cache.invalidate(&change("a")).await.expect("an invalidation");
        assert_eq!(next_of_something(&mut heard).await, change("a"));
        store.close().await;
    })
    .await;
}
