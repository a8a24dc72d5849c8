//! A connection that breaks, or falls silent, in the midst of a commit to a read model.

use std::time::Duration;

use es_core::{
    BuildChange, Builds, Changes, Checkpoint, Name, Part, Position, Slices, StoreError,
    StoreErrorKind, Views, World,
};
use es_redis_streams::{RedisOptions, RedisViews};
use es_testkit::{
    not_run,
    servers::{PrivateRedis, Proxy, ServerError, containing},
};

/// How long a request may take if nobody is to answer it.
const WITHIN: Duration = Duration::from_millis(300);
/// How long anything may take that is to come about.
const SOON: Duration = Duration::from_secs(30);
/// How long a request may take that is not to end by that.
const LONG: Duration = Duration::from_secs(60);

fn server() -> Option<PrivateRedis> {
    match PrivateRedis::start() {
        Err(error @ ServerError::Unsupported(_)) => {
            not_run(&format!("read models on a network that breaks: {error}"));
            None
        }
        started => Some(started.expect("a server that starts")),
    }
}

/// A model of one part, and what lies between it and us.
async fn begun(server: &PrivateRedis) -> (RedisViews, Part, Proxy) {
    let proxy = Proxy::new(([127, 0, 0, 1], server.port()).into()).expect("a port");
    let views = behind(&proxy).views().await.expect("a server that can be trusted");
    let part = Part::new(Name::from_static("m"), 1, Slices::ALL);
    views.change(BuildChange::begin(part.model.clone(), 1)).await.expect("a build");
    (views, part, proxy)
}

fn behind(proxy: &Proxy) -> RedisOptions {
    RedisOptions::new(format!("redis://{}", proxy.address())).within(LONG)
}

async fn in_time<T>(request: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, request).await.expect("it gives up")
}

async fn commit(views: &RedisViews, part: &Part) -> Result<(), StoreError> {
    let (tx, seen) = soon(async || views.begin(part).await.ok()).await;
    views.commit(part, tx, Changes::default(), seen, next(seen)).await
}

fn next(seen: Checkpoint) -> Checkpoint {
    seen.at(Position::new(seen.position.get() + 1))
}

/// What this comes to at last.
async fn soon<T>(mut tried: impl AsyncFnMut() -> Option<T>) -> T {
    let all = async {
        loop {
            if let Some(done) = tried().await {
                return done;
            }
            World::real().sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, all).await.expect("it comes about")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_nothing_of_a_commit_is_told_that_nobody_knows() {
    let Some(server) = server() else { return };
    let (views, part, proxy) = begun(&server).await;
    let mut due = 0;
    for is_done in [true, false, true, true, false] {
        match is_done {
            true => proxy.cut_after(1, containing("commands of a transaction")),
            false => proxy.cut_before(1, containing("commands of a transaction")),
        }
        let error = in_time(commit(&views, &part)).await.expect_err("nobody answers");
        assert_eq!(error.kind(), StoreErrorKind::Unknown, "{error}");
        assert!(error.is_transient());
        due += u64::from(is_done);
        let (_, seen) = soon(async || views.begin(&part).await.ok()).await;
        assert_eq!(seen.position, Position::new(due), "the checkpoint tells");
    }
    assert_eq!(proxy.cuts(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_to_a_silent_server_ends_in_time_and_nobody_knows() {
    let Some(server) = server() else { return };
    let (_, part, proxy) = begun(&server).await;
    let impatient = behind(&proxy).within(WITHIN);
    let views = soon(async || impatient.clone().views().await.ok()).await;
    let (tx, seen) = soon(async || views.begin(&part).await.ok()).await;
    proxy.swallow();
    let error = in_time(views.commit(&part, tx, Changes::default(), seen, next(seen))).await;
    assert_eq!(error.map_err(|error| error.kind()), Err(StoreErrorKind::Unknown));
    let error = in_time(views.begin(&part)).await.map(drop).expect_err("nobody answers");
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    proxy.pass();
    // What has lost something stays dumb: only another connection helps.
    soon(async || commit(&views, &part).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_is_a_failure_that_may_pass_and_soon() {
    let Some(mut server) = server() else { return };
    let (views, part, _proxy) = begun(&server).await;
    let direct = RedisOptions::new(server.url()).within(LONG).views().await.expect("a server");
    let (tx, seen) = direct.begin(&part).await.expect("a transaction");
    server.kill().expect("it can be killed");
    let error = in_time(direct.commit(&part, tx, Changes::default(), seen, next(seen))).await;
    assert!(error.expect_err("nobody is there").is_transient());
    for views in [&views, &direct] {
        let error = in_time(views.begin(&part)).await.map(drop).expect_err("nobody is there");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    }
    let opened = in_time(RedisOptions::new(server.url()).within(LONG).views()).await;
    assert_eq!(opened.map(drop).map_err(|e| e.kind()), Err(StoreErrorKind::Unavailable));
}
